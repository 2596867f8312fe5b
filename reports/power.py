"""What so many images can show at all, in words beside the figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from redteam.measure.power import half_width, least_difference
from redteam.measure.statistics import FEWEST_GROUPS
from redteam.reports import wording
from redteam.reports.wording import SPACE, number

Json = Mapping[str, Any]


def power_note(summary: Json, data: str, cells: Sequence[Json]) -> str:
    """One sentence on a corpus: how wide its intervals are at worst, and what difference it takes to be noticed; empty where it carries no interval."""
    corpus = next((entry for entry in summary["data"] if entry.get("id") == data), {})
    fakes = max((_n(cell, "attack_success_rate") for cell in cells), default=0)
    both = max((_n(cell, "robust_accuracy") for cell in cells), default=0)
    sources = int(number(corpus.get("groups")) or both)
    pairs = min(both, sources)
    if pairs < FEWEST_GROUPS:
        return ""
    width = f"a share of the {fakes} fakes is known to ±{_points(half_width(min(fakes, sources)))} at worst" if fakes >= FEWEST_GROUPS else f"a share is known to ±{_points(half_width(pairs))} at worst"
    least = least_difference(pairs)
    shared = f", which come from {sources} sources," if sources < both else ""
    return (
        f"What {both} images{shared} can show: {width}; and two attacks or two targets are told apart in 4 of 5 cases only where their answers differ on {wording.percent(least or 1.0)} "
        "of the images or more, all in one direction. A smaller difference may well be there."
    )


def _n(cell: Json, metric: str) -> int:
    figure = (cell.get("metrics") or {}).get(metric)
    return int(number(figure.get("n")) or 0) if isinstance(figure, Mapping) else 0


def _points(share: float) -> str:
    """A half-width in percentage points, rounded up.

    >>> _points(0.1484)
    '15\\xa0points'
    """
    return f"{int(-(-100 * share // 1))}{SPACE}points"
