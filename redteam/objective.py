"""What an adversary wants of one target for one batch: the only thing that an attack ever sees.

An attack asks the objective for a loss, a gradient, a margin or a verdict and never learns what it attacks. A goal is written once for a
kind of target (a score, a mask, a statistic); every attack then works on it unchanged. All signs point one way: `loss` is lower when the
adversary is better off, `margin` is in log-odds and below 0 once the adversary has what it wants.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from redteam.files import Budget, FileFormat, to_grid
from redteam.images import Images
from redteam.seeding import Index
from redteam.target import Access, Detector, Target, adversary_sees

Surrogates = Mapping[str, Target]  # by name


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

    def on(self, target: Target, images: Images, *, file: FileFormat | None = None, budget: Budget | None = None, surrogates: Surrogates | None = None) -> Objective:
        """The objective of this goal for one target and one batch; success is judged in `file` and rounded inside `budget`."""
        if target.kind != self.kind:
            raise ValueError(f"goal {self.name} is about a {self.kind}, but {target.name} is a {target.kind}")
        if not self.concerns(images.labels).all():
            raise ValueError(f"goal {self.name} does not concern every image of the batch; take images.subset(goal.concerns(images.labels))")
        return Objective(self, target, images, file or FileFormat(), budget, surrogates)


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

    def __init__(self, goal: Goal, target: Target, images: Images, file: FileFormat, budget: Budget | None, surrogates: Surrogates | None = None) -> None:
        self.images = images
        self.budget = budget
        self._goal, self._target, self._file, self._surrogates = goal, target, file, surrogates or {}

    def __len__(self) -> int:
        return len(self.images)

    def loss(self, pixels: Tensor) -> Tensor:
        """Pixels (n, 3, h, w) in [0, 1] -> (n,), lower is better for the adversary. Needs scores; carries no gradient."""
        return self._goal.loss(self._ask(pixels, Access.SCORES, "a loss"), self.images, self._target)

    def gradient(self, pixels: Tensor) -> Tensor:
        """Pixels (n, 3, h, w) in [0, 1] -> gradient of the loss, same shape, zero where it is absent or not finite (both are booked). Needs gradients."""
        return self._differentiated(pixels)[1]

    def margin_and_gradient(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Margin (n,) float64 and gradient of the loss (n, 3, h, w), as `margin` and `gradient` give them, for the price of one gradient."""
        response, gradient = self._differentiated(pixels)
        return self._goal.margin(response, self.images, self._target), gradient

    def _differentiated(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """The target's response, and the gradient of the loss."""
        self._check(pixels)
        x = pixels.detach().requires_grad_(True)
        with adversary_sees(self._target, Access.GRADIENTS, "a gradient"):
            response = self._target.respond(x.clone())  # a copy: a target may write into its input
            loss = self._goal.loss(response, self.images, self._target)
            gradient = torch.autograd.grad(loss.sum(), x, allow_unused=True)[0] if loss.requires_grad else None
        if gradient is None:
            everyone = [True] * len(self)
            self._target.ledger.book_gradient(self.images.ids, zero=[False] * len(self), broken=everyone)
            return response.detach(), torch.zeros_like(pixels)
        largest = gradient.abs().flatten(1).amax(1)  # one pass: NaN and inf are the largest, and only zeros give 0
        broken, zero = ~largest.isfinite(), largest == 0
        self._target.ledger.book_gradient(self.images.ids, zero.tolist(), broken.tolist())
        return response.detach(), torch.nan_to_num(gradient, nan=0.0, posinf=0.0, neginf=0.0) if broken.any() else gradient

    def margin(self, pixels: Tensor) -> Tensor:
        """Pixels (n, 3, h, w) in [0, 1] -> (n,) float64 log-odds, below 0 where the adversary has succeeded. Needs scores."""
        return self._goal.margin(self._ask(pixels, Access.SCORES, "a margin"), self.images, self._target)

    def succeeded(self, pixels: Tensor) -> Tensor:
        """Pixels (n, 3, h, w) in [0, 1] -> (n,) bool, judged on what a file would hold. Needs decisions."""
        saved = self._file.save_and_load(to_grid(pixels, self.images.pixels, self.budget))
        return self._goal.margin(self._ask(saved, Access.DECISIONS, "a decision"), self.images, self._target) < 0

    def subset(self, index: Index) -> Objective:
        """The objective of some of the images; the accounts stay the same."""
        return self.with_images(self.images.subset(index))

    def with_images(self, images: Images) -> Objective:
        """The same goal and target on images as an earlier stage of a chain left them."""
        return Objective(self._goal, self._target, images, self._file, self.budget, self._surrogates)

    def through(self, names: Sequence[str]) -> Objective:
        """The same goal on the same images, on the surrogates of these names; each has a ledger of its own."""
        members = [Objective(self._goal, self._surrogates[name], self.images, self._file, self.budget) for name in names]
        return members[0] if len(members) == 1 else Ensemble(members)

    def _ask(self, pixels: Tensor, access: Access, wish: str) -> Tensor:
        self._check(pixels)
        with adversary_sees(self._target, access, wish):
            response = self._target.respond(pixels.detach().clone()).detach()
        self._target.ledger.book_query(self.images.ids)
        return response

    def _check(self, pixels: Tensor) -> None:
        if len(pixels) != len(self):
            raise ValueError(f"objective: {len(self)} images, got pixels of {len(pixels)}; each question is booked on one image, so ask once for every candidate")


class Ensemble(Objective):
    """One goal on several targets at once: what all of them answer, averaged; it has succeeded where it has on each.

    Source: Liu et al., "Delving into Transferable Adversarial Examples and Black-box Attacks", ICLR 2017, arXiv:1611.02770, section 5.
    Deviation: losses in log-odds are averaged, which is the ensemble in logits of Dong et al., CVPR 2018, arXiv:1710.06081, eq. 10, with equal weights.
    """

    def __init__(self, members: Sequence[Objective]) -> None:
        self.images, self.budget = members[0].images, members[0].budget
        self._members = tuple(members)

    def loss(self, pixels: Tensor) -> Tensor:
        """Pixels (n, 3, h, w) in [0, 1] -> (n,), the mean of the members' losses."""
        return self._mean(lambda member: member.loss(pixels))

    def gradient(self, pixels: Tensor) -> Tensor:
        """Pixels (n, 3, h, w) in [0, 1] -> the mean of the members' gradients."""
        return self._mean(lambda member: member.gradient(pixels))

    def margin_and_gradient(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Pixels (n, 3, h, w) in [0, 1] -> the largest of the members' margins, and the mean of their gradients."""
        margins, gradients = zip(*(member.margin_and_gradient(pixels) for member in self._members), strict=True)
        return torch.stack(margins).amax(0), torch.stack(gradients).mean(0)

    def margin(self, pixels: Tensor) -> Tensor:
        """Pixels (n, 3, h, w) in [0, 1] -> (n,) float64, the largest of the members' margins: below 0 once all are fooled."""
        return torch.stack([member.margin(pixels) for member in self._members]).amax(0)

    def succeeded(self, pixels: Tensor) -> Tensor:
        """Pixels (n, 3, h, w) in [0, 1] -> (n,) bool, whether all members are fooled by what a file would hold."""
        return torch.stack([member.succeeded(pixels) for member in self._members]).all(0)

    def with_images(self, images: Images) -> Objective:
        """The same members on other images."""
        return Ensemble([member.with_images(images) for member in self._members])

    def _mean(self, ask: Callable[[Objective], Tensor]) -> Tensor:
        return torch.stack([ask(member) for member in self._members]).mean(0)
