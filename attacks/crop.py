"""Crop of the centre."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import Field

from redteam.attack import Attack, State
from redteam.images import Images
from redteam.objective import Objective
from redteam.seeding import SampleRNG


@dataclass(frozen=True, kw_only=True)
class Crop(Attack):
    """Keep the centre of the image; JPEG and resampling grids shift with it.

    keep: share of height and of width that is kept
    """

    geometric: ClassVar[bool] = True
    strength: ClassVar[str] = "keep"

    keep: Annotated[float, Field(gt=0, le=1)] = 0.9

    def perturb(self, objective: Objective, rng: SampleRNG, state: State | None = None) -> Images:
        """Images (n, 3, h, w) in [0, 1] -> their centres (n, 3, keep h, keep w)."""
        images = objective.images
        height, width = images.pixels.shape[2:]
        kept_h, kept_w = max(1, round(height * self.keep)), max(1, round(width * self.keep))
        top, left = (height - kept_h) // 2, (width - kept_w) // 2
        window = (..., slice(top, top + kept_h), slice(left, left + kept_w))
        return images.with_pixels(images.pixels[window].contiguous(), None if images.masks is None else images.masks[window].contiguous())
