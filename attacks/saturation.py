"""Change of saturation."""

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
class Saturation(Attack):
    """Stretch or shrink colours about each pixel's luma, as a saturation slider does (through Pillow).

    factor: 0 is a grey image, 1 changes nothing
    """

    strength: ClassVar[str] = "factor"

    factor: Annotated[float, Field(ge=0, le=10)] = 1.2

    def perturb(self, objective: Objective, rng: SampleRNG, state: State | None = None) -> Images:
        """Images (n, 3, h, w) in [0, 1] -> the same images with other saturation."""
        return objective.images.with_pixels(editing.saturation(objective.images.pixels, self.factor))
