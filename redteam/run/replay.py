"""Computes units of a run again, beside it: from its own scenario and lock, by the same workers, on the same micro-batches.

The thresholds, the clean answers and what attacks learned are the run's own, so that a row stands or falls by itself; a clean row is replayed
under its own name. Nothing is written into the run directory.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from redteam.record import Record
from redteam.run import opening
from redteam.run.child import Start
from redteam.run.coordinator import Coordinator, Progress
from redteam.run.cores import workers_for
from redteam.run.environment import check_device
from redteam.run.errors import Refused, WorkerFailed
from redteam.run.ledger import RunDir
from redteam.run.nursery import starting
from redteam.run.schedule import rests_on
from redteam.scenario.plan import Plan, Unit

SHORTEST = 8  # digits of a rid that may stand for it
LOGGED = 2000  # characters at the end of a lost log that are said
ALIKE = 0.75  # share of digits that a mistyped rid has in common with the one that was meant


@dataclass(frozen=True)
class Change:
    """One field of a row that is not what it was."""

    field: str
    before: Any
    after: Any


def find(run_dir: RunDir, plan: Plan, rid: str) -> tuple[Unit, Record]:
    """The finished row of that name, or of the only name that begins so, and its unit. Raises Refused."""
    if len(rid) < SHORTEST:
        raise Refused(f"{rid}: a rid must be given with at least {SHORTEST} of its 32 digits, got {len(rid)}; results.jsonl has it in full")
    known: list[str] = []
    found: list[tuple[Unit, Record]] = []
    for unit, line in _lines(run_dir, plan):
        name = line.partition('"rid":"')[2][:32]  # in canonical JSON nothing else reads so, whatever an image is called
        known.append(name)
        if name.startswith(rid):
            found.append((unit, Record.from_json(line)))
    if not found:
        raise Refused(f"{rid}: no finished row of {run_dir.path} has this rid; {_nearest(rid, known)}")
    if len(found) > 1:
        raise Refused(f"{rid}: begins the rid of {len(found)} rows ({', '.join(row.rid for _, row in found[:3])}{', ...' if len(found) > 3 else ''}); give more digits")
    return found[0]


def rows_of(run_dir: RunDir, unit: Unit) -> dict[str, Record]:
    """The finished rows of a unit by their rid; empty where it is not there."""
    return {row.rid: row for row in map(Record.from_json, run_dir.read_unit(unit.key) or ())}


def again(run_dir: RunDir, plan: Plan, units: Sequence[Unit], scratch: Path, *, report: Callable[[Progress], None] = lambda progress: None, start: Start | None = None) -> RunDir:
    """Compute units once more in an empty folder, every image kept as a file; the rows lie in the run directory that is returned. Raises Stop."""
    check_device(plan.options.device)
    beside = RunDir(scratch)
    beside.create()
    for path in (*run_dir.path.glob("*.yaml"), run_dir.path / opening.LOCK, *(run_dir.path / "artifacts").glob("state-*.safetensors")):
        shutil.copyfile(path, scratch / path.relative_to(run_dir.path))
    told = opening.told(run_dir)
    beside.write_json(opening.RUN, told | {"options": told["options"] | {"keep": True}})
    asked = {unit.key for unit in units}
    needed = dict.fromkeys(key for unit in units for key in rests_on(plan, unit) if key not in asked)
    for key in needed:
        if (rows := run_dir.read_unit(key)) is not None:
            beside.write_unit(key, rows)
    part = replace(plan, units=tuple(unit for unit in plan.units if unit.key in asked or unit.key in needed))
    with contextlib.nullcontext(start) if start else starting(beside) as begin:
        try:
            Coordinator(part, beside, report, begin, workers_for(part)).run()
        except WorkerFailed as failed:  # its log goes with the folder
            log = scratch / opening.LOG
            raise WorkerFailed(f"{failed}\n{log.read_text(errors='replace')[-LOGGED:] if log.is_file() else ''}") from failed
    return beside


def changes(before: Record, after: Record) -> list[Change]:
    """The fields in which two rows differ, by their dotted names; which images are kept as files is not a result."""
    return differences(*(vars(replace(row, artifacts={})) for row in (before, after)))


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Change]:
    """The entries in which two nested mappings differ.

    >>> differences({"torch": {"threads": 1}}, {"torch": {"threads": 2}})
    [Change(field='torch.threads', before=1, after=2)]
    """
    old, new = (dict(_flat("", value)) for value in (before, after))
    return [Change(name, old.get(name), new.get(name)) for name in dict.fromkeys((*old, *new)) if old.get(name) != new.get(name)]


def _flat(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flat(f"{name}.{key}" if name else key, inner)
    else:
        yield name, value


def _lines(run_dir: RunDir, plan: Plan) -> Iterator[tuple[Unit, str]]:
    for unit in plan.units:
        if unit.shard is not None:
            yield from ((unit, line) for line in run_dir.read_unit(unit.key) or ())


def _nearest(rid: str, known: Sequence[str]) -> str:
    """`did you mean ...?` where a digit or two were mistyped."""
    alike = [(sum(a == b for a, b in zip(rid, name, strict=False)), name) for name in known]
    most, name = max(alike, default=(0, ""))
    return f"did you mean {name}?" if most >= ALIKE * len(rid) else f"results.jsonl names its {len(known)} rows under rid"
