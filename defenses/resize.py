"""Everything that the target is asked about is shrunk to a random size and put at a random place on black.

Source: Xie et al., "Mitigating Adversarial Effects Through Randomization", ICLR 2018, arXiv:1711.01991, section 3.
Deviation: the image is made smaller and padded to its own size instead of larger, so that every target takes it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import Field

from redteam.defense import Defense
from redteam.imaging.placing import PLACED, resize_and_pad
from redteam.target import Target


@dataclass(frozen=True, kw_only=True)
class ResizeDefense(Defense):
    """Resize and pad at random before the target sees an image; an attacker has to average over it (eot).

    smallest: size of the shrunken image at least, as a share of its own
    """

    source: ClassVar[str] = "Xie et al., ICLR 2018, arXiv:1711.01991, section 3"
    randomised: ClassVar[bool] = True

    smallest: Annotated[float, Field(gt=0, lt=1)] = 0.9

    def wrap(self, target: Target) -> Target:
        """The target behind the resizing."""
        note = f"input shrunk to between {self.smallest:.4g} and 1 of its size and padded at a random place, anew for each question; its gradient is exact"
        return target.randomly_wrapped(lambda pixels, rng: resize_and_pad(pixels, rng.rand_like(pixels.new_empty(len(pixels), PLACED)), self.smallest), note)
