"""The control of attacks that are bound by no norm: what they change, as much of it, but nowhere in particular."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from redteam.attack import Attack, State
from redteam.images import Images
from redteam.objective import Objective
from redteam.seeding import SampleRNG


@dataclass(frozen=True, kw_only=True)
class Scattered(Attack):
    """Run an attack, take the change of each pixel, and add it at a random other place of the same image.

    The histogram of changes is the attack's own, so that its noise is; what it knew about places is gone.

    of: the attack, which must keep the image's size and ask nothing
    """

    family: ClassVar[str] = "control"
    arm: ClassVar[str] = "scattered"

    of: Attack

    def learns(self) -> bool:
        """Whether the attack does."""
        return self.of.learns()

    def learner(self) -> Attack:
        """The attack."""
        return self.of

    def params(self) -> dict[str, Any]:
        """The kind and the fields of the attack."""
        return {"goal": self.goal, "of": {"kind": type(self.of).__name__, **self.of.params()}}

    def strengths(self) -> dict[str, float]:
        """Those of the attack."""
        return self.of.strengths()

    def perturb(self, objective: Objective, rng: SampleRNG, state: State | None = None) -> Images:
        """Images (n, 3, h, w) in [0, 1] -> the same images with the attack's changes in a random order, clipped."""
        clean = objective.images.pixels
        change = self.of.run(objective, rng, state).pixels - clean
        order = rng.rand_like(clean[:, 0].flatten(1)).argsort(dim=1, stable=True)[:, None].expand(-1, 3, -1)
        moved = torch.gather(change.flatten(2), 2, order).view_as(clean)
        return objective.images.with_pixels((clean + moved).clamp(0, 1))
