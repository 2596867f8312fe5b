"""What an adversary wants of one target for one batch: the only thing that an attack ever sees.

An attack asks the objective for a loss, a gradient, a margin or a verdict and never learns what it attacks. A goal is written once for a
kind of target (a score, a mask, a statistic); every attack then works on it unchanged. All signs point one way: `loss` is lower when the
adversary is better off, `margin` is in log-odds and below 0 once the adversary has what it wants.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from redteam.files import Budget, FileFormat, to_grid, within
from redteam.images import Images
from redteam.memory import File, Memory, Told
from redteam.seeding import Index, SampleRNG
from redteam.target import Access, Detector, Target, adversary_sees

Surrogates = Mapping[str, Target]  # by name
Note = str | int | float | bool  # what an attack found out about one image


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


class Slope(NamedTuple):
    """What one gradient question tells: loss (n,), margin (n,) float64, and the gradient of the loss (n, 3, h, w)."""

    loss: Tensor
    margin: Tensor
    gradient: Tensor


class Objective:
    """One goal, one target, one batch. Every call asks the target once for each image and is booked on that image's account.

    images: the batch as it was before the attack
    budget: the ball that the attack declared, which rounding to 8 bits must not leave; None for attacks without one
    final:  whether who succeeds here has succeeded for good; not on surrogates, nor before the last stage of a chain
    notes:  what the attack noted, by image id and name; records show it
    """

    def __init__(self, goal: Goal, target: Target, images: Images, file: FileFormat, budget: Budget | None, surrogates: Surrogates | None = None) -> None:
        self.images = images
        self.budget = budget
        self.final = True
        self.notes: dict[str, dict[str, Note]] = {}
        self._stage = ""
        self._goal, self._target, self._file, self._surrogates = goal, target, file, surrogates or {}
        self._ball, self._memory = budget, Memory()
        self._watcher: Callable[[int], None] = lambda images: None

    def __len__(self) -> int:
        return len(self.images)

    def loss(self, pixels: Tensor) -> Tensor:
        """Pixels (n, 3, h, w) in [0, 1] -> (n,), lower is better for the adversary. Needs scores; carries no gradient."""
        return self._goal.loss(self._target.shown(self._ask(pixels, Access.SCORES, "a loss")), self.images, self._target)

    def gradient(self, pixels: Tensor) -> Tensor:
        """Pixels (n, 3, h, w) in [0, 1] -> gradient of the loss, same shape, zero where it is absent or not finite (both are booked). Needs gradients."""
        return self.slope(pixels).gradient

    def margin_and_gradient(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Margin (n,) float64 and gradient of the loss (n, 3, h, w), as `margin` and `gradient` give them, for the price of one gradient."""
        return self.slope(pixels)[1:]

    def slopes(self, pixels: Tensor) -> Iterator[Slope]:
        """The answers that `slope` is the mean of, one after the other: several where a random target is asked several times."""
        yield self.slope(pixels)

    def slope(self, pixels: Tensor) -> Slope:
        """Pixels (n, 3, h, w) in [0, 1] -> loss, margin and gradient, as three questions would give them, for the price of one gradient and in its precision; only `succeeded` judges."""
        self._check(pixels)
        x = pixels.detach().requires_grad_(True)
        with adversary_sees(self._target, Access.GRADIENTS, "a gradient"):
            response = self._respond(x.clone())  # a copy: a target may write into its input
            loss = self._goal.loss(response, self.images, self._target)
            gradient = torch.autograd.grad(loss.sum(), x, allow_unused=True)[0] if loss.requires_grad else None
        if gradient is None:
            everyone = [True] * len(self)
            self._target.ledger.book_gradient(self.images.ids, zero=[False] * len(self), broken=everyone)
            return self._slope(response, loss, torch.zeros_like(pixels))
        largest = gradient.abs().flatten(1).amax(1)  # one pass: NaN and inf are the largest, and only zeros give 0
        broken, zero = ~largest.isfinite(), largest == 0
        self._target.ledger.book_gradient(self.images.ids, zero.tolist(), broken.tolist())
        return self._slope(response, loss, torch.nan_to_num(gradient, nan=0.0, posinf=0.0, neginf=0.0) if broken.any() else gradient)

    def _slope(self, response: Tensor, loss: Tensor, gradient: Tensor) -> Slope:
        return Slope(loss.detach(), self._seen(response.detach()), gradient)

    def _seen(self, response: Tensor) -> Tensor:
        """The margin (n,) of a response, kept in the trace of each image."""
        margin = self._goal.margin(response, self.images, self._target)
        self._target.ledger.book_margins(self.images.ids, margin.tolist())
        return margin

    def margin(self, pixels: Tensor) -> Tensor:
        """Pixels (n, 3, h, w) in [0, 1] -> (n,) float64 log-odds, below 0 where the adversary has succeeded. Needs scores."""
        return self._goal.margin(self._target.shown(self._ask(pixels, Access.SCORES, "a margin")), self.images, self._target)

    def succeeded(self, pixels: Tensor) -> Tensor:
        """Pixels (n, 3, h, w) in [0, 1] -> (n,) bool, judged on what a file would hold. Needs decisions."""
        return self._of_files(pixels, Access.DECISIONS, "a decision")[0]

    def scored(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Pixels (n, 3, h, w) in [0, 1] -> (n,) bool as `succeeded` gives it and (n,) float64 loss, NaN where there is no score; both of what a file would hold. Needs scores."""
        return self._of_files(pixels, Access.SCORES, "a score")

    def spent(self) -> list[int]:
        """Queries booked so far, for each image."""
        return self._target.ledger.queries(self.images.ids)

    def saved(self, pixels: Tensor) -> Tensor:
        """Pixels (n, 3, h, w) in [0, 1] -> what files would hold of them; asks nothing."""
        return self._file.save_and_load(to_grid(pixels, self.images.pixels, self._ball))

    def labels(self) -> tuple[int, ...]:
        """The labels of the images that its adversary attacks."""
        return tuple(label for label in (0, 1) if self._goal.concerns(torch.tensor([label])))

    def watched(self, watcher: Callable[[int], None]) -> Objective:
        """The same objective; `watcher` is told how many images each question is about before it is asked, and may raise instead. So with surrogates."""
        other = copy.copy(self)
        other._watcher = watcher
        return other

    def unbounded(self) -> Objective:
        """The same objective for an adversary who also asks about files outside the budget; a success is still booked inside it only."""
        other = copy.copy(self)
        other._ball = None
        return other

    def subset(self, index: Index) -> Objective:
        """The objective of some of the images; the accounts stay the same."""
        return self._changed(self._target.of_some(index), self.images.subset(index))

    def with_images(self, images: Images) -> Objective:
        """The same goal and target on images as an earlier stage of a chain left them."""
        return self._changed(self._target, images)

    def stage(self, name: str, *, final: bool) -> Objective:
        """The same for one stage of a chain: what it notes is called name.key, and only the last one's success is for good."""
        other = copy.copy(self)
        other._stage, other.final = f"{self._stage}{name}.", self.final and final
        return other

    def note(self, name: str, values: Sequence[Note]) -> None:
        """Keep one value for each image under this name, in place of an earlier one."""
        for image, value in zip(self.images.ids, values, strict=True):
            self.notes.setdefault(image, {})[self._stage + name] = value

    def drawing(self, rng: SampleRNG) -> Objective:
        """The same objective; a random target draws for each image from that image's generator."""
        return self._changed(self._target.drawing(rng), self.images)

    def averaged(self, times: int) -> Objective:
        """The same objective, asked so often for each question."""
        return self if times == 1 else Averaged(self, times)

    def _changed(self, target: Target, images: Images) -> Objective:
        other = copy.copy(self)
        other._target, other.images = target, images
        return other

    def through(self, names: Sequence[str]) -> Objective:
        """The same goal on the same images, on the surrogates of these names; each has a ledger of its own."""
        members = [Objective(self._goal, self._surrogates[name], self.images, self._file, self.budget)._under(self) for name in names]
        for member in members:
            member.final = False
        return members[0] if len(members) == 1 else Ensemble(members)

    def _under(self, other: Objective) -> Objective:
        """This one, for the same stage of the same attack as the other, whose notes it shares."""
        self.final, self.notes, self._stage, self._watcher = other.final, other.notes, other._stage, other._watcher
        return self

    def _ask(self, pixels: Tensor, access: Access, wish: str) -> Tensor:
        self._check(pixels)
        with adversary_sees(self._target, access, wish):
            response = self._respond(pixels.detach().clone()).detach()
        self._target.ledger.book_query(self.images.ids)
        self._seen(response)
        return response

    def _of_files(self, pixels: Tensor, access: Access, wish: str) -> tuple[Tensor, Tensor]:
        """Whether the adversary has won (n,) and the loss (n,), on what files would hold; a target that is not random is not asked about the same file again."""
        self._check(pixels)
        grid = to_grid(pixels, self.images.pixels, self._ball)
        saved = self._file.save_and_load(grid)
        with adversary_sees(self._target, access, wish):
            files = self._memory.files(self.images.ids, saved)
            new = [i for i, file in enumerate(files) if file.told is None or self._target.randomised]
            self._target.ledger.book_cached([name for i, name in enumerate(self.images.ids) if i not in new])
            if new:
                self.subset(new)._send([files[i] for i in new], saved[new], grid[new], traced=access is Access.SCORES)
        told = [file.told for file in files]
        return torch.tensor([t.won for t in told], device=pixels.device), torch.tensor([t.loss for t in told], dtype=torch.float64, device=pixels.device)

    def _send(self, files: Sequence[File], saved: Tensor, grid: Tensor, *, traced: bool) -> None:
        """Ask about files, remember the answers, and book them, the margins too where the adversary sees them; `grid` is what the files were made of."""
        response = self._respond(saved.clone()).detach()
        margin = self._seen(response) if traced else self._goal.margin(response, self.images, self._target)
        won = (margin < 0).cpu()
        losses = self._goal.loss(self._target.shown(response), self.images, self._target).double().tolist()
        self._target.ledger.book_query(self.images.ids)
        near = [file.keep(Told(*told)) for file, told in zip(files, zip(won.tolist(), losses, strict=True), strict=True)]
        counts = won & within(grid, self.images.pixels, self.budget) if won.any() else won
        self._target.ledger.book_files(self.images.ids, near, counts.tolist())

    def _respond(self, pixels: Tensor) -> Tensor:
        self._watcher(len(pixels))
        return self._target.respond(pixels)

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
        self._under(members[0])

    def loss(self, pixels: Tensor) -> Tensor:
        """Pixels (n, 3, h, w) in [0, 1] -> (n,), the mean of the members' losses."""
        return self._mean(lambda member: member.loss(pixels))

    def slope(self, pixels: Tensor) -> Slope:
        """Pixels (n, 3, h, w) in [0, 1] -> the mean of the members' losses and gradients, and the largest of their margins."""
        losses, margins, gradients = zip(*(member.slope(pixels) for member in self._members), strict=True)
        return Slope(torch.stack(losses).mean(0), torch.stack(margins).amax(0), torch.stack(gradients).mean(0))

    def margin(self, pixels: Tensor) -> Tensor:
        """Pixels (n, 3, h, w) in [0, 1] -> (n,) float64, the largest of the members' margins: below 0 once all are fooled."""
        return torch.stack([member.margin(pixels) for member in self._members]).amax(0)

    def succeeded(self, pixels: Tensor) -> Tensor:
        """Pixels (n, 3, h, w) in [0, 1] -> (n,) bool, whether all members are fooled by what a file would hold."""
        return torch.stack([member.succeeded(pixels) for member in self._members]).all(0)

    def scored(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Pixels (n, 3, h, w) in [0, 1] -> (n,) bool, whether all members are fooled, and (n,) the mean of their losses; both of what a file would hold."""
        won, losses = zip(*(member.scored(pixels) for member in self._members), strict=True)
        return torch.stack(won).all(0), torch.stack(losses).mean(0)

    def spent(self) -> list[int]:
        """Queries booked so far for each image, with the member that was asked most."""
        return [max(member) for member in zip(*(member.spent() for member in self._members), strict=True)]

    def unbounded(self) -> Objective:
        """The same members, who may be asked about files outside the budget."""
        return Ensemble([member.unbounded() for member in self._members])

    def subset(self, index: Index) -> Objective:
        """The same members on some of the images."""
        return Ensemble([member.subset(index) for member in self._members])

    def with_images(self, images: Images) -> Objective:
        """The same members on other images."""
        return Ensemble([member.with_images(images) for member in self._members])

    def _mean(self, ask: Callable[[Objective], Tensor]) -> Tensor:
        return torch.stack([ask(member) for member in self._members]).mean(0)


class Averaged(Objective):
    """Asks several times for each question and answers with the mean: what a random target does on average. Every time is booked.

    Source: Athalye et al., "Synthesizing Robust Adversarial Examples", ICML 2018, arXiv:1707.07397, section 2.1 (expectation over transformation).
    """

    def __init__(self, asked: Objective, times: int) -> None:
        self.images, self.budget = asked.images, asked.budget
        self._asked, self._times = asked, times
        self._under(asked)

    def loss(self, pixels: Tensor) -> Tensor:
        """Pixels (n, 3, h, w) in [0, 1] -> (n,), the mean loss."""
        return self._mean(lambda: self._asked.loss(pixels))

    def slopes(self, pixels: Tensor) -> Iterator[Slope]:
        """Every answer by itself."""
        return (self._asked.slope(pixels) for _ in range(self._times))

    def slope(self, pixels: Tensor) -> Slope:
        """Pixels (n, 3, h, w) in [0, 1] -> the mean loss, the mean margin, and the mean gradient."""
        return Slope(*(torch.stack(answers).mean(0) for answers in zip(*self.slopes(pixels), strict=True)))

    def margin(self, pixels: Tensor) -> Tensor:
        """Pixels (n, 3, h, w) in [0, 1] -> (n,) float64, the mean margin."""
        return self._mean(lambda: self._asked.margin(pixels))

    def succeeded(self, pixels: Tensor) -> Tensor:
        """Pixels (n, 3, h, w) in [0, 1] -> (n,) bool, whether more than half of the decisions on what a file would hold are the adversary's."""
        return self._mean(lambda: self._asked.succeeded(pixels).double()) > 0.5

    def scored(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Pixels (n, 3, h, w) in [0, 1] -> (n,) bool as `succeeded` gives it, and (n,) the mean loss; both of what a file would hold."""
        won, losses = zip(*(self._asked.scored(pixels) for _ in range(self._times)), strict=True)
        return torch.stack(won).double().mean(0) > 0.5, torch.stack(losses).mean(0)

    def spent(self) -> list[int]:
        """Queries booked so far, for each image."""
        return self._asked.spent()

    def unbounded(self) -> Objective:
        """The average for an adversary who also asks about files outside the budget."""
        return Averaged(self._asked.unbounded(), self._times)

    def subset(self, index: Index) -> Objective:
        """The average for some of the images."""
        return Averaged(self._asked.subset(index), self._times)

    def with_images(self, images: Images) -> Objective:
        """The average on other images."""
        return Averaged(self._asked.with_images(images), self._times)

    def _mean(self, ask: Callable[[], Tensor]) -> Tensor:
        return torch.stack([ask() for _ in range(self._times)]).mean(0)
