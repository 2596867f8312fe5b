"""Rotation by a small or large angle."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from redteam.attack import Attack, State
from redteam.images import Images
from redteam.imaging.rotation import inscribed, rotate
from redteam.objective import Objective
from redteam.seeding import SampleRNG


@dataclass(frozen=True, kw_only=True)
class Rotate(Attack):
    """Turn the image counter-clockwise about its centre.

    degrees: of the turn
    kernel:  of the resampling
    corners: crop keeps the largest upright rectangle inside the image, mirror keeps the size and reflects the image into the corners
    """

    geometric: ClassVar[bool] = True
    strength: ClassVar[str] = "degrees"

    degrees: Annotated[float, Field(ge=-180, le=180)] = 5.0
    kernel: Literal["bilinear", "bicubic"] = "bilinear"
    corners: Literal["crop", "mirror"] = "crop"

    def perturb(self, objective: Objective, rng: SampleRNG, state: State | None = None) -> Images:
        """Images (n, 3, h, w) in [0, 1] -> the same images turned, smaller where corners are cropped; masks turn along."""
        images = objective.images
        height, width = images.pixels.shape[2:]
        kept_h, kept_w = inscribed(height, width, self.degrees) if self.corners == "crop" else (height, width)
        top, left = (height - kept_h) // 2, (width - kept_w) // 2
        window = (..., slice(top, top + kept_h), slice(left, left + kept_w))
        masks = None if images.masks is None else rotate(images.masks, self.degrees, "nearest")[window].contiguous()
        return images.with_pixels(rotate(images.pixels, self.degrees, self.kernel)[window].contiguous(), masks)
