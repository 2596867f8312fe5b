"""Gaussian blur."""

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
class Blur(Attack):
    """Blur with a Gaussian, borders reflected.

    sigma: standard deviation, pixels
    """

    strength: ClassVar[str] = "sigma"

    sigma: Annotated[float, Field(gt=0, le=50)] = 1.0

    def perturb(self, objective: Objective, rng: SampleRNG, state: State | None = None) -> Images:
        """Images (n, 3, h, w) in [0, 1] -> the same images blurred."""
        return objective.images.with_pixels(filters.gaussian_blur(objective.images.pixels, self.sigma).clamp(0, 1))
