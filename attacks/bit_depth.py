"""Fewer bits a channel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import Field

from redteam.attack import Attack, State
from redteam.images import Images
from redteam.objective import Objective
from redteam.seeding import SampleRNG


@dataclass(frozen=True, kw_only=True)
class BitDepth(Attack):
    """Keep fewer levels a channel, evenly spaced from black to white, each pixel at the nearest.

    bits: of 8; 2 ** bits levels are left
    """

    strength: ClassVar[str] = "bits"

    bits: Annotated[int, Field(ge=1, le=8)] = 5

    def perturb(self, objective: Objective, rng: SampleRNG, state: State | None = None) -> Images:
        """Images (n, 3, h, w) in [0, 1] -> the same images with fewer levels."""
        steps = 2**self.bits - 1
        return objective.images.with_pixels((objective.images.pixels * steps).round() / steps)
