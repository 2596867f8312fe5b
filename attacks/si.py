"""Gradients averaged over copies of the image at lower and lower intensity.

Source: Lin et al., "Nesterov Accelerated Gradient and Scale Invariance for Adversarial Attacks", ICLR 2020, arXiv:1908.06281, eq. 9.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import Field
from torch import Tensor

from redteam.attacks.transfer import TransferAttack, through
from redteam.objective import Objective
from redteam.seeding import SampleRNG


@dataclass(frozen=True, kw_only=True)
class SI(TransferAttack):
    """Momentum on gradients averaged over x, x / 2, x / 4 and so on: pixel values are scaled, not sizes.

    copies: how many intensities
    """

    source: ClassVar[str] = "Lin et al., ICLR 2020, arXiv:1908.06281, eq. 9"

    copies: Annotated[int, Field(ge=1, le=16)] = 5

    def questions(self) -> int:
        """One for each intensity."""
        return self.copies

    def following(self, objective: Objective, rng: SampleRNG) -> Callable[[Tensor], Tensor]:
        """The mean gradient over the intensities."""
        return lambda pixels: sum(through(lambda x, i=i: x / 2**i, objective, pixels) for i in range(self.copies)) / self.copies
