"""Simple black-box attack: one basis direction after the other, forth or back, kept when the score says so.

Source: Guo et al., "Simple Black-box Adversarial Attacks", ICML 2019, arXiv:1905.07121, algorithm 1 and section 3.2 (the DCT basis).
Deviation: the loss is in log-odds; each trial is the 8-bit file inside an L2 ball, where the paper stops at a number of steps; a basis that
has been used up is shuffled and used again.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from redteam.attacks.black_box import ScoreAttack, Search
from redteam.component import Radius
from redteam.imaging.dct import band, idct
from redteam.imaging.norms import into_ball
from redteam.seeding import SampleRNG


@dataclass(frozen=True, kw_only=True)
class SimBA(ScoreAttack):
    """Try single pixels or single waves in random order, and keep each that lowers the loss.

    eps:         radius of the L2 ball, image units
    step:        length of one trial, image units
    basis:       pixel tries one channel of one pixel, dct one cosine over the whole image
    frequencies: the cosines that are tried: mean of vertical and horizontal frequency, from 0, the constant, to 1, the finest checkerboard
    """

    source: ClassVar[str] = "Guo et al., ICML 2019, arXiv:1905.07121, algorithm 1"

    norm: Literal["l2"] = "l2"
    eps: Radius = 2.0
    step: Annotated[float, Field(gt=0)] = 0.2
    basis: Literal["pixel", "dct"] = "pixel"
    frequencies: tuple[Annotated[float, Field(ge=0, le=1)], Annotated[float, Field(ge=0, le=1)]] = (0.0, 1.0)

    def search(self, clean: Tensor, rng: SampleRNG) -> Search:
        """Two trials at most for each direction."""
        x, lowest = clean, (yield clean)
        lowest = math.inf if math.isnan(lowest) else lowest
        inside = into_ball(clean, "l2", self.eps)
        while True:
            for direction in self._directions(clean, rng):
                for way in (self.step, -self.step):
                    trial = inside(x + way * direction)
                    loss = yield self.file(trial, clean)
                    if loss < lowest:  # never where there is no score
                        x, lowest = trial, loss
                        break

    def _directions(self, clean: Tensor, rng: SampleRNG) -> Iterator[Tensor]:
        """Every vector of the basis once, in random order."""
        tried = torch.ones_like(clean, dtype=torch.bool)
        if self.basis == "dct":
            tried &= band(*clean.shape[2:], *self.frequencies)
        order = rng.rand_like(clean).masked_fill(~tried, 2).flatten().argsort()
        for at in order[: int(tried.sum())].tolist():
            chosen = torch.zeros_like(clean).flatten().index_fill(0, torch.tensor(at), 1.0).view_as(clean)
            yield idct(chosen) if self.basis == "dct" else chosen
