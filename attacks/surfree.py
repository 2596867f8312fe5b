"""SurFree: circles through the image and the nearest success so far, in random directions; the boundary cuts them nearer to the image.

Source: Maho, Furon & Le Merrer, "SurFree: A Fast Surrogate-free Black-box Attack", CVPR 2021, arXiv:2011.12807, sections 3 and 4.
Deviation: everything that is asked is an 8-bit file, whose distance from the image is kept in spite of rounding (`boundaries`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from pydantic import Field
from torch import Tensor

from redteam.attacks.black_box import DecisionAttack, Search
from redteam.attacks.boundaries import Part, Paths, start
from redteam.imaging.dct import band, filter_band
from redteam.imaging.norms import length, unit
from redteam.seeding import SampleRNG

LAST = 100  # directions that a new one is made orthogonal to
FOLD = 0.02  # by how much the widest angle shrinks after a direction that led nowhere, and grows after one that led somewhere
HALVES = 4  # of an angle that succeeded and one that did not
TRIED = 3  # angles on each side, before a direction is given up


@dataclass(frozen=True, kw_only=True)
class SurFree(DecisionAttack):
    """Go round the image in random directions, as far as the target stays deceived; each angle gained brings the file nearer.

    angle:       the widest that is tried at first, degrees
    frequencies: of the directions: mean of vertical and horizontal frequency, from 0, the constant, to 1, the finest checkerboard
    """

    source: ClassVar[str] = "Maho et al., CVPR 2021, arXiv:2011.12807, section 4"

    norm: Literal["l2"] = "l2"
    angle: Annotated[float, Field(gt=0, lt=90)] = 30.0
    frequencies: tuple[Annotated[float, Field(ge=0, le=1)], Annotated[float, Field(ge=0, le=1)]] = (0.0, 1.0)

    def search(self, clean: Tensor, rng: SampleRNG) -> Search:
        """One direction after the other, as long as the queries last."""
        paths, widest = Paths(clean, "l2", rng), math.radians(self.angle)
        file = yield from start(clean, rng)
        if file is None:
            return
        nearest = (yield from paths.boundary(file)) - clean
        before: list[Tensor] = []
        while True:
            towards = unit(nearest)
            across = self._direction(clean, [towards, *before], rng)
            far = float(length(nearest, "l2"))

            def circle(angle: float, towards: Tensor = towards, across: Tensor = across, far: float = far) -> Tensor:
                return far * math.cos(angle) * (math.cos(angle) * towards + math.sin(angle) * across)

            angle = yield from _furthest(lambda angle: paths.near(clean + circle(angle)), widest)
            widest = max(widest * (1 - FOLD), math.radians(1)) if not angle else min(widest / (1 - FOLD), math.radians(80))
            nearest = circle(angle) if angle else nearest
            before = [across, *before][:LAST]

    def _direction(self, clean: Tensor, others: list[Tensor], rng: SampleRNG) -> Tensor:
        """A random direction of length 1, orthogonal to the others."""
        drawn = filter_band(rng.randn_like(clean), band(*clean.shape[2:], *self.frequencies))
        for other in others:
            drawn = drawn - (drawn * other).sum() * other
        return unit(drawn)


def _furthest(file: Callable[[float], Tensor], widest: float) -> Part[float]:
    """The angle to go: tried on both sides from the widest down, then halved between one that succeeds and the next that does not; 0 where none does."""
    for part in range(TRIED, 0, -1):
        for way in (1, -1):
            angle = way * widest * part / TRIED
            if (yield file(angle)):
                beyond = way * widest * min(part + 1, TRIED) / TRIED
                for _ in range(HALVES if part < TRIED else 0):
                    middle = (angle + beyond) / 2
                    if (yield file(middle)):
                        angle = middle
                    else:
                        beyond = middle
                return angle
    return 0.0
