"""What attacks without gradients have in common: each image is a conversation of its own with the target, and all of them go on together.

A search yields a file that it wants to know about and is sent the answer; it sees nothing else, neither other images nor its own budget.
What it comes upon is kept here: no search can return a file that was not judged, ask more often than it may, or go on for ever.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Generator
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from redteam.attack import OptimisedAttack, State, Tier
from redteam.attacks.bounded import BoundedAttack
from redteam.attacks.noise import Noise
from redteam.component import Radius
from redteam.files import Budget
from redteam.imaging.grid import level_l2, level_linf, project_l2_on_grid, round_nearest
from redteam.imaging.settling import settle
from redteam.images import Images
from redteam.objective import Objective
from redteam.seeding import SampleRNG
from redteam.target import Access

Search = Generator[Tensor, Any, None]  # yields pixels (1, 3, h, w) on the 8-bit grid and is sent a loss or a decision
ROUNDS = 4  # questions for each query that is allowed, those answered from memory included: a search that only repeats itself ends


class Answer(NamedTuple):
    """What came back for one file.

    said:   what the search is told
    rank:   how good the file is, lower is better; infinite where it is of no use
    enough: whether the search ends with it
    """

    said: float | bool
    rank: float
    enough: bool


class Talk:
    """One image's search, what it asks next (None once it has ended), and the best file so far."""

    def __init__(self, search: Search, clean: Tensor) -> None:
        self.best, self.rank = clean, torch.inf
        self._search = search
        self.asks: Tensor | None = next(search, None)

    def hear(self, answer: Answer, *, last: bool) -> None:
        """Take the answer to what it asked, and let the search go on unless that was the last."""
        if self.asks is not None and answer.rank < self.rank:
            self.best, self.rank = self.asks, answer.rank
        try:
            self.asks = None if last or answer.enough else self._search.send(answer.said)
        except StopIteration:
            self.asks = None


@dataclass(frozen=True, kw_only=True)
class BlackBox(OptimisedAttack):
    """Base of attacks that send files and read answers.

    queries: answers that it may ask for, for each image
    """

    family: ClassVar[str] = "black box"
    tier: ClassVar[Tier] = Tier.MICROBATCH  # who is done, or finds its answer in memory, leaves the batch
    divisible: ClassVar[bool] = True  # and no image is mixed with another

    queries: Annotated[int, Field(ge=1)] = 1000

    def __post_init__(self) -> None:
        if self.eot > self.queries:
            raise ValueError(f"eot: must be at most queries ({self.queries}), since each question takes so many, got {self.eot}")

    def asks(self) -> int | None:
        """As many as it is given; surrogates are its own."""
        return None if self.surrogates else self.queries

    @abstractmethod
    def search(self, clean: Tensor, rng: SampleRNG) -> Search:
        """The search for one image (1, 3, h, w) on the CPU, with that image's generator."""

    @abstractmethod
    def answers(self, objective: Objective, files: Tensor) -> list[Answer]:
        """Files (n, 3, h, w) of the objective's images -> what came back."""

    def converse(self, objective: Objective, rng: SampleRNG) -> list[Talk]:
        """All searches until they have ended or may not ask any more."""
        clean = objective.images.pixels.cpu()
        talks = [Talk(self.search(image[None], rng.subset([i])), image[None]) for i, image in enumerate(clean)]
        before, going, part = objective.spent(), list(range(len(talks))), objective
        for _ in range(ROUNDS * self.queries):
            if going != (going := [i for i in going if talks[i].asks is not None]):
                part = objective.subset(going)
            if not going:
                break
            files = torch.cat([talks[i].asks for i in going if talks[i].asks is not None]).to(objective.images.pixels.device)
            for i, answer, spent in zip(going, self.answers(part, files), part.spent(), strict=True):
                talks[i].hear(answer, last=spent - before[i] + self.eot > self.queries)
        return talks


