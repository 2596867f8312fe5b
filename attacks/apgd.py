"""Projected gradient descent that chooses its own step size, inside an L-infinity or L2 ball.

Source: Croce & Hein, "Reliable Evaluation of Adversarial Robustness with an Ensemble of Diverse Parameter-free Attacks", ICML 2020,
arXiv:2003.01690, algorithm 1 and section 3; momentum 0.75, share of gainful steps 0.75, checkpoints from 0.22.
Deviation: the losses are those of two outcomes: the margin itself takes the place of DLR, which needs three classes. For a target that is not
random the cross-entropy grows and falls with the margin, and the method compares values and follows directions only, so that both take the
same path from the same start; they part where several answers are averaged. The last iterate is not asked about without its gradient, so
that `steps` is the number of gradients.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import logsigmoid, softplus

from redteam.attack import State
from redteam.attacks.bounded import BoundedAttack, somewhere
from redteam.attacks.standing import Standing
from redteam.imaging.norms import each, into_ball, steepest
from redteam.images import Images
from redteam.objective import Objective, Slope
from redteam.seeding import SampleRNG

MOMENTUM = 0.75  # alpha: share of the new step; the rest is that of the last one
GAINFUL = 0.75  # rho: share of steps that must have gained, or the step is halved
FIRST, SHORTER, SHORTEST = 0.22, 0.03, 0.06  # of all steps: the first period, by how much each is shorter than the one before, and the shortest
SURE = 30.0  # log-odds from which on log(1 + exp(-x)) is exp(-x) to the last digit
FARTHEST = 60.0  # of the weight of one answer beside the first, as a logarithm: float32 holds no more


@dataclass(frozen=True, kw_only=True)
class APGD(BoundedAttack):
    """Follow the gradient with momentum, halve the step where it no longer gains and go on from the best point.

    loss:     margin (the objective's own loss), or ce, the cross-entropy of two outcomes
    steps:    gradient queries per image and restart
    restarts: searches from as many random points of the ball, of which the one with the best file counts
    """

    source: ClassVar[str] = "Croce & Hein, ICML 2020, arXiv:2003.01690, algorithm 1"

    loss: Literal["ce", "margin"] = "margin"
    steps: Annotated[int, Field(ge=1)] = 100
    restarts: Annotated[int, Field(ge=1)] = 1

    def gradients(self) -> int:
        """All searches."""
        return super().gradients() * self.restarts

    def perturb(self, objective: Objective, rng: SampleRNG, state: State | None = None) -> Images:
        """Images (n, 3, h, w) in [0, 1] -> the same images moved inside the ball, on the 8-bit grid."""
        clean = objective.images.pixels
        standing, project = self.standing(objective), into_ball(clean, self.norm, self.eps)
        for _ in range(self.restarts):
            start = project(somewhere(clean, self.budget(), rng))
            standing.offer(self._searched(standing, start, project))
        return objective.images.with_pixels(standing.files)

    def _searched(self, standing: Standing, x: Tensor, project: Callable[[Tensor], Tensor]) -> Tensor:
        """The best point of one search from x."""
        before, path = x, _Path.at(x, 2 * self.eps)
        periods = checkpoints(self.steps)
        until = next(periods)
        for step in range(self.steps):
            if not len(standing):
                break
            value, gradient, margin = _ascent(standing.slopes(x), self.loss)
            standing.check(x, margin < 0)
            path = path.with_point(x, value, gradient)
            if step == until:
                path, halved = path.judged()
                x, gradient = torch.where(each(halved), path.best, x), torch.where(each(halved), path.uphill, gradient)
                until = next(periods)
            moved = project(x + each(path.step) * steepest(gradient, self.norm))
            if step > 0:
                moved = project(x + MOMENTUM * (moved - x) + (1 - MOMENTUM) * (x - before))
            before, x = x, moved
        return path.best


@dataclass(frozen=True)
class _Path:
    """What a search keeps of its way, for each image.

    best, highest, uphill: the point with the highest value so far, its value, its gradient
    step:                  length of the next step
    last:                  value of the point before
    gains:                 how many steps of this period gained
    taken:                 how many were taken in it
    before:                step and highest value when the period began
    """

    best: Tensor
    uphill: Tensor
    highest: Tensor
    step: Tensor
    last: Tensor
    gains: Tensor
    taken: int
    before: tuple[Tensor, Tensor]

    @classmethod
    def at(cls, x: Tensor, step: float) -> _Path:
        """Before the first answer."""
        steps, lowest = torch.full((len(x),), step, device=x.device), torch.full((len(x),), -torch.inf, dtype=torch.float64, device=x.device)
        return cls(x, torch.zeros_like(x), lowest, steps, lowest, torch.zeros_like(lowest), -1, (torch.full_like(steps, torch.inf), lowest))

    def with_point(self, x: Tensor, value: Tensor, gradient: Tensor) -> _Path:
        """One answer more."""
        better, gained = value > self.highest, value > self.last
        return replace(
            self,
            best=torch.where(each(better), x, self.best),
            uphill=torch.where(each(better), gradient, self.uphill),
            highest=torch.where(better, value, self.highest),
            last=value,
            gains=self.gains + gained if self.taken >= 0 else self.gains,
            taken=self.taken + 1,
        )

    def judged(self) -> tuple[_Path, Tensor]:
        """At a checkpoint: the step is halved where too few steps gained, or where neither it nor the best value has changed since the last; also says where."""
        halved = (self.gains < GAINFUL * self.taken) | (self.before[0] == self.step) & (self.before[1] == self.highest)
        step = torch.where(halved, self.step / 2, self.step)
        last = torch.where(halved, self.highest, self.last)
        return replace(self, step=step, last=last, gains=torch.zeros_like(self.gains), taken=0, before=(self.step, self.highest)), halved


def checkpoints(steps: int) -> Iterator[int]:
    """After which steps the step size is judged; each period is shorter than the one before.

    >>> from itertools import islice
    >>> list(islice(checkpoints(100), 6))
    [22, 41, 57, 70, 80, 87]
    """
    before, now = 0.0, FIRST
    while True:
        yield math.ceil(round(now * steps, 6))
        before, now = now, now + max(now - before - SHORTER, SHORTEST)


def _ascent(slopes: Iterable[Slope], loss: Literal["ce", "margin"]) -> tuple[Tensor, Tensor, Tensor]:
    """Answers to one question -> value (n,) float64, higher is better for the adversary, its gradient up to a positive factor, and the mean margin.

    The cross-entropy log(1 + exp(-loss)) weighs each answer's gradient by sigmoid(-loss). Its mean is kept as a logarithm and the weights
    beside that of the first answer, so that neither vanishes where the target is sure.
    """
    answers = iter(slopes)
    one = next(answers)
    first, times = one.loss.double(), 1
    value, uphill, margin = _value(first, loss), -one.gradient, one.margin
    for answer in answers:
        told = answer.loss.double()
        weight = (logsigmoid(-told) - logsigmoid(-first)).clamp(-FARTHEST, FARTHEST).exp() if loss == "ce" else torch.ones_like(told)
        uphill = uphill - each(weight.to(uphill)) * answer.gradient
        value = torch.logaddexp(value, _value(told, loss)) if loss == "ce" else value + _value(told, loss)
        margin, times = margin + answer.margin, times + 1
    return value, uphill, margin / times


def _value(told: Tensor, loss: Literal["ce", "margin"]) -> Tensor:
    """Loss (n,) -> what the adversary wants more of: the margin the other way, or the logarithm of the cross-entropy."""
    if loss == "margin":
        return -told
    return torch.where(told > SURE, -told, softplus(-told.clamp(max=SURE)).log())
