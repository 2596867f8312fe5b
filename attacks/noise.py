"""Random signs of a given norm: the control arm of every bounded attack."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from redteam.attack import Attack, State
from redteam.component import Radius
from redteam.files import Budget
from redteam.imaging.settling import settle
from redteam.images import Images
from redteam.objective import Objective
from redteam.seeding import SampleRNG


@dataclass(frozen=True, kw_only=True)
class Noise(Attack):
    """Move pixels up or down at random, as far as the budget allows.

    norm: linf moves every pixel by eps; l2 moves as many pixels as the radius allows, by one 8-bit level where it is small
    eps:  radius, image units
    """

    family: ClassVar[str] = "control"
    strength: ClassVar[str] = "eps"

    norm: Literal["linf", "l2"] = "linf"
    eps: Radius = 4 / 255

    def budget(self) -> Budget:
        """The ball whose border the noise lies on."""
        return Budget(self.norm, self.eps)

    def perturb(self, objective: Objective, rng: SampleRNG, state: State | None = None) -> Images:
        """Images (n, 3, h, w) in [0, 1] -> the same images with random signs added, within the budget."""
        clean = objective.images.pixels
        signs = rng.signs_like(clean)
        if self.norm == "linf":
            return objective.images.with_pixels((clean + self.eps * signs).clamp(0, 1))
        ranked = signs * (1 + rng.rand_like(clean))  # distinct sizes, so that a small radius picks pixels at random
        return objective.images.with_pixels(settle(self._shell(clean, ranked), clean, "l2", self.eps))

    def _shell(self, clean: Tensor, direction: Tensor) -> Tensor:
        length = direction.flatten(1).norm(dim=1)[:, None, None, None]
        return (clean + self.eps * direction / length).clamp(0, 1)