@dataclass(frozen=True, kw_only=True)
class ScoreAttack(BlackBox, BoundedAttack):
    """Base of attacks that read scores, inside a ball: a search is sent the loss of the file that it asked about, NaN where there was no score."""

    family: ClassVar[str] = BlackBox.family
    needs: ClassVar[Access] = Access.SCORES
    tier: ClassVar[Tier] = BlackBox.tier
    divisible: ClassVar[bool] = BlackBox.divisible

    def perturb(self, objective: Objective, rng: SampleRNG, state: State | None = None) -> Images:
        """Images (n, 3, h, w) in [0, 1] -> of each the file that succeeded, else the one with the lowest loss."""
        best = torch.cat([talk.best for talk in self.converse(objective, rng)])
        return objective.images.with_pixels(best.to(objective.images.pixels.device))

    def answers(self, objective: Objective, files: Tensor) -> list[Answer]:
        """The loss is what counts; a success ends the search where it is for good."""
        won, losses = (values.tolist() for values in objective.scored(files))
        stops = self.stop and objective.final
        return [Answer(loss, -torch.inf if hit and stops else loss, hit and stops) for hit, loss in zip(won, losses, strict=True)]

    def file(self, pixels: Tensor, clean: Tensor) -> Tensor:
        """Any pixels (1, 3, h, w) -> the file inside the ball that is nearest to them."""
        if self.norm == "linf":
            return settle(pixels, clean, "linf", self.eps)
        near = round_nearest(pixels)
        return near if level_l2(near, clean) <= self.eps * 255 else project_l2_on_grid(pixels, clean, self.eps)


@dataclass(frozen=True, kw_only=True)
class DecisionAttack(BlackBox):
    """Base of attacks that read decisions and come as near to the image as they can: a search is sent whether the file that it asked about succeeded.

    Without a radius the distance of the nearest success is noted as `distance`.

    norm: that distances are measured in
    eps:  radius that is near enough, image units: who is inside is done, and who never comes inside has failed; null goes on until the queries are spent
    """

    needs: ClassVar[Access] = Access.DECISIONS
    strength: ClassVar[str] = "eps"

    norm: Literal["linf", "l2"] = "l2"
    eps: Radius | None = None

    def budget(self) -> Budget | None:
        """The ball, where there is one."""
        return None if self.eps is None else Budget(self.norm, self.eps)

    def control(self) -> Noise | None:
        """Random signs of the same norm and radius; without a radius nobody knows how much noise that would be."""
        return None if self.eps is None else Noise(norm=self.norm, eps=self.eps, goal=self.goal)

    def strengths(self) -> dict[str, float]:
        """The radius, where there is one."""
        return {} if self.eps is None else super().strengths()

    def perturb(self, objective: Objective, rng: SampleRNG, state: State | None = None) -> Images:
        """Images (n, 3, h, w) in [0, 1] -> of each the nearest file that succeeded; drawn into the ball where none did inside it, and as it was where none did at all."""
        talks = self.converse(objective.unbounded(), rng)
        best = torch.cat([talk.best for talk in talks]).to(objective.images.pixels.device)
        if self.eps is None:
            won = [i for i, talk in enumerate(talks) if talk.rank < torch.inf]
            objective.subset(won).note("distance", [talks[i].rank / 255 for i in won])
            return objective.images.with_pixels(best)
        outside = torch.tensor([not self._inside(talk.rank) for talk in talks], device=best.device)
        if outside.any():
            best[outside] = settle(best[outside], objective.images.pixels[outside], self.norm, self.eps)
        return objective.images.with_pixels(best)

    def answers(self, objective: Objective, files: Tensor) -> list[Answer]:
        """Among the successes the distance is what counts, in levels."""
        won, far = objective.succeeded(files).tolist(), self.distance(files, objective.images.pixels).tolist()
        return [Answer(hit, levels if hit else torch.inf, hit and self.eps is not None and self._inside(levels)) for hit, levels in zip(won, far, strict=True)]

    def distance(self, files: Tensor, clean: Tensor) -> Tensor:
        """Two batches of files -> (n,) how far they are from each other, levels."""
        return level_linf(files, clean) if self.norm == "linf" else level_l2(files, clean)

    def _inside(self, levels: float) -> bool:
        return self.eps is None or levels <= self.eps * 255 * (1 + 1e-6) + 1e-3  # as `within` has it
