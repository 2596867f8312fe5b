"""Several attacks one after the other."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from redteam.attack import Attack, State, Tier
from redteam.files import to_grid
from redteam.images import Images
from redteam.objective import Objective
from redteam.seeding import SampleRNG
from redteam.target import Access


@dataclass(frozen=True, kw_only=True)
class Chain(Attack):
    """Hand each attack's result to the next; a stage's gradient does not see the stages after it.

    stages: the attacks, in order
    names:  one for each stage; strengths are called name.parameter
    """

    family: ClassVar[str] = "chain"

    stages: tuple[Attack, ...]
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(self.stages) != len(self.names) or len(set(self.names)) != len(self.names) or not self.stages:
            raise ValueError("chain: needs at least one stage, and one distinct name for each")

    @property
    def needs(self) -> Access:
        """The most that a stage asks for."""
        return max(stage.needs for stage in self.stages)

    def access(self) -> Access:
        """The most that a stage needs of the evaluated target."""
        return max(stage.access() for stage in self.stages)

    def asked_instead(self) -> tuple[str, ...]:
        """The surrogates of all stages."""
        return tuple(dict.fromkeys(name for stage in self.stages for name in stage.asked_instead()))

    def gradients(self) -> int:
        """Those of all stages."""
        return sum(stage.gradients() for stage in self.stages)

    @property
    def tier(self) -> Tier:
        """`sample` where every stage is."""
        return Tier.SAMPLE if all(stage.tier is Tier.SAMPLE for stage in self.stages) else Tier.MICROBATCH

    @property
    def divisible(self) -> bool:
        """Whether every stage is."""
        return all(stage.divisible for stage in self.stages)

    @property
    def geometric(self) -> bool:
        """Whether a stage is."""
        return any(stage.geometric for stage in self.stages)

    @property
    def resamples(self) -> bool:
        """Whether a stage does."""
        return any(stage.resamples for stage in self.stages)

    @property
    def one_picture(self) -> bool:
        """Whether a stage leaves nothing of an image."""
        return any(stage.one_picture for stage in self.stages)

    @property
    def both_classes(self) -> bool:
        """Whether a stage must see both."""
        return any(stage.both_classes for stage in self.stages)

    @property
    def arm(self) -> str:
        """What the controls among its stages are called."""
        return " and ".join(dict.fromkeys(stage.arm for stage in self.stages if stage.family == "control" or stage.arm != Attack.arm)) or Attack.arm

    def params(self) -> dict[str, Any]:
        """Every stage's kind and fields, in order."""
        return {"goal": self.goal, "stages": [{"name": name, "kind": type(stage).__name__, **stage.params()} for name, stage in zip(self.names, self.stages, strict=True)]}

    def seeding(self) -> dict[str, Any]:
        """As `params`, of what each stage's randomness hangs on."""
        return {"goal": self.goal, "stages": [{"name": name, "kind": type(stage).__name__, **stage.seeding()} for name, stage in zip(self.names, self.stages, strict=True)]}

    def strengths(self) -> dict[str, float]:
        """The stages' strengths as name.parameter."""
        return {f"{name}.{key}": value for name, stage in zip(self.names, self.stages, strict=True) for key, value in stage.strengths().items()}

    def control(self) -> Chain | None:
        """The same chain with each optimised stage replaced by its control; the distortions stay, or the control would lack what they do."""
        controls = [stage.control() for stage in self.stages]
        if not any(controls):
            return None
        return replace(self, stages=tuple(control or stage for control, stage in zip(controls, self.stages, strict=True)))

    def learns(self) -> bool:
        """Whether a stage does."""
        return any(stage.learns() for stage in self.stages)

    def fit(self, objectives: Iterable[Objective], rng: SampleRNG) -> State | None:
        """What each stage learns from training images as the stages before it leave them, under name/key."""
        found: State = {}
        batches = list(objectives)
        last = max((i for i, stage in enumerate(self.stages) if stage.learns()), default=-1)
        for name, stage in list(zip(self.names, self.stages, strict=True))[: last + 1]:
            learned = stage.learner().fit(batches, rng.fork(name)) or {}
            found |= {f"{name}/{key}": tensor for key, tensor in learned.items()}
            batches = [batch.with_images(_after(batch, stage, SampleRNG.of(rng.seeds[0], name, stage.seeding(), batch.images.ids), learned)) for batch in batches]
        return found or None

    def perturb(self, objective: Objective, rng: SampleRNG, state: State | None = None) -> Images:
        """Images (n, 3, h, w) in [0, 1] -> what the last stage leaves; stages hand on 8-bit pixels, as files would."""
        for name, stage in zip(self.names, self.stages, strict=True):
            own = {key.removeprefix(f"{name}/"): tensor for key, tensor in (state or {}).items() if key.startswith(f"{name}/")}
            objective = objective.with_images(_after(objective.stage(name, final=name == self.names[-1]), stage, rng.fork(name), own))
        return objective.images


def _after(objective: Objective, stage: Attack, rng: SampleRNG, state: State) -> Images:
    """What a stage leaves, on the 8-bit grid."""
    result = stage.run(objective, rng, state or None)
    return result.with_pixels(to_grid(result.pixels, objective.images.pixels, stage.budget()))
