"""The cells of one corpus, target and defense as the summary holds them: figures, flags, verdicts, and what the sentinels found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol

import numpy as np

from redteam.protocols.detection_metrics import Figures, figures, scoreable
from redteam.protocols.worst_case import WorstCase
from redteam.record import Record
from redteam.scenario.matrix import PlannedCell
from redteam.scenario.plan import Plan
from redteam.seeding import derive_seed
from redteam.target import Access
from redteam.validity import flags as validity
from redteam.validity.siblings import FELL, Trial, change, compared, sorted_out, trial


class Units(Protocol):
    """What the units of a run say of a cell, by its number."""

    def rows(self, number: int) -> tuple[list[Record], int]:
        """Its records, and how many are missing."""

    def findings(self, number: int) -> dict[str, Any]:
        """What its attack found while it learned, where that is told."""


@dataclass
class Draft:
    """A cell before it has been compared with the others.

    rows:   how many records
    counts: what the summary says of them
    """

    item: PlannedCell
    rows: int
    counts: dict[str, Any]
    found: Figures
    raised: list[validity.Flag]


class Square:
    """The cells of one corpus, target and defense, judged against their clean arm, which comes first, and then against each other.

    worst: the worst cases over them
    spent: gradients and queries of all of them, and those of the sentinels alone
    """

    def __init__(self, plan: Plan, facts: Mapping[str, Any], files: str | None, units: Units) -> None:
        self._plan, self._facts, self._files, self._units = plan, facts, files, units
        self._adaptive = {entry.id for entry in plan.scenario.attacks if entry.adaptive}
        self.worst = WorstCase()
        self.spent = dict.fromkeys(("gradients", "queries", "sentinel_gradients", "sentinel_queries"), 0)
        self._clean: list[Record] = []
        self._clean_metrics: dict[str, dict[str, float]] = {}
        self._places: dict[str, int] = {}
        self._codes = np.empty(0, np.intp)
        self._trials: list[Trial] = []

    def judged(self, numbers: Sequence[int]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """The summaries of the cells, and those of the sentinels."""
        drafts = [self._draft(number) for number in numbers]
        further: dict[str, list[validity.Flag]] = {}
        for key, flag in compared(self._trials, list(self._places)):
            further.setdefault(key, []).append(flag)
        cells = [self._finished(draft, further.get(draft.item.cell.key, [])) for draft in drafts if draft.item.check is None]
        return cells, [self._sentinel(draft) for draft in drafts if draft.item.check is not None]

    def _draft(self, number: int) -> Draft:
        item, scenario, (rows, absent) = self._plan.cells[number], self._plan.scenario, self._units.rows(number)
        cell = item.cell
        found = figures(_observations(item, rows), derive_seed(scenario.seed, "metrics", cell.key))
        if cell.attack == "identity":
            self._begin(rows, found)
        view = validity.View(
            cell=cell, attack=item.attack, rows=rows, identity=self._clean, clean=self._clean_metrics, facts=self._facts,
            lossless=scenario.file.format == "png", groups=frozenset(row.group for row in rows), files=self._files, metrics=found.metrics,
        )  # fmt: skip
        raised = validity.flags(view)
        if any(flag.id == "R19" for flag in raised):
            found.metrics.pop("auc", None)
            found.absent["auc"] = "the target gives decisions, not scores (R19)"
        if not item.attack.one_picture:
            self.worst.add(cell, rows)
        spent = self._book(rows, sentinel=item.check is not None)
        if cell.attack != "identity":
            self._trials.append(trial(view, self._places, self._codes, *((item.check.name, item.check.of) if item.check else ())))
        counts = {**self._units.findings(number), "missing": absent, "errors": sum(r.status != "ok" for r in rows), "unscoreable": sum(r.status == "ok" and not scoreable(r) for r in rows)}
        if item.check:
            counts |= {"spent": spent, "fooled": sum(row.trace.get("surrogate_best", 0.0) < 0 for row in view.tried)}
        return Draft(item, len(rows), counts, found, raised)

    def _begin(self, rows: list[Record], found: Figures) -> None:
        self._clean, self._clean_metrics = rows, found.metrics
        self._places = {row.id: i for i, row in enumerate(rows)}
        self._codes = np.unique([row.group for row in rows], return_inverse=True)[1] if rows else self._codes

    def _book(self, rows: Sequence[Record], *, sentinel: bool) -> dict[str, int]:
        """What was asked for these images, of surrogates too; added to what the square has spent."""
        spent = {what: sum(row.cost.get(own, 0) + row.cost.get(f"surrogate_{own}", 0) for row in rows) for what, own in (("gradients", "backwards"), ("queries", "queries"))}
        for what, amount in spent.items():
            self.spent[what] += amount
            self.spent[f"sentinel_{what}"] += amount if sentinel else 0
        return spent

    def _finished(self, draft: Draft, further: Sequence[validity.Flag]) -> dict[str, Any]:
        raised = sorted_out(draft.item.cell.key, [*draft.raised, *further], self._trials)
        return {
            **_described(draft.item), "adaptive": draft.item.cell.attack in self._adaptive, "n": draft.rows, **draft.counts,
            "verdict": validity.verdict(raised, resolvable=draft.found.resolvable), "flags": validity.as_json(raised),
            "metrics": draft.found.metrics, "absent": draft.found.absent, "by_group": draft.found.by_group,
        }  # fmt: skip

    def _sentinel(self, draft: Draft) -> dict[str, Any]:
        """What a sentinel did, beside what the cell that it checks did to the same images."""
        check = draft.item.check
        own = next(one for one in self._trials if one.cell.key == draft.item.cell.key)
        checked = next((one for one in self._trials if one.cell.key == check.of), None)
        beside = {"of_label": "", "of_fell": None, "beyond": None}
        if checked:
            beside = {"of_label": checked.cell.label, "of_fell": int(((checked.fates == FELL) & (own.fates >= 0)).sum()), "beyond": len(change(own, checked).lost)}
        fell = {"tried": own.tried, "fell": int((own.fates == FELL).sum())}
        return {**_described(draft.item), "check": check.name, "of": check.of, **beside, "n": draft.rows, **draft.counts, **fell, "flags": validity.as_json([flag for flag in draft.raised if flag.severity == "invalid"])}


def _observations(item: PlannedCell, rows: list[Record]) -> list[Record]:
    """The rows in groups of what depends on each other: where every image became its class's picture, each class is one group."""
    return [replace(row, group=f"the picture for label {row.label}") for row in rows] if item.attack.one_picture else rows


def _described(item: PlannedCell) -> dict[str, Any]:
    attack = item.attack
    return asdict(item.cell) | {
        "key": item.cell.key, "label": item.cell.label, "controls": list(item.cell.controls), "family": attack.family, "source": attack.source, "needs": Access(attack.access()).word,
        "surrogates": list(attack.asked_instead()), "resamples": attack.resamples, "tier": attack.tier.value,
        **({"arm": attack.arm} if item.cell.attack == "noise" else {}),
        **({"distance_norm": attack.norm} if hasattr(attack, "norm") and item.cell.norm is None else {}),
    }  # fmt: skip


def total(spent: Iterator[Mapping[str, int]]) -> dict[str, int]:
    """What all squares spent.

    >>> total(iter([{"gradients": 1}, {"gradients": 2}]))
    {'gradients': 3}
    """
    found: dict[str, int] = {}
    for one in spent:
        found = {name: found.get(name, 0) + amount for name, amount in one.items()}
    return found
