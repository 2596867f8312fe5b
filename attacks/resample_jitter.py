"""Scale an image without the periodic traces that scaling leaves.

Source: Kirchner and Boehme, "Hiding Traces of Resampling in Digital Images", IEEE TIFS 3, 2008.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

import torch
from pydantic import Field

from redteam.attack import Attack, State
from redteam.component import Number
from redteam.images import Images
from redteam.imaging import resampling
from redteam.imaging.jittering import edges, shaken_resample
from redteam.objective import Objective
from redteam.seeding import SampleRNG

HELD = 0.25  # difference over two pixels at which an edge is held fast


@dataclass(frozen=True, kw_only=True)
class ResampleJitter(Attack):
    """Scale with a bicubic kernel whose sampling points are shaken at random, less so at edges; the control is the same scaling on a regular grid.

    scale:  factor on height and width
    jitter: standard deviation of the shaking away from edges, pixels
    """

    source: ClassVar[str] = "Kirchner and Boehme, IEEE TIFS 3, 2008"
    family: ClassVar[str] = "anti-forensic"
    arm: ClassVar[str] = "regular grid"
    geometric: ClassVar[bool] = True
    strength: ClassVar[str] = "scale"

    scale: Annotated[float, Field(ge=0.5, le=4)] = 1.1
    jitter: Annotated[Number, Field(ge=0, le=2)] = 0.4

    def control(self) -> ResampleJitter | None:
        """The same without shaking, which is its own."""
        return replace(self, jitter=0.0) if self.jitter else None

    def perturb(self, objective: Objective, rng: SampleRNG, state: State | None = None) -> Images:
        """Images (n, 3, h, w) in [0, 1] -> the same images scaled."""
        images = objective.images
        height, width = (max(1, round(length * self.scale)) for length in images.pixels.shape[2:])
        normal = rng.randn_like(images.pixels.new_empty(len(images), 2, height, width))
        found = []
        for image, draws in zip(images.pixels, normal, strict=True):
            freedom = 1 - (resampling.resize(edges(image)[None], height, width)[0] / HELD).clamp(max=1)
            found.append(shaken_resample(image, height, width, self.jitter * freedom * draws))
        masks = None if images.masks is None else resampling.resize(images.masks, height, width, kernel="nearest")
        return images.with_pixels(torch.stack(found) if found else images.pixels, masks)
