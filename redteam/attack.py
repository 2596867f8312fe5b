"""What an attack is: frozen configuration and a `perturb` that sees an objective and nothing else."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Any, ClassVar

from pydantic import Field
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
    resamples: ClassVar[bool] = False  # whether what it asks about is interpolated, which takes away the traces that low-level detectors read
    family: ClassVar[str] = "distortion"
    arm: ClassVar[str] = "noise"  # what reports call it where it stands as the control of another attack
    one_picture: ClassVar[bool] = False  # whether all images of a class become one and the same picture: then its rows are one observation, and say nothing of an image
    both_classes: ClassVar[bool] = False  # whether `fit` must see training images of both labels, whatever the goal
    strength: ClassVar[str | None] = None  # the field that says how strong it is; records and curves carry it

    goal: str | None = None

    def learns(self) -> bool:
        """Whether it has something to learn, from the `train` role, before it runs."""
        return type(self).fit is not Attack.fit

    def fit(self, objectives: Iterable[Objective], rng: SampleRNG) -> State | None:
        """Learn from training batches once for a cell, before any image is attacked. Most attacks have nothing to learn.

        The batches hold the training images that the goal is about, or all of them with `both_classes`.
        """
        return None

    def learned(self, state: State | None) -> State:
        """What `fit` left; raises ValueError where it was not called."""
        if not state:
            raise ValueError(f"{type(self).__name__} learns from training images and was given none; call fit first, or give the scenario data.train")
        return state

    def learner(self) -> Attack:
        """The attack that learns for it: itself, or what a control arm is the control of, so that both use what was learned once."""
        return self

    def findings(self, state: State) -> dict[str, Any]:
        """What `fit` found, in plain types, where a report shows it."""
        return {}

    def run(self, objective: Objective, rng: SampleRNG, state: State | None = None) -> Images:
        """`perturb` under the objective that this attack is to ask: what the engine and a chain call."""
        return self.perturb(objective, rng, state)

    def access(self) -> Access:
        """The least that the evaluated target must give."""
        return self.needs

    def asked_instead(self) -> tuple[str, ...]:
        """The surrogates that it asks instead of the evaluated target: target ids of the scenario, or zoo names."""
        return ()

    @property
    def divisible(self) -> bool:
        """Whether a smaller micro-batch changes no more than last bits, so that one may be divided where memory is short."""
        return self.tier is Tier.SAMPLE

    def gradients(self) -> int:
        """Gradients that it asks for at most, for each image."""
        return 0

    def asks(self) -> int | None:
        """Answers that it may ask the evaluated target for at most, for each image; None where the user sets no such limit."""
        return None

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

    def seeding(self) -> dict[str, Any]:
        """The settings that its randomness hangs on: all of them, unless its control must draw the same numbers."""
        return self.params()


@dataclass(frozen=True, kw_only=True)
class OptimisedAttack(Attack):
    """Base of all attacks that follow an objective's answers; with surrogates each of them is a transfer attack.

    surrogates: targets that are asked instead of the evaluated one, which then gives nothing away; their losses are averaged
    eot:        answers that are averaged for each question (expectation over transformation): more than 1 where the target is random
    """

    surrogates: tuple[TargetRef, ...] = ()
    eot: Annotated[int, Field(ge=1)] = 1

    def run(self, objective: Objective, rng: SampleRNG, state: State | None = None) -> Images:
        """`perturb` against what it is to ask."""
        return self.perturb(self.asking(objective), rng, state)

    def asking(self, objective: Objective) -> Objective:
        """The objective on the surrogates where there are some, else on the evaluated target; averaged over repeated questions."""
        return (objective.through(self.surrogates) if self.surrogates else objective).averaged(self.eot)

    def gradients(self) -> int:
        """One for each step where it follows gradients, as often as they are averaged."""
        return self.eot * getattr(self, "steps", 1) if self.needs is Access.GRADIENTS else 0

    def access(self) -> Access:
        """What it needs; nothing of a target that it never asks."""
        return Access.NONE if self.surrogates else self.needs

    def asked_instead(self) -> tuple[str, ...]:
        """The surrogates."""
        return self.surrogates


def stages(attack: Attack) -> tuple[Attack, ...]:
    """The attack itself, or the attacks that it is made of."""
    return getattr(attack, "stages", (attack,))
