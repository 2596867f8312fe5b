"""Figures group by group, for corpora with too few groups to carry an interval over all of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from redteam.reports import tables, wording
from redteam.reports.wording import number

SHOWN = ("attack_success_rate", "frame_rate", "robust_accuracy", "auc")
MOST = 12  # groups of one table; more would not fit a page, and ten of them carry an interval anyway

Json = Mapping[str, Any]


@dataclass(frozen=True)
class GroupTable:
    """One metric of one corpus, target and defense, where it has no figure over all groups; a column for each group.

    left_out: groups beyond those shown; summary.json has them all
    rows:     (key of the cell, its name, one figure for each group)
    """

    data: str
    target: str
    defense: str
    metric: str
    groups: tuple[str, ...]
    left_out: int
    rows: tuple[tuple[str, str, tuple[str, ...]], ...]


def group_tables(summary: Json) -> list[GroupTable]:
    """A table for each block and metric that has figures by group and none over all groups."""
    found = (_table(key, cells, metric) for key, cells in tables.grouped(summary).items() for metric in SHOWN)
    return [table for table in found if table is not None]


def _table(key: tables.Key, cells: list[Json], metric: str) -> GroupTable | None:
    apart = [cell for cell in cells if tables.value_of(cell, metric) is None and _groups(cell, metric)]
    if not any(not cell.get("control") for cell in apart):
        return None
    groups = list(dict.fromkeys(group for cell in apart for group in _groups(cell, metric)))
    ordered = sorted(apart, key=lambda cell: bool(cell.get("control")))  # attacks first, each in its order
    rows = tuple((str(cell.get("key", "")), wording.attack_name(cell), tuple(_figure(cell, group, metric) for group in groups[:MOST])) for cell in ordered)
    return GroupTable(*key, metric, tuple(groups[:MOST]), len(groups[MOST:]), rows)


def _groups(cell: Json, metric: str) -> list[str]:
    """The groups in which a cell has the metric."""
    return [group for group, figures in (cell.get("by_group") or {}).items() if metric in (figures or {})]


def _figure(cell: Json, group: str, metric: str) -> str:
    """A rate as a count of its images, since a handful of them carries no percentage; a dash where there is none."""
    entry = (cell["by_group"].get(group) or {}).get(metric)
    value, n = (number(entry.get("value")), number(entry.get("n"))) if isinstance(entry, Mapping) else (None, None)
    if value is None:
        return wording.DASH
    if n is None or metric in wording.DECIMAL_SHARES:
        return wording.figure(metric, value, n)
    return f"{value * n:.0f} of {n:.0f}"
