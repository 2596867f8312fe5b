"""Attacks beside attacks, and targets beside targets, on the same images of one run: what is more than chance."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from redteam.measure.paired import Difference, paired_rates
from redteam.measure.statistics import Unresolvable, holm
from redteam.reports import tables, wording
from redteam.reports.directory import RunDirectory
from redteam.reports.rows import Answer
from redteam.reports.tables import value_of
from redteam.reports.wording import SPACE, number

ALPHA = 0.05
METRIC = "robust_accuracy"

Json = Mapping[str, Any]


@dataclass(frozen=True)
class Pair:
    """Two cells on the same images: how much accuracy each leaves.

    place:      what both have in common, in words
    first, second: what they are called
    left:       accuracy under the first and under the second
    difference: second - first, in percentage points, with its interval
    p:          exact McNemar, corrected over all pairs of the report
    told:       which one leaves less, or that it cannot be told
    """

    place: str
    first: str
    second: str
    n: int
    left: tuple[str, str]
    difference: str
    p: str
    told: str


@dataclass(frozen=True)
class Versus:
    """All pairs of a report: attacks within one budget, each beside the most harmful, and targets and defenses, each beside the first."""

    attacks: tuple[Pair, ...]
    targets: tuple[Pair, ...]

    def __bool__(self) -> bool:
        return bool(self.attacks or self.targets)


@dataclass(frozen=True)
class _Asked:
    """A pair before it is measured; `target` says whether targets are compared, `shown` whether it is printed or only counted by the correction."""

    place: str
    names: tuple[str, str]
    cells: tuple[Json, Json]
    target: bool
    shown: bool = True


def versus(run: RunDirectory) -> Versus:
    """The comparisons that the records of a run allow."""
    asked = [*_attacks(run.summary), *_targets(run.summary)]
    measured = [(one, found) for one in asked if (found := _measured(one, run)) is not None]
    adjusted = holm([found.p for _, found in measured]) if measured else ()
    pairs = [(one.target, _pair(one, replace(found, p=float(p)))) for (one, found), p in zip(measured, adjusted, strict=True) if one.shown]
    return Versus(tuple(pair for target, pair in pairs if not target), tuple(pair for target, pair in pairs if target))


def _attacks(summary: Json) -> Iterator[_Asked]:
    """In each block and budget the most harmful attack beside each other one, and for the correction all others beside each other."""
    for key, cells in tables.grouped(summary).items():
        families: dict[tuple[Any, ...], list[Json]] = {}
        for cell in cells:
            if _counts(cell):
                families.setdefault((cell.get("goal"), cell.get("norm"), cell.get("eps")), []).append(cell)
        for (_, norm, eps), members in families.items():
            top = min(members, key=lambda cell: value_of(cell, METRIC) or 0.0)
            place = f"{' / '.join(map(wording.plain, key))}, {_budget(norm, eps)}"
            ordered = [top, *(cell for cell in members if cell is not top)]
            for first, second in itertools.combinations(ordered, 2):  # all are counted, since the top was chosen on these images
                yield _Asked(place, (wording.attack_name(first), wording.attack_name(second)), (first, second), False, first is top)


def _budget(norm: object, eps: object) -> str:
    radius = number(eps)
    return "no budget" if norm is None or radius is None else f"{wording.norm_name(norm)}{SPACE}≤{SPACE}{wording.radius(radius, str(norm))}"


def _targets(summary: Json) -> Iterator[_Asked]:
    """Each attack, and the unchanged images, under the first target and defense beside every other one of the same corpus."""
    families: dict[tuple[Any, ...], list[Json]] = {}
    for cell in summary["cells"]:
        if _counts(cell) or cell["attack"] == "identity" and value_of(cell, METRIC) is not None:
            strength = tuple(sorted((cell.get("strength") or {}).items()))
            families.setdefault((cell["data"], cell["attack"], cell.get("goal"), strength, cell.get("repeat", 0)), []).append(cell)
    for (data, *_), members in families.items():
        first = members[0]
        called = "unchanged images" if first["attack"] == "identity" else wording.attack_name(first)
        for other in members[1:]:
            if (other["target"], other["defense"]) != (first["target"], first["defense"]):
                yield _Asked(f"{wording.plain(data)}, {called}", (_target(first), _target(other)), (first, other), True)


def _target(cell: Json) -> str:
    return f"{wording.plain(cell['target'])} / {wording.plain(cell['defense'])}"


def _counts(cell: Json) -> bool:
    return not cell.get("control") and cell.get("verdict") != "invalid" and not cell.get("repeat") and value_of(cell, METRIC) is not None


def _measured(one: _Asked, run: RunDirectory) -> Difference | None:
    """None where the two share too few images."""
    first, second = ({answer.id: answer for answer in run.rows.answers.get(str(cell.get("key")), ())} for cell in one.cells)
    names = [name for name in first if name in second]
    try:
        return paired_rates([_right(first[name]) for name in names], [_right(second[name]) for name in names], [first[name].group for name in names]) if names else None
    except Unresolvable:
        return None


def _right(answer: Answer) -> int:
    return int(answer.decision == answer.label)


def _pair(one: _Asked, found: Difference) -> Pair:
    sure = found.p < ALPHA
    less = one.names[0] if found.value > 0 else one.names[1]
    told = f"{less} leaves less" if sure else "cannot be told apart"
    left = (wording.percent(found.first, found.n), wording.percent(found.second, found.n))
    return Pair(one.place, *one.names, found.n, left, points(found.value, found.low, found.high), p_value(found.p), told)


def points(value: float, low: float, high: float) -> str:
    """A difference of shares in percentage points, with its interval.

    >>> points(-0.2, -0.353, -0.031)
    '-20 [-35, -3]'
    """
    return f"{100 * value:+.0f} [{100 * low:+.0f}, {100 * high:+.0f}]"


def p_value(p: float) -> str:
    """A p value as a person reads it.

    >>> p_value(0.0312), p_value(1e-9)
    ('0.031', '<0.001')
    """
    return "<0.001" if p < 0.001 else f"{p:.2g}"

