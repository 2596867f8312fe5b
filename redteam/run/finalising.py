"""From finished units to results, summary and gates: checked against the plan, in plan order, one cell in memory at a time."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from redteam.protocols.detection_metrics import Figures, figures, scoreable
from redteam.protocols.worst_case import WorstCase
from redteam.record import Cell, Record
from redteam.run import gates
from redteam.run.ledger import RunDir, storing
from redteam.scenario.matrix import PlannedCell
from redteam.scenario.plan import Plan, Unit
from redteam.seeding import derive_seed
from redteam.target import Access
from redteam.validity import flags as validity

Place = tuple[str, str, str]  # data, target, defense


@dataclass(frozen=True)
class Closing:
    """How a run ended.

    summary, gates: what was written
    missing:        units that are not there
    lost:           rows without an outcome, of `rows`
    """

    summary: dict[str, Any]
    gates: dict[str, Any]
    missing: int
    lost: int
    rows: int

    @property
    def over_budget(self) -> bool:
        """Whether more images were lost than the scenario allows."""
        return self.lost > self.summary["limits"]["max_error_rate"] * max(1, self.rows)


@dataclass
class Clean:
    """The clean arm of one place in the matrix, kept while its cells are judged."""

    rows: list[Record]
    figures: Figures


def finalise(plan: Plan, run_dir: RunDir) -> Closing:
    """Write results.jsonl, summary.json and gates.json from the finished units; what is missing is said, never filled in."""
    missing = 0
    lost = total = 0
    worst, clean, cells = WorstCase(), {}, []
    with _Results(run_dir) as results:
        for number, item in enumerate(plan.cells):
            units = [unit for unit in plan.units if unit.cell == number]
            rows, absent = _read(run_dir, units, results.add)
            missing += absent
            lost += sum(row.status != "ok" for row in rows)
            total += len(rows)
            cells.append(_cell(plan, run_dir, item, rows, clean))
            worst.add(item.cell, rows)
        missing += sum(run_dir.read_unit(unit.key) is None for unit in plan.units if unit.cell is None)
        results.keep()
    summary = _summary(plan, run_dir, cells, list(worst.rows()), missing, lost, total)
    verdicts = {"schema": "redteam.gates/1", "gates": gates.judge(plan, summary)}
    run_dir.write_json("summary.json", summary)
    run_dir.write_json("gates.json", verdicts)
    return Closing(summary, verdicts, missing, lost, total)


class _Results:
    """results.jsonl, written beside its name and renamed when it is whole."""

    def __init__(self, run_dir: RunDir) -> None:
        self._path = run_dir.results
        self._temporary = self._path.with_name(".results.jsonl.tmp")

    def __enter__(self) -> _Results:
        with storing(self._path):
            self._file = open(self._temporary, "w", encoding="utf-8")  # noqa: SIM115 - closed by keep or __exit__
        return self

    def add(self, line: str) -> None:
        """One row."""
        with storing(self._path):
            self._file.write(line + "\n")

    def keep(self) -> None:
        """Make it durable under its name."""
        with storing(self._path):
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            self._temporary.replace(self._path)

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._temporary.unlink(missing_ok=True)


def _read(run_dir: RunDir, units: Sequence[Unit], add: Callable[[str], None]) -> tuple[list[Record], int]:
    found: list[Record] = []
    absent = 0
    for unit in units:
        lines = run_dir.read_unit(unit.key)
        if lines is None or len(lines) != sum(len(batch) for batch in unit.batches):
            absent += 1
            continue
        for line in lines:
            add(line)
            found.append(Record.from_json(line))
    return found, absent


def _cell(plan: Plan, run_dir: RunDir, item: PlannedCell, rows: list[Record], clean: dict[Place, Clean]) -> dict[str, Any]:
    cell = item.cell
    place = (cell.data, cell.target, cell.defense)
    found = figures(rows, derive_seed(plan.scenario.seed, "metrics", cell.key))
    if cell.attack == "identity":
        clean[place] = Clean(rows, found)
    arm = clean.get(place, Clean([], Figures()))
    view = validity.View(
        cell=cell, attack=item.attack, rows=rows, identity=arm.rows, clean=arm.figures.metrics, facts=_facts(plan, run_dir, cell),
        lossless=plan.scenario.file.format == "png", groups=frozenset(row.group for row in rows),
    )  # fmt: skip
    raised = validity.flags(view)
    if any(flag.id == "R19" for flag in raised):
        found.metrics.pop("auc", None)
        found.absent["auc"] = "the target gives decisions, not scores (R19)"
    return {
        **_described(item),
        "n": len(rows), "errors": sum(r.status != "ok" for r in rows), "unscoreable": sum(r.status == "ok" and not scoreable(r) for r in rows),
        "verdict": validity.verdict(raised, resolvable=not found.by_group and bool(found.metrics)), "flags": validity.as_json(raised),
        "metrics": found.metrics, "absent": found.absent, "by_group": found.by_group,
    }  # fmt: skip


def _described(item: PlannedCell) -> dict[str, Any]:
    cell, attack = asdict(item.cell), item.attack
    return cell | {"key": item.cell.key, "label": item.cell.label, "controls": list(item.cell.controls), "family": attack.family, "source": attack.source, "needs": Access(attack.needs).word, "tier": attack.tier.value}


def _facts(plan: Plan, run_dir: RunDir, cell: Cell) -> dict[str, Any]:
    unit = next(unit for unit in plan.units if unit.cell is None and (unit.target, unit.defense) == (cell.target, cell.defense))
    lines = run_dir.read_unit(unit.key)
    return json.loads(lines[0]) if lines else {}


def _summary(plan: Plan, run_dir: RunDir, cells: list[dict[str, Any]], worst: list[dict[str, Any]], missing: int, lost: int, rows: int) -> dict[str, Any]:
    scenario = plan.scenario
    return {
        "schema": "redteam.summary/1", "scenario": scenario.name, "seed": scenario.seed, "status": "incomplete" if missing else "complete",
        "missing_units": missing, "rows": rows, "lost_rows": lost, "limits": asdict(scenario.limits),
        "file": {"format": scenario.file.format, "quality": scenario.file.quality},
        "data": list(_data(plan, cells)),
        "targets": [_target(plan, run_dir, entry) for entry in scenario.targets],
        "thresholds": list(_thresholds(plan, run_dir)),
        "defenses": [{"id": e.id, "kind": e.kind, "backward": e.defense.backward, "params": e.defense.params()} for e in scenario.defenses],
        "cells": cells, "worst_case": worst,
    }  # fmt: skip


def _data(plan: Plan, cells: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for entry in plan.scenario.data["eval"]:
        samples = plan.samples[entry.id]
        fakes = sum(s.label for s in samples)
        yield {
            "id": entry.id, "kind": entry.kind, "n": len(samples), "label_1": fakes, "label_0": len(samples) - fakes, "groups": len({s.group for s in samples}),
            "per_group": any(cell["by_group"] for cell in cells if cell["data"] == entry.id),
        }  # fmt: skip


def _prepared(plan: Plan, run_dir: RunDir) -> Iterable[tuple[Unit, dict[str, Any]]]:
    for unit in plan.units:
        if unit.cell is None and (lines := run_dir.read_unit(unit.key)):
            yield unit, json.loads(lines[0])


def _target(plan: Plan, run_dir: RunDir, entry: Any) -> dict[str, Any]:
    notes, access = [], entry.spec.gives().word
    for unit, facts in _prepared(plan, run_dir):
        if unit.target == entry.id:
            notes += [note for note in [*facts.get("notes", ()), facts.get("error")] if note and note not in notes]
            access = facts.get("access", access)
    return {"id": entry.id, "kind": entry.kind, "access": access, "reference": bool(entry.spec.reference_model), "notes": notes}


def _thresholds(plan: Plan, run_dir: RunDir) -> Iterator[dict[str, Any]]:
    for unit, facts in _prepared(plan, run_dir):
        if "error" not in facts:
            yield {"target": unit.target, "defense": unit.defense, "value": facts["threshold"], "how": facts["how"], "negatives": facts["negatives"], "at_fpr": facts.get("at_fpr")}
