"""Projected gradient descent inside an L-infinity or L2 ball.

Source: Madry et al., "Towards Deep Learning Models Resistant to Adversarial Attacks", ICLR 2018, arXiv:1706.06083, eq. 3.
Deviation: the objective supplies the loss (a margin in log-odds, which does not saturate) instead of a cross-entropy; an iterate is moved to
the best-aligned point of the 8-bit grid inside the ball before it is judged or handed on, since that is what a file can hold.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import Field
from torch import Tensor

from redteam.attack import State
from redteam.attacks.bounded import BoundedAttack, somewhere
from redteam.attacks.standing import Standing
from redteam.component import Radius
from redteam.files import Budget
from redteam.imaging.norms import into_ball, steepest
from redteam.images import Images
from redteam.objective import Objective
from redteam.seeding import SampleRNG


@dataclass(frozen=True)
class Room:
    """Where iterates may lie, and which part of a gradient leads there.

    project: pixels (n, 3, h, w) -> the pixels inside
    along:   a gradient (n, 3, h, w) -> the part of it that does not lead out
    """

    project: Callable[[Tensor], Tensor]
    along: Callable[[Tensor], Tensor] = lambda gradient: gradient


@dataclass(frozen=True, kw_only=True)
class PGD(BoundedAttack):
    """Lower the objective's loss by steps along the gradient's sign (linf) or direction (l2), projected back into the ball.

    step:         length of one step, image units; when not given eps / 4, or 2 eps / steps where so few steps would not cross the ball
    steps:        gradient queries per image and restart
    random_start: begin at a random point of the ball instead of the image itself
    restarts:     descents from as many starts, of which the one with the best file counts; each costs one query more where there are several
    """

    source: ClassVar[str] = "Madry et al., ICLR 2018, arXiv:1706.06083, eq. 3"

    step: Radius | None = None
    steps: Annotated[int, Field(ge=1)] = 20
    random_start: bool = True
    restarts: Annotated[int, Field(ge=1)] = 1

    def __post_init__(self) -> None:
        if self.restarts > 1 and not self.random_start:
            raise ValueError(f"restarts: must be 1 without a random start, got {self.restarts}; every descent would be the same")

    def gradients(self) -> int:
        """All descents."""
        return super().gradients() * self.restarts

    def perturb(self, objective: Objective, rng: SampleRNG, state: State | None = None) -> Images:
        """Images (n, 3, h, w) in [0, 1] -> the same images moved inside the ball, on the 8-bit grid."""
        clean = objective.images.pixels
        standing, room = self.standing(objective), self.room(objective, rng)
        for _ in range(self.restarts):
            start = room.project(somewhere(clean, Budget(self.norm, self.eps), rng)) if self.random_start else clean
            adv = self._descended(standing, start, room)
            if self.restarts > 1:
                standing.offer(adv)
        return objective.images.with_pixels(standing.files if self.restarts > 1 else standing.settled(adv))

    def room(self, objective: Objective, rng: SampleRNG) -> Room:
        """Where iterates may lie: the ball, or what a subclass leaves of it."""
        return Room(into_ball(objective.images.pixels, self.norm, self.eps))

    def _descended(self, standing: Standing, adv: Tensor, room: Room) -> Tensor:
        """Where the steps from one start end."""
        step = self.eps * max(1 / 4, 2 / self.steps) if self.step is None else self.step
        for _ in range(self.steps):
            if not len(standing):
                break
            slope = standing.slope(adv)
            standing.check(adv, slope.margin < 0)
            adv = room.project(adv - step * steepest(room.along(slope.gradient), self.norm))
        return adv
