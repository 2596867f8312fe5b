"""Gradients through a random resize and pad of the image.

Source: Xie et al., "Improving Transferability of Adversarial Examples with Input Diversity", CVPR 2019, arXiv:1803.06978, eq. 4.
Deviation: the image is made smaller and padded to its own size instead of larger, so that every target takes it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import Field
from torch import Tensor

from redteam.attacks.transfer import TransferAttack, through
from redteam.imaging.placing import PLACED, resize_and_pad
from redteam.objective import Objective
from redteam.seeding import SampleRNG


@dataclass(frozen=True, kw_only=True)
class DI(TransferAttack):
    """Momentum on gradients through a random resize and pad; resampling takes away the traces that low-level detectors read.

    smallest:    size of the shrunken image at least, as a share of its own
    probability: how often an image is shrunk at all
    """

    source: ClassVar[str] = "Xie et al., CVPR 2019, arXiv:1803.06978, eq. 4"
    resamples: ClassVar[bool] = True

    smallest: Annotated[float, Field(gt=0, le=1)] = 0.9
    probability: Annotated[float, Field(ge=0, le=1)] = 0.5

    def following(self, objective: Objective, rng: SampleRNG) -> Callable[[Tensor], Tensor]:
        """The gradient through another resize and pad each time."""
        return lambda pixels: through(lambda x: resize_and_pad(x, rng.rand_like(x.new_empty(len(x), PLACED)), self.smallest, self.probability), objective, pixels)
