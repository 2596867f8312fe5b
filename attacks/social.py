"""What a social network does to an uploaded photograph: scaled down to a longest side, and saved as JPEG.

Source: telegram: its open client (github.com/DrKLO/Telegram, pull request 2098 states 1280 pixels and quality 87); x: the service's own
statement of 2019, 4096 pixels and quality 85; facebook: 2048 pixels, and qualities of 71 to 95 by content, as Sun et al., "Robust
High-Capacity Watermarking Over Online Social Network Shared Images", IEEE TCSVT 31, 2021 report; the lowest is taken.
Deviation: services change these figures without notice and choose some by content; a preset is one documented pipeline, not the service.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from pydantic import Field
from torch import Tensor

from redteam.attack import Attack, State
from redteam.component import Quality
from redteam.images import Images
from redteam.imaging import codecs, resampling
from redteam.objective import Objective
from redteam.seeding import SampleRNG

PIPELINES = {"telegram": (1280, 87), "x": (4096, 85), "facebook": (2048, 71)}  # longest side in pixels, JPEG quality


@dataclass(frozen=True, kw_only=True)
class Social(Attack):
    """Scale down to the service's longest side where the image is larger (Lanczos, through Pillow), then save as JPEG 4:2:0.

    platform:     whose documented pipeline
    longest_side: pixels, instead of the platform's own; smaller images keep their size, so crops need one that matters to them
    quality:      of the JPEG encoder, instead of the platform's own
    """

    source: ClassVar[str] = "figures of the services as documented by third parties; see the file"

    platform: Literal["telegram", "x", "facebook"] = "telegram"
    longest_side: Annotated[int, Field(ge=16)] | None = None
    quality: Quality | None = None

    def perturb(self, objective: Objective, rng: SampleRNG, state: State | None = None) -> Images:
        """Images (n, 3, h, w) in [0, 1] -> the same images as the service gives them back."""
        images = objective.images
        side, quality = PIPELINES[self.platform]
        height, width = _fitted(images.pixels, self.longest_side or side)
        masks = None if images.masks is None else resampling.resize(images.masks, height, width, kernel="nearest")
        small = images.pixels if images.pixels.shape[2:] == (height, width) else resampling.pillow_resize(images.pixels, height, width, kernel="lanczos")
        return images.with_pixels(codecs.jpeg(small, self.quality or quality), masks)


def _fitted(pixels: Tensor, side: int) -> tuple[int, int]:
    height, width = pixels.shape[2:]
    scale = min(1.0, side / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))
