"""Change of resolution, and back where asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from redteam.attack import Attack, State
from redteam.imaging import resampling
from redteam.images import Images
from redteam.objective import Objective
from redteam.seeding import SampleRNG


@dataclass(frozen=True, kw_only=True)
class Resize(Attack):
    """Resample the image as an image editor does (through Pillow).

    scale:   factor on height and width
    kernel:  of the resampling
    restore: resample back to the size it had
    """

    strength: ClassVar[str] = "scale"

    scale: Annotated[float, Field(gt=0, le=8)] = 0.5
    kernel: Literal["bilinear", "bicubic", "lanczos", "nearest"] = "bicubic"
    restore: bool = True

    @property
    def geometric(self) -> bool:
        """Whether the size stays changed, so that pixels have no partner to compare with."""
        return not self.restore

    def perturb(self, objective: Objective, rng: SampleRNG, state: State | None = None) -> Images:
        """Images (n, 3, h, w) in [0, 1] -> the same images resampled, (n, 3, h, w) again with `restore`."""
        images = objective.images
        height, width = images.pixels.shape[2:]
        small = max(1, round(height * self.scale)), max(1, round(width * self.scale))
        pixels = resampling.pillow_resize(images.pixels, *small, kernel=self.kernel)
        if self.restore:
            return images.with_pixels(resampling.pillow_resize(pixels, height, width, kernel=self.kernel))
        masks = None if images.masks is None else resampling.resize(images.masks, *small, kernel="nearest")
        return images.with_pixels(pixels, masks)
