"""Natural evolution strategies: a gradient guessed from scores at random points on both sides of the image, then followed.

Source: Ilyas et al., "Black-box Adversarial Attacks with Limited Queries and Information", ICML 2018, arXiv:1804.08598, algorithm 1 and section 3.1.
Deviation: the loss is in log-odds; every point is an 8-bit file inside the ball, and differences of scores weigh the differences of the two
files, not the noise that they were made with, which rounding changes; sigma is in the order of a level, since less would round to nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from redteam.attacks.black_box import ScoreAttack, Search
from redteam.component import Radius
from redteam.imaging.norms import into_ball, steepest
from redteam.seeding import SampleRNG


@dataclass(frozen=True, kw_only=True)
class NES(ScoreAttack):
    """Follow, with momentum, a gradient that is estimated from pairs of opposite points.

    eps:      radius of the ball, image units
    step:     length of one step, image units; eps / 4 when not given
    sigma:    standard deviation of the points around the image, image units
    pairs:    of opposite points for each step: two queries each, and one to see where the step led
    momentum: share of the last direction that is kept
    """

    source: ClassVar[str] = "Ilyas et al., ICML 2018, arXiv:1804.08598, algorithm 1"

    norm: Literal["linf", "l2"] = "linf"
    eps: Radius = 8 / 255
    step: Radius | None = None
    sigma: Annotated[float, Field(gt=0)] = 2 / 255
    pairs: Annotated[int, Field(ge=1)] = 10
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9

    def search(self, clean: Tensor, rng: SampleRNG) -> Search:
        """Steps against the estimate, each followed by a look at where it led."""
        x, inside = clean, into_ball(clean, self.norm, self.eps)
        direction, step = torch.zeros_like(clean), self.eps / 4 if self.step is None else self.step
        yield clean
        while True:
            estimate = torch.zeros_like(clean)
            for _ in range(self.pairs):
                away = self.sigma * rng.randn_like(clean)
                up, down = self.file((x + away).clamp(0, 1), clean), self.file((x - away).clamp(0, 1), clean)
                rise = (yield up) - (yield down)
                estimate += (0.0 if math.isnan(rise) else rise) * (up - down)
            direction = self.momentum * direction + (1 - self.momentum) * estimate
            x = inside(x - step * steepest(direction, self.norm))
            yield self.file(x, clean)
