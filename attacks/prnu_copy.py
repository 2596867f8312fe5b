"""Put a camera's fingerprint into an image that the camera did not take.

Source: Goljan, Fridrich and Chen, "Defending Against Fingerprint-Copy Attack in Sensor-Based Camera Identification", IEEE TIFS 6, 2011,
eq. 6 (the multiplicative copy; the same paper's triangle test finds it where the training images are public).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import Field

from redteam.attack import State
from redteam.attacks.fingerprint import FingerprintAttack
from redteam.component import Number
from redteam.images import Images
from redteam.objective import Objective
from redteam.seeding import SampleRNG


@dataclass(frozen=True, kw_only=True)
class PRNUCopy(FingerprintAttack):
    """Multiply an image by the camera's fingerprint, as its sensor would have.

    gain: of the fingerprint; 1 is as strong as in the camera's own images
    """

    source: ClassVar[str] = "Goljan, Fridrich and Chen, IEEE TIFS 6, 2011, eq. 6"
    strength: ClassVar[str] = "gain"

    gain: Annotated[Number, Field(gt=0, le=10)] = 1.0

    def perturb(self, objective: Objective, rng: SampleRNG, state: State | None = None) -> Images:
        """Images (n, 3, h, w) in [0, 1] -> the same images as that camera would have marked them, clipped."""
        pixels = objective.images.pixels
        return objective.images.with_pixels((pixels * (1 + self.gain * self.fingerprint(pixels, state))).clamp(0, 1))
