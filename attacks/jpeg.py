"""JPEG compression."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from redteam.attack import Attack, State
from redteam.component import Quality
from redteam.imaging import codecs
from redteam.images import Images
from redteam.objective import Objective
from redteam.seeding import SampleRNG


@dataclass(frozen=True, kw_only=True)
class JPEG(Attack):
    """Save as JPEG and read it again, through Pillow's encoder.

    quality: of the encoder; lower loses more
    """

    strength: ClassVar[str] = "quality"

    quality: Quality = 75

    def perturb(self, objective: Objective, rng: SampleRNG, state: State | None = None) -> Images:
        """Images (n, 3, h, w) in [0, 1] -> the same images as the file holds them."""
        pixels = objective.images.pixels
        return objective.images.with_pixels(codecs.jpeg(pixels, self.quality).to(pixels.device))
