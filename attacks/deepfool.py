"""Newton steps to the decision boundary.

Source: Moosavi-Dezfooli et al., "DeepFool: a simple and accurate method to fool deep neural networks", CVPR 2016, arXiv:1511.04599,
algorithm 1 (two outcomes) with overshoot 0.02 and at most 50 steps.
Deviation: each step is the nearest point of the linearised boundary inside [0, 1]; what crosses is lengthened until its 8-bit file does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import Field

from redteam.attack import Tier
from redteam.attacks.minimal import MinimalAttack, Nearest
from redteam.imaging.norms import onto_plane
from redteam.seeding import SampleRNG


@dataclass(frozen=True, kw_only=True)
class DeepFool(MinimalAttack):
    """Go to where the linearised margin is zero, again and again until it is crossed.

    steps:     gradient queries per image at most; an image that has crossed asks no more
    overshoot: by which share the whole way is longer than to the boundary
    """

    source: ClassVar[str] = "Moosavi-Dezfooli et al., CVPR 2016, arXiv:1511.04599, algorithm 1"

    steps: Annotated[int, Field(ge=1)] = 50
    overshoot: Annotated[float, Field(ge=0, le=1)] = 0.02

    tier: ClassVar[Tier] = Tier.MICROBATCH  # who has crossed leaves the batch

    def search(self, nearest: Nearest, rng: SampleRNG) -> None:
        """Steps until every image has crossed."""
        clean = x = nearest.clean
        for _ in range(self.steps):
            if not len(nearest):
                return
            slope = nearest.look((clean + (1 + self.overshoot) * (x - clean)).clamp(0, 1))
            nearest.rest(slope.margin < 0)
            x = x + onto_plane(x, slope.gradient, slope.margin, "l2")
