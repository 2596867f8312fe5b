"""Flags that compare the cells of one corpus, target and defense, image by image: the same images fell to what should have been weaker.

Source: Carlini et al., "On Evaluating Adversarial Robustness", 2019, arXiv:1902.06705, section 5 (unbounded attacks, one step beside many, black box
beside white box, noise); Croce & Hein, AutoAttack, ICML 2020, arXiv:2003.01690, section 5.
Deviation: what is beyond chance is said by the exact test on the same images, with Holm's correction over the comparisons of one kind.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from redteam.attack import Attack
from redteam.measure.paired import sign_flip
from redteam.measure.statistics import holm
from redteam.record import Cell
from redteam.seeding import canonical
from redteam.target import Access
from redteam.validity.traces import not_converged
from redteam.validity.view import FEW, SURE, Flag, View, named, of

SAME = 1e-9  # two radii that differ by less, relatively, are one
LEAST_STANDING = 5  # images that twice the steps must have been tried on in vain
ABSENT, STANDS, FELL = -1, 0, 1

Fates = NDArray[np.int8]


@dataclass(frozen=True)
class Trial:
    """What one cell did to each image of its corpus.

    fates: (n,) in the order of the clean arm: ABSENT where there was nothing to win or the budget was not kept, else STANDS or FELL
    codes: (n,) number of each image's source: images of one source are one witness
    check: what a sentinel cell is there to check, such as `longer`; empty for other cells
    of:    key of the cell that a sentinel checks
    done:  whether its best margins had come to rest
    """

    cell: Cell
    attack: Attack
    fates: Fates
    codes: NDArray[np.intp]
    check: str = ""
    of: str = ""
    done: bool = True

    @property
    def white_box(self) -> bool:
        """Whether it follows the gradients of the evaluated target itself."""
        return self.attack.access() is Access.GRADIENTS

    @property
    def tried(self) -> int:
        """Images on which there was something to win."""
        return int((self.fates != ABSENT).sum())


class Change(NamedTuple):
    """Images of two trials: the places of those that fell in the first alone, how many in the second alone, of how many in both, and the p that chance did it."""

    lost: NDArray[np.intp]
    won: int
    n: int
    p: float

    @property
    def more(self) -> float:
        """The p, where the first did more; else 1."""
        return self.p if len(self.lost) > self.won else 1.0


def trial(view: View, places: dict[str, int], codes: NDArray[np.intp], check: str = "", checked: str = "") -> Trial:
    """The trial of a cell; `places` are the places of the images in the clean arm, by id, `codes` the numbers of their sources."""
    fates = np.full(len(places), ABSENT, np.int8)
    for row in view.tried:
        if row.id in places:
            fates[places[row.id]] = FELL if row.outcome["success"] else STANDS
    return Trial(view.cell, view.attack, fates, codes, check, checked, done=not_converged(view) is None)


def change(first: Trial, second: Trial) -> Change:
    """What fell in one and not in the other; McNemar's exact test, over sources where these have several images."""
    both = (first.fates != ABSENT) & (second.fates != ABSENT)
    moved = np.where(both, first.fates.astype(np.int64) - second.fates, 0)
    return Change(np.flatnonzero(moved > 0), int((moved < 0).sum()), int(both.sum()), sign_flip(np.bincount(first.codes, moved)) if len(moved) else 1.0)


def compared(trials: Sequence[Trial], names: Sequence[str]) -> Iterator[tuple[str, Flag]]:
    """(Key of a cell, a flag that comparison raises on it); `names` are the ids of the images in the order of the fates."""
    own = [one for one in trials if not one.check]
    for one in own:
        if one.white_box and not one.cell.control:
            yield from ((one.cell.key, flag) for flag in (_unbounded(one, trials), _longer(one, trials), _beaten(one, trials, names)) if flag)
    yield from _weaker_with_more(own)
    yield from _repeats(own)


def sorted_out(key: str, raised: Sequence[Flag], trials: Sequence[Trial]) -> list[Flag]:
    """The flags of one cell in their order; that it had not converged is no more than a note where twice the steps were tried and did nothing."""
    tried = [_idle(longer, one) for one in trials if one.cell.key == key for longer in trials if longer.check == "longer" and longer.of == key]
    if any(tried) and sum(flag.id == "R8" for flag in raised) == 1:
        raised = [Flag("R8", "note", f"{flag.detail} {tried[0]}") if flag.id == "R8" else flag for flag in raised]
    return sorted(raised, key=lambda flag: int(flag.id[1:]))


def _idle(longer: Trial, one: Trial) -> str:
    """What is to be said where twice the steps came to rest and broke no more of enough images that stood; empty where they did, or there were too few."""
    still = (one.fates == STANDS) & (longer.fates != ABSENT)
    if not longer.done or still.sum() < LEAST_STANDING or (longer.fates[still] == FELL).any():
        return ""
    return f"But twice the steps, which came to rest, broke none of {still.sum()} images that stood."


def _unbounded(one: Trial, trials: Sequence[Trial]) -> Flag | None:
    """R10: an attack without a budget breaks less than everything."""
    for free in (other for other in trials if other.check == "unbounded" and other.tried):
        standing = int((free.fates == STANDS).sum())
        if standing and (one.fates == STANDS).any():
            return Flag(
                "R10", "upper_bound",
                f"Without a budget the attack still fails on {of(standing, free.tried)}, where it may change everything: its gradients lead nowhere there, "
                "and what it cannot break within the budget may be no stronger. Attack with scores, decisions or a surrogate, and look for a masked gradient.",
            )  # fmt: skip
    return None


