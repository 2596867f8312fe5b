"""Several attacks one after the other."""

from __future__ import annotations

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

    @property
    def tier(self) -> Tier:
        """`sample` where every stage is."""
        return Tier.SAMPLE if all(stage.tier is Tier.SAMPLE for stage in self.stages) else Tier.MICROBATCH

    @property
    def geometric(self) -> bool:
        """Whether a stage is."""
        return any(stage.geometric for stage in self.stages)

    def params(self) -> dict[str, Any]:
        """Every stage's kind and fields, in order."""
        return {"goal": self.goal, "stages": [{"name": name, "kind": type(stage).__name__, **stage.params()} for name, stage in zip(self.names, self.stages, strict=True)]}

    def strengths(self) -> dict[str, float]:
        """The stages' strengths as name.parameter."""
        return {f"{name}.{key}": value for name, stage in zip(self.names, self.stages, strict=True) for key, value in stage.strengths().items()}

    def control(self) -> Chain | None:
        """The same chain with each optimised stage replaced by its control; the distortions stay, or the control would lack what they do."""
        controls = [stage.control() for stage in self.stages]
        if not any(controls):
            return None
        return replace(self, stages=tuple(control or stage for control, stage in zip(controls, self.stages, strict=True)))

    def perturb(self, objective: Objective, rng: SampleRNG, state: State | None = None) -> Images:
        """Images (n, 3, h, w) in [0, 1] -> what the last stage leaves; stages hand on 8-bit pixels, as files would."""
        for name, stage in zip(self.names, self.stages, strict=True):
            result = stage.run(objective, rng.fork(name))
            objective = objective.with_images(result.with_pixels(to_grid(result.pixels, objective.images.pixels, stage.budget())))
        return objective.images
