"""The worst case per image: the mean over images of the minimum over attacks within a budget, never the minimum of means."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from redteam.measure.statistics import Unresolvable, clustered_rate
from redteam.protocols.detection_metrics import as_json, scoreable
from redteam.record import Cell, Record


@dataclass(frozen=True)
class Fate:
    """How one image fared without an attack."""

    label: int
    group: str
    attackable: bool
    right: bool


class WorstCase:
    """Collects records cell by cell and gives one row for each target, defense, goal, norm and budget."""

    def __init__(self) -> None:
        self._cells: dict[tuple[str, str, str, str], list[tuple[Cell, list[tuple[str, bool]]]]] = {}
        self._clean: dict[tuple[str, str, str], dict[str, Fate]] = {}

    def add(self, cell: Cell, rows: Iterable[Record]) -> None:
        """The records of one cell; its identity cell must have been added before. Controls other than identity are left out."""
        place = (cell.data, cell.target, cell.defense)
        if cell.attack == "identity":
            self._clean[place] = {r.id: Fate(r.label, r.group, r.outcome["attackable"], r.outcome["decision"] == r.label) for r in rows if scoreable(r)}
        elif not cell.control:
            kept = [(row.id, bool(row.outcome["success"])) for row in rows if scoreable(row) and row.valid]
            self._cells.setdefault((*place, cell.goal), []).append((cell, kept))

    def rows(self) -> Iterator[dict[str, Any]]:
        """The rows, budgets rising; distortions without a budget form a row of their own, with norm `unbounded`."""
        for (data, target, defense, goal), entries in self._cells.items():
            clean = self._clean.get((data, target, defense), {})
            for norm, eps in _budgets(entries):
                within = [(cell, rows) for cell, rows in entries if cell.norm == norm and (norm is None or cell.eps <= eps * (1 + 1e-9))]
                yield {
                    "data": data, "target": target, "defense": defense, "goal": goal, "norm": norm or "unbounded", "eps": eps,
                    "attacks": [cell.label for cell, _ in within], **_figures(clean, within),
                }  # fmt: skip


def _budgets(entries: Sequence[tuple[Cell, Any]]) -> list[tuple[str | None, float | None]]:
    found = {(cell.norm, cell.eps) for cell, _ in entries}
    return sorted(found, key=lambda budget: (budget[0] is None, budget[0] or "", budget[1] or 0.0))


def _figures(clean: dict[str, Fate], within: Sequence[tuple[Cell, list[tuple[str, bool]]]]) -> dict[str, Any]:
    fell: dict[str, bool] = {}
    for _, rows in within:
        for name, success in rows:
            fell[name] = fell.get(name, False) or success
    fates = [(fate, fell[name]) for name, fate in clean.items() if name in fell]
    metrics, absent = {}, {}
    for name, hits in {
        "robust_accuracy": [(fate.right and not down, fate.group) for fate, down in fates],
        "attack_success_rate": [(down, fate.group) for fate, down in fates if fate.label == 1 and fate.attackable],
        "frame_rate": [(down, fate.group) for fate, down in fates if fate.label == 0 and fate.attackable],
    }.items():
        try:
            metrics[name] = as_json(clustered_rate([float(hit) for hit, _ in hits], [group for _, group in hits]) if hits else _nothing())
        except Unresolvable as error:
            absent[name] = error.reason
    return {"metrics": metrics, "absent": absent}


def _nothing() -> Any:
    raise Unresolvable("no image of that label was judged rightly when clean")
