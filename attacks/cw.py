"""The smallest L2 change by descent on distance plus weighted margin, with the weight searched for each image.

Source: Carlini & Wagner, "Towards Evaluating the Robustness of Neural Networks", IEEE S&P 2017, arXiv:1608.04644, sections V.B (f6, binary
search over c) and VI.A (change of variables); Adam: Kingma & Ba, ICLR 2015, arXiv:1412.6980, algorithm 1.
Deviation: f6 is the margin in log-odds, which is the difference of two logits; far fewer steps than the paper's 10,000 by default, since every
point on the way counts that wins; the nearest is lengthened until its 8-bit file does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from redteam.attacks.minimal import MinimalAttack, Nearest
from redteam.imaging.norms import each
from redteam.seeding import SampleRNG

INSIDE = 1 - 1e-6  # black and white lie at infinity otherwise
FIRST, RAISE = 1e-3, 10.0  # of the weight: where its search begins, and by what it grows until one wins
DECAY, DECAY_SQUARES, TINY = 0.9, 0.999, 1e-8  # of Adam


@dataclass(frozen=True, kw_only=True)
class CW(MinimalAttack):
    """Descend on |change|^2 + c * max(0, margin + confidence), and halve the interval that c lies in.

    steps:      gradient queries per image and weight
    searches:   weights that are tried
    rate:       step size of Adam, in the variable whose tanh is the image
    confidence: margin beyond the boundary that is aimed at, log-odds
    """

    source: ClassVar[str] = "Carlini & Wagner, IEEE S&P 2017, arXiv:1608.04644, section V"

    steps: Annotated[int, Field(ge=1)] = 100
    searches: Annotated[int, Field(ge=1)] = 9
    rate: Annotated[float, Field(gt=0)] = 0.01
    confidence: Annotated[float, Field(ge=0)] = 0.0

    def gradients(self) -> int:
        """All descents."""
        return super().gradients() * self.searches

    def search(self, nearest: Nearest, rng: SampleRNG) -> None:
        """One descent for each weight."""
        low = torch.zeros(len(nearest.clean), device=nearest.clean.device)
        high, weight = torch.full_like(low, torch.inf), torch.full_like(low, FIRST)
        for _ in range(self.searches):
            won = self._descend(nearest, weight)
            low, high = torch.where(won, low, weight), torch.where(won, weight, high)
            weight = torch.where(high.isinf(), weight * RAISE, (low + high) / 2)

    def _descend(self, nearest: Nearest, weight: Tensor) -> Tensor:
        """Which images (n,) bool a descent with these weights (n,) wins against."""
        clean = nearest.clean
        home = (2 * clean - 1) * INSIDE
        w = torch.atanh(home)
        mean, square, won = torch.zeros_like(w), torch.zeros_like(w), torch.zeros_like(weight, dtype=torch.bool)
        for number in range(1, self.steps + 1):
            if not len(nearest):
                break
            x = (clean + (torch.tanh(w) - home) / 2).clamp(0, 1)
            slope = nearest.look(x)
            won |= slope.margin < 0
            push = weight * (slope.margin + self.confidence > 0)
            gradient = 2 * x * (1 - x) * (2 * (x - clean) + each(push) * slope.gradient)
            mean = DECAY * mean + (1 - DECAY) * gradient
            square = DECAY_SQUARES * square + (1 - DECAY_SQUARES) * gradient.square()
            w = w - self.rate * (mean / (1 - DECAY**number)) / ((square / (1 - DECAY_SQUARES**number)).sqrt() + TINY)
        return won
