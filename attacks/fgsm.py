"""One step of the gradient's sign.

Source: Goodfellow et al., "Explaining and Harnessing Adversarial Examples", ICLR 2015, arXiv:1412.6572, section 4.
Deviation: the loss is the objective's margin in log-odds instead of a cross-entropy; for one step their signs agree.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from redteam.attack import OptimisedAttack, State
from redteam.attacks.noise import Noise
from redteam.component import Radius
from redteam.files import Budget
from redteam.imaging.settling import settle
from redteam.images import Images
from redteam.objective import Objective
from redteam.seeding import SampleRNG
from redteam.target import Access


@dataclass(frozen=True, kw_only=True)
class FGSM(OptimisedAttack):
    """Move every pixel by eps against the gradient's sign.

    eps: radius of the L-infinity ball, image units
    """

    source: ClassVar[str] = "Goodfellow et al., ICLR 2015, arXiv:1412.6572, section 4"
    family: ClassVar[str] = "gradient"
    needs: ClassVar[Access] = Access.GRADIENTS
    strength: ClassVar[str] = "eps"

    eps: Radius = 4 / 255

    def budget(self) -> Budget:
        """The ball that every result lies in."""
        return Budget("linf", self.eps)

    def control(self) -> Noise:
        """Random signs of the same radius."""
        return Noise(norm="linf", eps=self.eps, goal=self.goal)

    def perturb(self, objective: Objective, rng: SampleRNG, state: State | None = None) -> Images:
        """Images (n, 3, h, w) in [0, 1] -> the same images, one step away."""
        clean = objective.images.pixels
        moved = (clean - self.eps * objective.gradient(clean).sign()).clamp(0, 1)
        return objective.images.with_pixels(settle(moved, clean, "linf", self.eps))
