"""The control arm that changes nothing: what the pipeline itself does to an image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from redteam.attack import Attack, State
from redteam.images import Images
from redteam.objective import Objective
from redteam.seeding import SampleRNG


@dataclass(frozen=True, kw_only=True)
class Identity(Attack):
    """Return the images as they are; they still pass rounding, the file and the score as attacked ones do."""

    family: ClassVar[str] = "control"

    def perturb(self, objective: Objective, rng: SampleRNG, state: State | None = None) -> Images:
        """Images (n, 3, h, w) -> the same images."""
        return objective.images
