"""From finished units to results, summary and gates: checked against the plan, in plan order, a cell and its clean arm in memory at a time."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Any

from redteam.data.containers import survey_of
from redteam.protocols.detection_metrics import figures, scoreable
from redteam.protocols.worst_case import WorstCase
from redteam.record import Record
from redteam.run import gates
from redteam.run.ledger import RunDir, beside, storing
from redteam.scenario.matrix import PlannedCell
from redteam.scenario.plan import Plan
from redteam.seeding import derive_seed
from redteam.target import Access
from redteam.validity import flags as validity

Facts = dict[tuple[str, str], dict[str, Any]]  # (target, defense) -> what their preparation found


@dataclass(frozen=True)
class Closing:
    """How a run ended.

    summary, gates: what was written
    missing:        units that are not there
    lost:           rows without an outcome, of `rows`
    worst_cell:     label of the cell that lost most, where that is more than the scenario allows
    """

    summary: dict[str, Any]
    gates: dict[str, Any]
    missing: int
    lost: int
    rows: int
    worst_cell: str | None = None

    @property
    def over_budget(self) -> bool:
        """Whether a cell lost more images than the scenario allows."""
        return self.worst_cell is not None


def finalise(plan: Plan, run_dir: RunDir) -> Closing:
    """Write results.jsonl, summary.json and gates.json from the finished units; what is missing is said, never filled in."""
    facts = {place: json.loads(lines[0]) for place, unit in plan.preparations.items() if (lines := run_dir.read_unit(unit.key))}
    files = {name: survey_of(samples).sentence() for name, samples in plan.samples.items()}
    missing = len(plan.preparations) - len(facts)
    found: list[dict[str, Any]] = []
    worst: list[dict[str, Any]] = []
    with _Results(run_dir) as results:
        for _, numbers in groupby(range(len(plan.cells)), key=lambda number: _place(plan.cells[number])):
            square = _Square(plan, facts, files, _Units(run_dir, results.add))
            found += [square.cell(number) for number in numbers]
            worst += square.worst.rows()
            missing += square.units.missing
        results.keep()
    summary = _summary(plan, facts, missing) | {"cells": found, "worst_case": worst}
    summary |= {"rows": sum(cell["n"] for cell in found), "lost_rows": sum(cell["errors"] for cell in found), "data": list(_data(plan, found))}
    verdicts = {"schema": "redteam.gates/1", "gates": gates.judge(plan, summary)}
    run_dir.write_json("summary.json", summary)
    run_dir.write_json("gates.json", verdicts)
    return Closing(summary, verdicts, missing, summary["lost_rows"], summary["rows"], _over_budget(found, plan.scenario.limits.max_error_rate))


def _place(item: PlannedCell) -> tuple[str, str, str]:
    return item.cell.data, item.cell.target, item.cell.defense


def _over_budget(cells: Sequence[dict[str, Any]], most: float) -> str | None:
    share, cell = max(((cell["errors"] / cell["n"], cell) for cell in cells if cell["n"]), key=lambda pair: pair[0], default=(0.0, None))
    return f"{cell['errors']} of {cell['n']} rows of {cell['data']} {cell['target']} {cell['defense']}: {cell['label']}" if share > most else None


class _Results:
    """results.jsonl, written beside its name and renamed when it is whole."""

    def __init__(self, run_dir: RunDir) -> None:
        self._path = run_dir.results
        self._temporary = beside(self._path)

    def __enter__(self) -> _Results:
        with storing(self._path):
            self._file = open(self._temporary, "w", encoding="utf-8")  # noqa: SIM115 - closed by keep or __exit__
        return self

    def add(self, lines: Sequence[str]) -> None:
        """Some rows."""
        with storing(self._path):
            self._file.writelines(f"{line}\n" for line in lines)

    def keep(self) -> None:
        """Make it durable under its name."""
        with storing(self._path):
            self._file.flush()
            os.fsync(self._file.fileno())
            self._temporary.replace(self._path)

    def __exit__(self, *_: object) -> None:
        with storing(self._path):
            try:
                self._file.close()
            finally:
                self._temporary.unlink(missing_ok=True)


class _Units:
    """Reads the rows of cells, hands each on as it stands, and counts what is missing."""

    def __init__(self, run_dir: RunDir, add: Callable[[Sequence[str]], None]) -> None:
        self._dir, self._add = run_dir, add
        self.missing = 0

    def rows(self, plan: Plan, number: int) -> tuple[list[Record], int]:
        """The records of a cell as far as measures look at them, and how many are missing."""
        found: list[Record] = []
        absent = 0
        for unit in plan.units_of(number):
            lines = self._dir.read_unit(unit.key)
            if lines is None or len(lines) != plan.images_of(unit):
                self.missing += 1
                absent += plan.images_of(unit)
                continue
            self._add(lines)
            found += _measured(lines)
        return found, absent


def _measured(lines: Sequence[str]) -> Iterator[Record]:
    """Rows without what no measure looks at; parsed together, so that they share the names of their fields."""
    for row in json.loads(f"[{','.join(lines)}]"):
        yield Record(**row | {"sha256": None, "clean_rid": None, "artifacts": {}, "determinism": {}, "warnings": tuple(row["warnings"])})


class _Square:
    """The cells of one corpus, target and defense, judged against their clean arm, which comes first."""

    def __init__(self, plan: Plan, facts: Facts, files: Mapping[str, str | None], units: _Units) -> None:
        self._plan, self._facts, self._files, self.units = plan, facts, files, units
        self.worst = WorstCase()
        self._clean: list[Record] = []
        self._clean_metrics: dict[str, dict[str, float]] = {}

    def cell(self, number: int) -> dict[str, Any]:
        """The summary of one cell."""
        item, scenario = self._plan.cells[number], self._plan.scenario
        cell = item.cell
        rows, absent = self.units.rows(self._plan, number)
        found = figures(rows, derive_seed(scenario.seed, "metrics", cell.key))
        if cell.attack == "identity":
            self._clean, self._clean_metrics = rows, found.metrics
        view = validity.View(
            cell=cell, attack=item.attack, rows=rows, identity=self._clean, clean=self._clean_metrics, facts=self._facts.get((cell.target, cell.defense), {}),
            lossless=scenario.file.format == "png", groups=frozenset(row.group for row in rows), files=self._files[cell.data],
        )  # fmt: skip
        raised = validity.flags(view)
        if any(flag.id == "R19" for flag in raised):
            found.metrics.pop("auc", None)
            found.absent["auc"] = "the target gives decisions, not scores (R19)"
        self.worst.add(cell, rows)
        return {
            **_described(item), "n": len(rows), "missing": absent,
            "errors": sum(r.status != "ok" for r in rows), "unscoreable": sum(r.status == "ok" and not scoreable(r) for r in rows),
            "verdict": validity.verdict(raised, resolvable=found.resolvable), "flags": validity.as_json(raised),
            "metrics": found.metrics, "absent": found.absent, "by_group": found.by_group,
        }  # fmt: skip


def _described(item: PlannedCell) -> dict[str, Any]:
    attack = item.attack
    return asdict(item.cell) | {"key": item.cell.key, "label": item.cell.label, "controls": list(item.cell.controls), "family": attack.family, "source": attack.source, "needs": Access(attack.access()).word, "surrogates": list(attack.asked_instead()), "tier": attack.tier.value}


def _summary(plan: Plan, facts: Facts, missing: int) -> dict[str, Any]:
    """What stands above the cells."""
    scenario = plan.scenario
    return {
        "schema": "redteam.summary/1", "scenario": scenario.name, "seed": scenario.seed, "status": "incomplete" if missing else "complete",
        "missing_units": missing, "limits": asdict(scenario.limits),
        "file": {"format": scenario.file.format, "quality": scenario.file.quality},
        "targets": [_target(facts, entry) for entry in scenario.targets],
        "thresholds": list(_thresholds(facts)),
        "defenses": [{"id": e.id, "kind": e.kind, "backward": e.defense.backward, "params": e.defense.params()} for e in scenario.defenses],
    }  # fmt: skip


def _data(plan: Plan, cells: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for entry in plan.scenario.data["eval"]:
        samples = plan.samples[entry.id]
        fakes = sum(s.label for s in samples)
        yield {
            "id": entry.id, "kind": entry.kind, "n": len(samples), "label_1": fakes, "label_0": len(samples) - fakes, "groups": len({s.group for s in samples}),
            "per_group": any(cell["by_group"] for cell in cells if cell["data"] == entry.id),
        }  # fmt: skip


def _target(facts: Facts, entry: Any) -> dict[str, Any]:
    notes, access = [], entry.spec.gives().word
    for (target, _), found in facts.items():
        if target == entry.id:
            notes += [note for note in [*found.get("notes", ()), found.get("error")] if note and note not in notes]
            access = found.get("access", access)
    return {"id": entry.id, "kind": entry.kind, "access": access, "reference": bool(entry.spec.reference_model), "notes": notes}


def _thresholds(facts: Facts) -> Iterator[dict[str, Any]]:
    for (target, defense), found in facts.items():
        if "error" not in found:
            yield {"target": target, "defense": defense, "value": found["threshold"], "how": found["how"], "negatives": found["negatives"], "at_fpr": found.get("at_fpr")}
