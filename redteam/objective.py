"""What an adversary wants of one target for one batch: the only thing that an attack ever sees.

An attack asks the objective for a loss, a gradient, a margin or a verdict and never learns what it attacks. A goal is written once for a
kind of target (a score, a mask, a statistic); every attack then works on it unchanged. All signs point one way: `loss` is lower when the
adversary is better off, `margin` is in log-odds and below 0 once the adversary has what it wants.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from redteam.files import Budget, FileFormat, to_grid
from redteam.images import Images
from redteam.seeding import Index
from redteam.target import Access, Detector, Target, adversary_sees


class Goal(ABC):
    """What an adversary wants of one kind of target. Subclasses say it in terms of the target's response.

    name: as scenarios and records spell it
    kind: the kind of target that it is about
    """

    name: str
    kind: ClassVar[str]

    @abstractmethod
    def concerns(self, labels: Tensor) -> Tensor:
        """Labels (n,) -> (n,) bool: the images that this adversary would attack."""

    @abstractmethod
    def loss(self, response: Tensor, images: Images, target: Target) -> Tensor:
        """Response (n, ...) -> (n,) float, differentiable, lower is better for the adversary; must not saturate."""

    @abstractmethod
    def margin(self, response: Tensor, images: Images, target: Target) -> Tensor:
        """Response (n, ...) -> (n,) float64 log-odds by which the target still holds; below 0 the adversary has succeeded."""

    def on(self, target: Target, images: Images, *, file: FileFormat | None = None, budget: Budget | None = None) -> Objective:
        """The objective of this goal for one target and one batch; success is judged in `file` and rounded inside `budget`."""
        if target.kind != self.kind:
            raise ValueError(f"goal {self.name} is about a {self.kind}, but {target.name} is a {target.kind}")
        if not self.concerns(images.labels).all():
            raise ValueError(f"goal {self.name} does not concern every image of the batch; take images.subset(goal.concerns(images.labels))")
        return Objective(self, target, images, file or FileFormat(), budget)


@dataclass(frozen=True)
class Misjudge(Goal):
    """Make a detector call images what they are not.

    wants: the labels that are attacked; 1 to `evade` (a fake passes), 0 to `frame` (a real one is accused)
    """

    name: str
    wants: tuple[int, ...]
    kind: ClassVar[str] = "detector"

    def concerns(self, labels: Tensor) -> Tensor:
        """Labels (n,) -> (n,) bool: the images whose label this adversary wants misjudged."""
        return torch.isin(labels, torch.tensor(self.wants, device=labels.device))

    def loss(self, response: Tensor, images: Images, target: Target) -> Tensor:
        """Log-odds (n,) of the true label: linear in the logit, so it never saturates as a cross-entropy does."""
        return response * _sign(images.labels, response)

    def margin(self, response: Tensor, images: Images, target: Detector) -> Tensor:
        """Log-odds (n,) on the true side of the threshold."""
        return target.margin(response) * _sign(images.labels, response).double()


def _sign(labels: Tensor, like: Tensor) -> Tensor:
    return (2 * labels - 1).to(like)


EVADE = Misjudge("evade", (1,))
FRAME = Misjudge("frame", (0,))
BOTH = Misjudge("evade+frame", (0, 1))
GOALS: dict[str, tuple[Goal, ...]] = {"detector": (BOTH, EVADE, FRAME)}  # by kind; the first is the default


def goal_named(kind: str, name: str | None) -> Goal:
    """The goal of that name for a kind of target; its default goal where no name is given.

    >>> goal_named("detector", None).name
    'evade+frame'
    """
    choices = GOALS[kind]
    found = [goal for goal in choices if name in (None, goal.name)]
    if not found:
        raise ValueError(f"goal must be one of {', '.join(g.name for g in choices)} for a {kind}, got {name!r}")
    return found[0]


class Objective:
    """One goal, one target, one batch. Every call asks the target once for each image and is booked on that image's account.

    images: the batch as it was before the attack
    budget: the ball that the attack declared, which rounding to 8 bits must not leave; None for attacks without one
    """

    def __init__(self, goal: Goal, target: Target, images: Images, file: FileFormat, budget: Budget | None) -> None:
        self.images = images
        self.budget = budget
        self._goal, self._target, self._file = goal, target, file

    def __len__(self) -> int:
        return len(self.images)

    def loss(self, pixels: Tensor) -> Tensor:
        """Pixels (n, 3, h, w) in [0, 1] -> (n,), lower is better for the adversary. Needs scores; carries no gradient."""
        return self._goal.loss(self._ask(pixels, Access.SCORES, "a loss"), self.images, self._target)

    def gradient(self, pixels: Tensor) -> Tensor:
        """Pixels (n, 3, h, w) in [0, 1] -> gradient of the loss, same shape, zero where it is absent or not finite (both are booked). Needs gradients."""
        self._check(pixels)
        x = pixels.detach().requires_grad_(True)
        with adversary_sees(self._target, Access.GRADIENTS, "a gradient"):
            response = self._target.respond(x.clone())  # a copy: a target may write into its input
            loss = self._goal.loss(response, self.images, self._target)
            gradient = torch.autograd.grad(loss.sum(), x, allow_unused=True)[0] if loss.requires_grad else None
        if gradient is None:
            everyone = [True] * len(self)
            self._target.ledger.book_gradient(self.images.ids, zero=[False] * len(self), broken=everyone)
            return torch.zeros_like(pixels)
        largest = gradient.abs().flatten(1).amax(1)  # one pass: NaN and inf are the largest, and only zeros give 0
        broken, zero = ~largest.isfinite(), largest == 0
        self._target.ledger.book_gradient(self.images.ids, zero.tolist(), broken.tolist())
        return torch.nan_to_num(gradient, nan=0.0, posinf=0.0, neginf=0.0) if broken.any() else gradient

    def margin(self, pixels: Tensor) -> Tensor:
        """Pixels (n, 3, h, w) in [0, 1] -> (n,) float64 log-odds, below 0 where the adversary has succeeded. Needs scores."""
        return self._goal.margin(self._ask(pixels, Access.SCORES, "a margin"), self.images, self._target)

    def succeeded(self, pixels: Tensor) -> Tensor:
        """Pixels (n, 3, h, w) in [0, 1] -> (n,) bool, judged on what a file would hold. Needs decisions."""
        saved = self._file.save_and_load(to_grid(pixels, self.images.pixels, self.budget))
        return self._goal.margin(self._ask(saved, Access.DECISIONS, "a decision"), self.images, self._target) < 0

    def subset(self, index: Index) -> Objective:
        """The objective of some of the images; the accounts stay the same."""
        return Objective(self._goal, self._target, self.images.subset(index), self._file, self.budget)

    def with_images(self, images: Images) -> Objective:
        """The same goal and target on images as an earlier stage of a chain left them."""
        return Objective(self._goal, self._target, images, self._file, self.budget)

    def _ask(self, pixels: Tensor, access: Access, wish: str) -> Tensor:
        self._check(pixels)
        with adversary_sees(self._target, access, wish):
            response = self._target.respond(pixels.detach().clone()).detach()
        self._target.ledger.book_query(self.images.ids)
        return response

    def _check(self, pixels: Tensor) -> None:
        if len(pixels) != len(self):
            raise ValueError(f"objective: {len(self)} images, got pixels of {len(pixels)}; each question is booked on one image, so ask once for every candidate")
