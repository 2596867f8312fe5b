"""JPEG compression of everything that the target is asked about.

Source: Das et al., "Keeping the Bad Guys Out: Protecting and Vaccinating Deep Learning with JPEG Compression", 2017, arXiv:1705.02900.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from redteam.component import Quality
from redteam.defense import Defense
from redteam.imaging import codecs
from redteam.target import Target


@dataclass(frozen=True, kw_only=True)
class JPEGDefense(Defense):
    """Compress each image with Pillow's JPEG encoder before the target sees it; the gradient passes straight through.

    quality: of the encoder
    """

    source: ClassVar[str] = "Das et al., 2017, arXiv:1705.02900"
    backward: ClassVar[Literal["exact", "straight_through"]] = "straight_through"

    quality: Quality = 75

    def wrap(self, target: Target) -> Target:
        """The target behind the encoder."""
        return target.wrapped(self._compress, f"input compressed to JPEG {self.quality}; its gradient is taken straight through")

    def _compress(self, pixels: Tensor) -> Tensor:
        return codecs.with_straight_through(pixels, codecs.jpeg(pixels.detach(), self.quality).to(pixels.device))
