"""Attacks that are wrong on purpose, to see whether an evaluation notices; no scenario can name them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from redteam.attack import State
from redteam.attacks.pgd import PGD
from redteam.files import Budget
from redteam.images import Images
from redteam.objective import Objective
from redteam.seeding import SampleRNG

Fault = Literal["none", "budget_ignored", "idle", "silent_success", "floats", "weaker_with_more"]
HALF_WAY = 0.6 / 255  # off the grid: rounding takes it back to the image


@dataclass(frozen=True, kw_only=True)
class Faulty(PGD):
    """PGD with a fault.

    fault: budget_ignored moves five times as far as it declares, idle hands back what it was given, silent_success goes through successes and returns
           something else, floats is content with what no file holds, weaker_with_more gives up where its radius is above 4/255
    """

    fault: Fault = "none"

    def budget(self) -> Budget:
        """The ball that it says it keeps to."""
        return Budget(self.norm, self.eps / 5 if self.fault == "budget_ignored" else self.eps)

    def perturb(self, objective: Objective, rng: SampleRNG, state: State | None = None) -> Images:
        """Images (n, 3, h, w) in [0, 1] -> what the fault makes of them."""
        clean = objective.images.pixels
        if self.fault == "idle" or self.fault == "weaker_with_more" and self.eps > 4.5 / 255:
            objective.gradient(clean)
            return objective.images
        if self.fault == "budget_ignored":
            return objective.images.with_pixels((clean - self.eps * objective.gradient(clean).sign()).clamp(0, 1))
        if self.fault == "floats":
            moved = (clean - HALF_WAY * objective.gradient(clean).sign()).clamp(0, 1)
            objective.margin(moved)
            return objective.images.with_pixels(moved)
        if self.fault == "silent_success":
            super().perturb(objective, rng, state)
            objective.margin(clean)
            return objective.images.with_pixels((clean + (0.5 - clean).sign() / 255).clamp(0, 1))
        return super().perturb(objective, rng, state)
