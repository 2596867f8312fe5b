"""Take a camera's fingerprint out of an image.

Source: Lukas, Fridrich and Goljan, "Digital Camera Identification from Sensor Pattern Noise", IEEE TIFS 1, 2006, section IX (removal by
subtraction); Karakucuk and Dirik, "Adaptive Photo-Response Non-Uniformity Noise Removal Against Image Source Attribution", Digital
Investigation 12, 2015 (as much as is left in the residual, again and again).
Deviation: the share that is subtracted is a least-squares estimate.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from redteam.attack import State
from redteam.attacks.fingerprint import FingerprintAttack
from redteam.component import Number
from redteam.images import Images
from redteam.imaging import denoising
from redteam.objective import Objective
from redteam.seeding import SampleRNG


@dataclass(frozen=True, kw_only=True)
class PRNURemove(FingerprintAttack):
    """Subtract the camera's fingerprint until the noise of the image no longer shows it.

    removal: share of what is found that is taken away in each round
    rounds:  of finding and subtracting
    """

    removal: Annotated[Number, Field(gt=0, le=2)] = 1.0
    rounds: Annotated[int, Field(ge=1, le=50)] = 8

    def perturb(self, objective: Objective, rng: SampleRNG, state: State | None = None) -> Images:
        """Images (n, 3, h, w) in [0, 1] -> the same images without the fingerprint."""
        pixels = objective.images.pixels
        pattern = self.fingerprint(pixels, state)
        for _ in range(self.rounds):
            trace = pixels * pattern
            pixels = pixels - self.removal * denoising.projection(denoising.residual(pixels, self.sigma), trace) * trace
        return objective.images.with_pixels(pixels.clamp(0, 1))
