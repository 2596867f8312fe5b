"""HopSkipJump: feels at the boundary which way success lies, jumps there, and comes back to the boundary nearer than before.

Source: Chen, Jordan & Wainwright, "HopSkipJumpAttack: A Query-Efficient Decision-Based Attack", IEEE S&P 2020, arXiv:1904.02144, algorithm 2.
Deviation: everything that is asked is an 8-bit file; `boundaries` says what follows for the start, the search for the boundary and the probes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from redteam.attacks.black_box import DecisionAttack, Search
from redteam.attacks.boundaries import Feeling, Part, Paths, start
from redteam.imaging.grid import round_nearest
from redteam.imaging.norms import length, steepest
from redteam.imaging.settling import settle
from redteam.seeding import SampleRNG


@dataclass(frozen=True, kw_only=True)
class HopSkipJump(DecisionAttack):
    """Estimate the boundary's normal from decisions around a point on it, step along it, and search back towards the image.

    probes:      decisions for the first estimate; the t-th takes sqrt(t) times as many
    reach:       how far the probes lie from the boundary at least, root mean square in 8-bit levels
    frequencies: of the probes
    """

    source: ClassVar[str] = "Chen et al., IEEE S&P 2020, arXiv:1904.02144, algorithm 2"

    probes: Annotated[int, Field(ge=1)] = 50
    reach: Annotated[float, Field(gt=0)] = 0.5
    frequencies: tuple[Annotated[float, Field(ge=0, le=1)], Annotated[float, Field(ge=0, le=1)]] = (0.0, 1.0)

    def search(self, clean: Tensor, rng: SampleRNG) -> Search:
        """Come to the boundary, feel, jump, and again."""
        paths, feeling, turn = Paths(clean, self.norm, rng), Feeling(clean, self.reach, self.frequencies, rng), 1
        file = yield from start(clean, rng)
        while file is not None:
            file = yield from paths.boundary(file)
            normal = yield from feeling.normal(file, round(self.probes * math.sqrt(turn)))
            file = yield from self._jump(file, steepest(normal, self.norm), float(length(file - clean, self.norm)) / math.sqrt(turn))
            turn += 1

    def _jump(self, file: Tensor, direction: Tensor, far: float) -> Part[Tensor]:
        """A file along the direction that succeeds: half as far, and half again, until one does."""
        while True:
            ahead = (file + far * direction).clamp(0, 1)
            ahead = round_nearest(ahead) if self.norm == "linf" else settle(ahead, file, "l2", far)
            if torch.equal(ahead, file) or (yield ahead):
                return ahead
            far /= 2
