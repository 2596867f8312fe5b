"""Sharpening by an unsharp mask."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import Field

from redteam.attack import Attack, State
from redteam.imaging import editing
from redteam.images import Images
from redteam.objective import Objective
from redteam.seeding import SampleRNG


@dataclass(frozen=True, kw_only=True)
class Sharpen(Attack):
    """Add what a blur takes away, as an editor's unsharp mask does (through Pillow).

    amount: how much of it, 1 is all
    radius: of the blur, pixels
    """

    strength: ClassVar[str] = "amount"

    amount: Annotated[float, Field(ge=0, le=10)] = 1.0
    radius: Annotated[float, Field(gt=0, le=50)] = 1.0

    def perturb(self, objective: Objective, rng: SampleRNG, state: State | None = None) -> Images:
        """Images (n, 3, h, w) in [0, 1] -> the same images sharpened."""
        return objective.images.with_pixels(editing.unsharp_mask(objective.images.pixels, self.radius, self.amount))
