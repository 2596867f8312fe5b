"""Additive Gaussian noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import Field

from redteam.attack import Attack, State
from redteam.component import Number
from redteam.images import Images
from redteam.objective import Objective
from redteam.seeding import SampleRNG


@dataclass(frozen=True, kw_only=True)
class GaussianNoise(Attack):
    """Add independent normal noise to every pixel and channel, and clip.

    sigma: standard deviation, image units
    """

    strength: ClassVar[str] = "sigma"

    sigma: Annotated[Number, Field(ge=0, le=1)] = 0.02

    def perturb(self, objective: Objective, rng: SampleRNG, state: State | None = None) -> Images:
        """Images (n, 3, h, w) in [0, 1] -> the same images with noise."""
        pixels = objective.images.pixels
        return objective.images.with_pixels((pixels + self.sigma * rng.randn_like(pixels)).clamp(0, 1))
