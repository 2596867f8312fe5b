"""Gaussian blur of everything that the target is asked about.

Source: Xu et al., "Feature Squeezing: Detecting Adversarial Examples in Deep Neural Networks", NDSS 2018, arXiv:1704.01155, section 3.2.
Deviation: a Gaussian instead of a median window, so that the gradient is exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import Field

from redteam.defense import Defense
from redteam.imaging import filters
from redteam.target import Target


@dataclass(frozen=True, kw_only=True)
class BlurDefense(Defense):
    """Blur each image before the target sees it.

    sigma: standard deviation, pixels
    """

    source: ClassVar[str] = "Xu et al., NDSS 2018, arXiv:1704.01155, section 3.2"

    sigma: Annotated[float, Field(gt=0, le=50)] = 1.0

    def wrap(self, target: Target) -> Target:
        """The target behind the blur."""
        return target.wrapped(lambda pixels: filters.gaussian_blur(pixels, self.sigma), f"input blurred with sigma {self.sigma}; its gradient is exact")