def _longer(one: Trial, trials: Sequence[Trial]) -> Flag | None:
    """R8: twice the steps break more."""
    for longer in (other for other in trials if other.check == "longer" and other.of == one.cell.key):
        more = change(longer, one)
        if more.more < SURE:
            return Flag(
                "R8", "upper_bound",
                f"With twice the steps {len(more.lost)} more of {more.n} images fall, and {more.won} fewer (exact McNemar p = {more.p:.2g}): the attack was not done. Give it more steps.",
            )  # fmt: skip
    return None


def _beaten(one: Trial, trials: Sequence[Trial], names: Sequence[str]) -> Flag | None:
    """R11: noise, scores, decisions or a surrogate break an image that gradients do not."""
    by: dict[str, NDArray[np.intp]] = {}
    for other in trials:
        if other is not one and not other.white_box and _inside(other.cell, one.cell):
            lost = change(other, one).lost
            if len(lost):
                by[_called(other)] = lost
    if not by:
        return None
    beaten = np.unique(np.concatenate(list(by.values())))
    weaker = "; ".join(f"{name} breaks {len(lost)} of them" for name, lost in by.items())
    return Flag(
        "R11", "upper_bound" if len(beaten) > FEW * one.tried else "note",
        f"Of {one.tried} images, {len(beaten)} that gradients did not break fell to less within the same budget {named([names[i] for i in beaten])}: {weaker}. "
        "Gradients are not the best way in here: trust the worst case over all attacks, not this one.",
    )  # fmt: skip


def _inside(weaker: Cell, cell: Cell) -> bool:
    """Whether a cell keeps the budget of another."""
    return weaker.norm is not None and weaker.norm == cell.norm and weaker.eps <= cell.eps * (1 + SAME)


def _called(one: Trial) -> str:
    if not one.check:
        return one.cell.label
    return {"twin": "what was made on the undefended target", "scores": "an attack on scores alone", "draws": "noise drawn again and again"}.get(one.check, one.check)


def _weaker_with_more(trials: Sequence[Trial]) -> Iterator[tuple[str, Flag]]:
    """R12: a larger radius or more steps do less, or one step does more than many."""
    pairs = [*_along(trials, "eps"), *_along(trials, "steps"), *_one_step_beside_many(trials)]
    changes = [change(less, more) for less, more, _ in pairs]
    for (_, more, what), found, p in zip(pairs, changes, holm([found.more for found in changes]) if changes else (), strict=True):
        if p < SURE:
            yield more.cell.key, Flag(
                "R12", "upper_bound",
                f"{what} breaks {len(found.lost)} images that this does not, and misses {found.won} that this breaks, of {found.n} (exact McNemar p = {p:.2g}, Holm): "
                "an attack with more at its disposal must not do less. Look at its step size and at the gradient.",
            )  # fmt: skip


def _along(trials: Sequence[Trial], name: str) -> Iterator[tuple[Trial, Trial, str]]:
    """Neighbours among cells that differ in one number only."""
    families: dict[str, list[Trial]] = {}
    for one in trials:
        if one.attack.needs > Access.NONE and isinstance(one.cell.params.get(name), (int, float)):
            rest = {key: value for key, value in one.cell.params.items() if key != name}
            families.setdefault(canonical([one.cell.kind, one.cell.goal, one.cell.repeat, rest]), []).append(one)
    for members in families.values():
        ordered = sorted(members, key=lambda one: one.cell.params[name])
        yield from ((less, more, f"The same with {name} {less.cell.params[name]:.4g}") for less, more in zip(ordered, ordered[1:], strict=False))


def _one_step_beside_many(trials: Sequence[Trial]) -> Iterator[tuple[Trial, Trial, str]]:
    single = [one for one in trials if one.white_box and one.attack.gradients() == 1]
    for one in single:
        for many in trials:
            if many.white_box and many.attack.gradients() > 1 and _inside(one.cell, many.cell) and math.isclose(one.cell.eps, many.cell.eps, rel_tol=SAME):
                yield one, many, f"One step ({one.cell.label})"


def _repeats(trials: Sequence[Trial]) -> Iterator[tuple[str, Flag]]:
    """R13: repeats of one attack disagree beyond chance."""
    families: dict[str, list[Trial]] = {}
    for one in trials:
        if one.attack.needs > Access.NONE:
            families.setdefault(canonical([one.cell.attack, one.cell.kind, one.cell.goal, one.cell.params]), []).append(one)
    for members in (members for members in families.values() if len(members) > 1):
        rates = [float((one.fates == FELL).sum() / max(one.tried, 1)) for one in members]
        pairs = [(a, b) for i, a in enumerate(members) for b in members[i + 1 :]]
        p = [change(a, b).p for a, b in pairs]
        if min(holm(p)) < SURE:
            detail = (
                f"{len(members)} repeats of this attack broke {min(rates):.0%} to {max(rates):.0%} of the images, more apart than chance allows (exact McNemar p = {min(holm(p)):.2g}, Holm): "
                "where it begins decides where it ends. Give it restarts, and count the worst of them for each image."
            )
            yield from ((one.cell.key, Flag("R13", "upper_bound", detail)) for one in members)
