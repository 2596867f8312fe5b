"""Hide that an image went through a median filter: undo its blur, and break up its streaks of equal pixels.

Source: Fan, Wang, Cayre and Xiong, "Median Filtered Image Quality Enhancement and Anti-Forensics via Variational Deconvolution", IEEE TIFS
10, 2015; Kirchner and Fridrich, "On Detection of Median Filtering in Digital Images", SPIE Media Forensics and Security 2010.
Deviation: a linear inverse instead of a variational one, and for each image the least noise that restores the ratio which detectors look at.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from pydantic import Field

from redteam.attack import Attack, State
from redteam.attacks.scattered import Scattered
from redteam.component import Number
from redteam.images import Images
from redteam.imaging.streaks import broken_up, unmixed
from redteam.objective import Objective
from redteam.seeding import SampleRNG


@dataclass(frozen=True, kw_only=True)
class MedianDither(Attack):
    """Sharpen an image as a median filter blurred it, then add the least noise with which equal neighbours are no more frequent than in a photograph.

    To hide a filter of your own, put this after `median` in a chain.

    size:    of the filter that is hidden, odd, pixels
    sharpen: share of the neighbourhood's mean that the filter is taken to have mixed in; 0 does not sharpen
    ratio:   of equal neighbours to those one level apart that is left; 1 in a broad histogram, 2 and more after a median filter
    most:    largest standard deviation of the noise, image units
    """

    source: ClassVar[str] = "Fan, Wang, Cayre and Xiong, IEEE TIFS 10, 2015"
    family: ClassVar[str] = "anti-forensic"

    size: Annotated[int, Field(ge=3, le=15)] = 3
    sharpen: Annotated[Number, Field(ge=0, le=0.45)] = 0.3
    ratio: Annotated[Number, Field(ge=1, le=10)] = 1.1
    most: Annotated[Number, Field(gt=0, le=0.1)] = 4 / 255

    def __post_init__(self) -> None:
        if self.size % 2 == 0:
            raise ValueError(f"size must be odd, so that a pixel has a middle, got {self.size}")

    def control(self) -> Scattered:
        """Changes of the same size at random places."""
        return Scattered(of=self)

    def perturb(self, objective: Objective, rng: SampleRNG, state: State | None = None) -> Images:
        """Images (n, 3, h, w) in [0, 1] -> the same images, sharper and with less equal neighbours."""
        pixels = objective.images.pixels
        sharp = unmixed(pixels, self.size, self.sharpen).clamp(0, 1)
        found = [broken_up(image, normal, self.ratio, self.most) for image, normal in zip(sharp, rng.randn_like(pixels), strict=True)]
        return objective.images.with_pixels(torch.stack(found) if found else pixels)
