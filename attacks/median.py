"""Median filter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import Field

from redteam.attack import Attack, State
from redteam.imaging import filters
from redteam.images import Images
from redteam.objective import Objective
from redteam.seeding import SampleRNG


@dataclass(frozen=True, kw_only=True)
class Median(Attack):
    """Replace each pixel by the median of its neighbourhood, channel by channel, borders reflected.

    size: side of the neighbourhood, odd, pixels
    """

    strength: ClassVar[str] = "size"

    size: Annotated[int, Field(ge=3, le=15)] = 3

    def __post_init__(self) -> None:
        if self.size % 2 == 0:
            raise ValueError(f"size must be odd, so that a pixel has a middle, got {self.size}")

    def perturb(self, objective: Objective, rng: SampleRNG, state: State | None = None) -> Images:
        """Images (n, 3, h, w) in [0, 1] -> the same images filtered."""
        return objective.images.with_pixels(filters.median(objective.images.pixels, self.size))
