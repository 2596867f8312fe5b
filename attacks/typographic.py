"""A sticker with words, for detectors that read.

Source: Westerhoff et al., "SCAM: A Real-World Typographic Robustness Evaluation for Multimodal Foundation Models", 2025,
arXiv:2504.04893 (three matched pictures: words on a sticker, the same sticker blank, no sticker); Goh et al., "Multimodal Neurons in
Artificial Neural Networks", Distill 2021.
Deviation: stickers are drawn, with words about the picture's origin, in both directions.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from redteam.attack import Attack, State
from redteam.component import Number
from redteam.images import Images
from redteam.imaging import stickers
from redteam.objective import Objective
from redteam.seeding import SampleRNG


@dataclass(frozen=True, kw_only=True)
class Typographic(Attack):
    """Stick words on an image at a random place; the control is the same sticker at the same place without words, so that text minus blank is what reading does.

    on_fakes: words for fake images, which are to be taken for real
    on_reals: words for real images, which are to be taken for fake
    area:     of the sticker, share of the image
    contrast: of the words with the paper, 1 is black on white
    paper:    brightness of the sticker, [0, 1]
    blank:    leave the words out, as the control does
    """

    source: ClassVar[str] = "Westerhoff et al., 2025, arXiv:2504.04893"
    family: ClassVar[str] = "typographic"
    arm: ClassVar[str] = "blank sticker"
    strength: ClassVar[str] = "area"

    on_fakes: str = "camera photo"
    on_reals: str = "AI generated"
    area: Annotated[Number, Field(gt=0, le=1)] = 0.1
    contrast: Annotated[Number, Field(gt=0, le=1)] = 1.0
    paper: Annotated[Number, Field(ge=0, le=1)] = 1.0
    blank: bool = False

    def control(self) -> Typographic | None:
        """The blank sticker, which is its own."""
        return None if self.blank else replace(self, blank=True)

    def seeding(self) -> dict[str, Any]:
        """The area alone: whatever the words, the sticker lies where it lies."""
        return {"area": self.area}

    def perturb(self, objective: Objective, rng: SampleRNG, state: State | None = None) -> Images:
        """Images (n, 3, h, w) in [0, 1] -> the same images, each under its sticker."""
        images = objective.images
        height, width = images.pixels.shape[2:]
        high, wide = stickers.shape(height, width, self.area)
        places = rng.rand_like(images.pixels.new_empty(len(images), 2).double()).tolist()
        pixels = images.pixels.clone()
        for image, label, (down, across) in zip(pixels, images.labels.tolist(), places, strict=True):
            top, left = int(down * (height - high + 1)), int(across * (width - wide + 1))
            image[:, top : top + high, left : left + wide] = self._sticker(label, high, wide).to(image)
        return images.with_pixels(pixels)

    def _sticker(self, label: int, height: int, width: int) -> Tensor:
        """(height, width): ink is darker than bright paper and brighter than dark paper."""
        blackest = self.paper - self.contrast if self.paper >= 0.5 else self.paper + self.contrast
        words = "" if self.blank else self.on_fakes if label else self.on_reals
        return torch.lerp(torch.tensor(self.paper), torch.tensor(min(1.0, max(0.0, blackest))), stickers.ink(words, height, width))
