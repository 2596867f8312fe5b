"""Gradients through images whose spectrum is shaken: the spectrum simulation attack.

Source: Long et al., "Frequency Domain Model Augmentation for Adversarial Attack", ECCV 2022, arXiv:2207.05382, algorithm 1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import Field
from torch import Tensor

from redteam.attacks.transfer import TransferAttack, through
from redteam.imaging.dct import dct, idct
from redteam.objective import Objective
from redteam.seeding import SampleRNG


@dataclass(frozen=True, kw_only=True)
class SSM(TransferAttack):
    """Momentum on gradients averaged over spectra: noise is added, and each DCT coefficient of the image is scaled at random.

    copies: spectra that are averaged in a step
    spread: coefficients are scaled by factors in [1 - spread, 1 + spread]
    noise:  standard deviation of the noise, in multiples of eps
    """

    source: ClassVar[str] = "Long et al., ECCV 2022, arXiv:2207.05382, algorithm 1"

    copies: Annotated[int, Field(ge=1)] = 20
    spread: Annotated[float, Field(ge=0, le=1)] = 0.5
    noise: Annotated[float, Field(ge=0)] = 1.0

    def questions(self) -> int:
        """One for each spectrum."""
        return self.copies

    def following(self, objective: Objective, rng: SampleRNG) -> Callable[[Tensor], Tensor]:
        """The mean gradient over new spectra each time."""
        return lambda pixels: sum(through(lambda x: self._shaken(x, rng), objective, pixels) for _ in range(self.copies)) / self.copies

    def _shaken(self, x: Tensor, rng: SampleRNG) -> Tensor:
        spectrum = dct(x + self.noise * self.eps * rng.randn_like(x.detach()))
        return idct(spectrum * (1 + self.spread * (2 * rng.rand_like(x.detach()) - 1)))
