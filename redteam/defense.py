"""What a defense is: exactly one of a wrapped target, a retrained target or protected images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from redteam.component import Component
from redteam.images import Images
from redteam.objective import Objective
from redteam.seeding import SampleRNG
from redteam.target import Target


@dataclass(frozen=True, kw_only=True)
class Defense(Component):
    """Base of all defenses. A subclass overrides exactly one of `wrap`, `retrain` and `protect`; a test holds this.

    The attacker sees the defended target. A transform of the input says in `backward` what its gradient is: `exact`, or
    `straight_through` where the true one is zero or absent.
    """

    backward: ClassVar[Literal["exact", "straight_through"]] = "exact"

    def wrap(self, target: Target) -> Target:
        """The target behind this defense."""
        return target

    def retrain(self, target: Target, data: object, rng: SampleRNG) -> Target:
        """The target after training against attacks on `data`."""
        return target

    def protect(self, images: Images, objective: Objective, rng: SampleRNG) -> Images:
        """Images changed before publication so that the objective's adversary fails on them."""
        return images
