"""Successive halving: many candidates on a few images, the better half of them on twice as many, until one has been tried on all.

Source: Jamieson & Talwalkar, "Non-stochastic Best Arm Identification and Hyperparameter Optimization", AISTATS 2016, arXiv:1502.07943, figure 3.
Deviation: what a candidate costs is not known before it is tried, so each round has a share of the budget and tries candidates, the best first,
until that is used up; what was seen of an image is kept, so that a round asks about the images that are new in it; all candidates see the same
images, which makes their comparison a paired one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from redteam.attacks.compositions import Composition

FIRST = 8  # images of the first round at least: fewer rank the candidates by luck


class Exhausted(Exception):
    """The purse cannot pay for the next questions, which were not asked."""


class Purse:
    """The answers that a search may ask for: one for each image in each question, a gradient like a decision.

    queries: in all
    spent:   so far
    """

    def __init__(self, queries: int) -> None:
        self.queries, self.spent = queries, 0
        self._granted = queries

    def grant(self, share: float) -> None:
        """From now on pay with this share of what is left."""
        self._granted = self.spent + int((self.queries - self.spent) * share)

    def pay(self, answers: int) -> None:
        """Pay for answers before they are asked for. Raises Exhausted."""
        if self.spent + answers > self._granted:
            raise Exhausted
        self.spent += answers


@dataclass(frozen=True)
class Seen:
    """What one round showed of a candidate.

    broken:   (n,) bool, the images whose file kept the floor and won
    kept:     (n,) bool, the images whose file kept the floor
    distance: (n,) float64, mean squared change of what would be published, image units
    """

    broken: Tensor
    kept: Tensor
    distance: Tensor


@dataclass
class Candidate:
    """A composition, and what was seen of it round by round.

    order: the place at which it was drawn
    """

    composition: Composition
    order: int
    rounds: list[Seen] = field(default_factory=list)

    def all(self, what: str) -> Tensor:
        """One entry of `Seen` over all rounds so far, (images,)."""
        return torch.cat([getattr(seen, what) for seen in self.rounds]) if self.rounds else torch.zeros(0)

    def rank(self, labels: Sequence[int]) -> tuple[float, float, int, int]:
        """Lower is better: harm done, then the quality that is left, then length, then the order of the draw. Labels are those of all images."""
        return -harm(self.all("broken"), labels), float(self.all("distance").mean()), len(self.composition), self.order


def harm(broken: Tensor, labels: Sequence[int]) -> float:
    """(n,) bool of the first n images -> the share that is broken, mean over the classes that are there, so that a rarer class counts as much.

    >>> harm(torch.tensor([True, True, False, True]), [1, 1, 1, 0])
    0.8333333333333333
    """
    classes = [[bool(hit) for hit, label in zip(broken.tolist(), labels, strict=False) if label == wanted] for wanted in (0, 1)]
    shares = [sum(hits) / len(hits) for hits in classes if hits]
    return sum(shares) / len(shares)


def ends(images: int) -> list[int]:
    """How many images have been looked at after each round.

    >>> ends(64), ends(50), ends(9)
    ([8, 16, 32, 64], [12, 25, 50], [9])
    """
    found = [images]
    while found[0] // 2 >= FIRST:
        found.insert(0, found[0] // 2)
    return found


def halved(candidates: Sequence[Candidate], labels: Sequence[int], rounds: int, look: Callable[[Composition, int], Seen], purse: Purse) -> list[Candidate]:
    """The candidates that were tried: those that came furthest first, the better before the worse.

    `look(composition, round)` tries one on the images that are new in a round. A first round asks about every candidate, a later one about
    half as many and as many new images as there were before: it costs half of the first.
    """
    standing = list(candidates)
    for number in range(rounds):
        purse.grant((2 if number == 0 else 1) / (rounds - number + (number == 0)))
        standing = _looked(standing, number, look)
        standing.sort(key=lambda candidate: candidate.rank(labels))
        standing = standing[: math.ceil(len(standing) / 2)]
    tried = [candidate for candidate in candidates if candidate.rounds]
    return sorted(tried, key=lambda candidate: (-len(candidate.rounds), *candidate.rank(labels)))


def _looked(candidates: Sequence[Candidate], number: int, look: Callable[[Composition, int], Seen]) -> list[Candidate]:
    """The candidates that the purse could pay for, with what was seen of them."""
    found = []
    for candidate in candidates:
        try:
            candidate.rounds.append(look(candidate.composition, number))
        except Exhausted:
            break
        found.append(candidate)
    return found
