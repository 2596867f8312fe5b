"""Seeds as repeats: how far the figures of one attack lie apart when it runs again with other randomness, and what all repeats do together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, stdev
from typing import Any

from redteam.measure.statistics import Unresolvable, clustered_rate
from redteam.reports import tables, wording
from redteam.reports.directory import RunDirectory
from redteam.reports.rows import Answer
from redteam.reports.tables import BARS, value_of
from redteam.reports.wording import SPACE

LABELS = {"attack_success_rate": 1, "frame_rate": 0}

Json = Mapping[str, Any]


@dataclass(frozen=True)
class Spread:
    """One figure of one attack over its repeats.

    attack:  in words
    metric:  its name
    each:    the figure of each repeat
    spread:  mean and standard deviation over the repeats, and the range
    together: the share that at least one repeat reached, with its interval
    """

    data: str
    target: str
    defense: str
    attack: str
    metric: str
    each: tuple[str, ...]
    spread: str
    together: str


def spreads(run: RunDirectory) -> list[Spread]:
    """Every attack that ran more than once, in the order of the summary."""
    return [spread for key, cells in tables.grouped(run.summary).items() for spread in _of_block(key, cells, run)]


def _of_block(key: tables.Key, cells: Sequence[Json], run: RunDirectory) -> Iterator[Spread]:
    families: dict[tuple[Any, ...], list[Json]] = {}
    for cell in cells:
        if not cell.get("control"):
            families.setdefault((cell["attack"], cell.get("goal"), tuple(sorted((cell.get("strength") or {}).items()))), []).append(cell)
    for members in (members for members in families.values() if len(members) > 1):
        yield from (_spread(key, members, metric, run) for metric in BARS if all(value_of(cell, metric) is not None for cell in members))


def _spread(key: tables.Key, members: Sequence[Json], metric: str, run: RunDirectory) -> Spread:
    values = [value_of(cell, metric) or 0.0 for cell in members]
    n = members[0]["metrics"][metric].get("n")
    said = f"{wording.percent(mean(values), n)} on average, standard deviation {100 * stdev(values):.1f}{SPACE}points, {wording.percent(min(values), n)} to {wording.percent(max(values), n)}"
    answers = [run.rows.answers.get(str(cell.get("key")), []) for cell in members]
    return Spread(*key, wording.attack_name({**members[0], "repeat": 0}), metric, tuple(wording.percent(value, n) for value in values), said, _together(answers, LABELS[metric]))


def _together(repeats: Sequence[Sequence[Answer]], label: int) -> str:
    """The share of images that fell in some repeat."""
    fell: dict[str, tuple[bool, str]] = {}
    for answer in (answer for answers in repeats for answer in answers if answer.label == label and answer.attackable and answer.kept):
        fell[answer.id] = (fell.get(answer.id, (False, ""))[0] or answer.success, answer.group)
    try:
        found = clustered_rate([float(hit) for hit, _ in fell.values()], [group for _, group in fell.values()]) if fell else None
    except Unresolvable as error:
        return error.reason
    return wording.DASH if found is None else f"{wording.percent(found.value, found.n)} {wording.interval('tpr', found.low, found.high, found.n)}"
