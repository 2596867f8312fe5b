"""What an attack is: frozen configuration and a `perturb` that sees an objective and nothing else."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import ClassVar

from torch import Tensor

from redteam.component import Component, TargetRef
from redteam.files import Budget
from redteam.images import Images
from redteam.objective import Objective
from redteam.seeding import SampleRNG
from redteam.target import Access

State = dict[str, Tensor]  # what `fit` learned; kept as a safetensors artifact


class Tier(str, Enum):
    """What may change a result in the last bit: nothing (`sample`), or only another micro-batch (`microbatch`)."""

    SAMPLE = "sample"
    MICROBATCH = "microbatch"


@dataclass(frozen=True, kw_only=True)
class Attack(Component):
    """Base of all attacks. A subclass writes `perturb`, and `control` and `budget` where it has them.

    goal: what the adversary wants; where not given, the default of the target's kind (both directions for a detector)
    """

    needs: ClassVar[Access] = Access.NONE  # the most that it asks its objective for
    tier: ClassVar[Tier] = Tier.SAMPLE
    geometric: ClassVar[bool] = False  # whether pixels move or the size changes, so that pixelwise quality means nothing
    family: ClassVar[str] = "distortion"
    strength: ClassVar[str | None] = None  # the field that says how strong it is; records and curves carry it

    goal: str | None = None

    def fit(self, objectives: Iterable[Objective], rng: SampleRNG) -> State | None:
        """Learn from training batches once for a cell, before any image is attacked. Most attacks have nothing to learn."""
        return None

    def run(self, objective: Objective, rng: SampleRNG, state: State | None = None) -> Images:
        """`perturb` under the objective that this attack is to ask: what the engine and a chain call."""
        return self.perturb(objective, rng, state)

    def access(self) -> Access:
        """The least that the evaluated target must give."""
        return self.needs

    def asked_instead(self) -> tuple[str, ...]:
        """The surrogates that it asks instead of the evaluated target: target ids of the scenario, or zoo names."""
        return ()

    @abstractmethod
    def perturb(self, objective: Objective, rng: SampleRNG, state: State | None = None) -> Images:
        """The objective's images (n, 3, h, w) in [0, 1] -> the same images attacked, in the same order; the input is left as it is."""

    def control(self) -> Attack | None:
        """The same distortion without the cleverness, whose effect must be smaller; None where the identity arm is all that is needed."""
        return None

    def budget(self) -> Budget | None:
        """The ball that it promises to stay in; None for attacks without one."""
        return None

    def strengths(self) -> dict[str, float]:
        """The numbers that place it on a strength axis."""
        return {self.strength: getattr(self, self.strength)} if self.strength else {}


@dataclass(frozen=True, kw_only=True)
class OptimisedAttack(Attack):
    """Base of all attacks that follow an objective's answers; with surrogates each of them is a transfer attack.

    surrogates: targets that are asked instead of the evaluated one, which then gives nothing away; their losses are averaged
    """

    surrogates: tuple[TargetRef, ...] = ()

    def run(self, objective: Objective, rng: SampleRNG, state: State | None = None) -> Images:
        """`perturb` against the surrogates where there are some, else against the evaluated target."""
        return self.perturb(objective.through(self.surrogates) if self.surrogates else objective, rng, state)

    def access(self) -> Access:
        """What it needs; nothing of a target that it never asks."""
        return Access.NONE if self.surrogates else self.needs

    def asked_instead(self) -> tuple[str, ...]:
        """The surrogates."""
        return self.surrogates
