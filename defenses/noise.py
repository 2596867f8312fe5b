"""Gaussian noise on everything that the target is asked about, new for each question.

Source: Cohen et al., "Certified Adversarial Robustness via Randomized Smoothing", ICML 2019, arXiv:1902.02918, eq. 1.
Deviation: one draw for each question instead of a vote over many, so no certificate; what leaves [0, 1] is clipped.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import Field
from torch import Tensor

from redteam.component import Number
from redteam.defense import Defense
from redteam.imaging.filters import clip
from redteam.seeding import SampleRNG
from redteam.target import Target


@dataclass(frozen=True, kw_only=True)
class NoiseDefense(Defense):
    """Add noise before the target sees an image; an attacker has to average over it (eot).

    sigma: standard deviation, image units
    """

    source: ClassVar[str] = "Cohen et al., ICML 2019, arXiv:1902.02918, eq. 1"
    randomised: ClassVar[bool] = True

    sigma: Annotated[Number, Field(gt=0, le=1)] = 4 / 255

    def wrap(self, target: Target) -> Target:
        """The target behind the noise."""
        return target.randomly_wrapped(self._noisy, f"input with Gaussian noise of deviation {self.sigma:.4g}, new for each question; its gradient is exact")

    def _noisy(self, pixels: Tensor, rng: SampleRNG) -> Tensor:
        return clip(pixels + self.sigma * rng.randn_like(pixels.detach()))
