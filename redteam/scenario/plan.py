"""A scenario becomes cells, units and a lock: all that will be computed, decided before anything is.

A unit is one cell on one shard of images. Its key hashes everything that its bytes depend on, so a finished unit is found again by name and a
changed input can never be mistaken for it.
"""

from __future__ import annotations

import fnmatch
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any

import torch

import redteam
from redteam.data.corpus import Sample
from redteam.objective import GOALS
from redteam.record import SCHEMA, Cell
from redteam.scenario.matrix import PlannedCell, cells
from redteam.scenario.model import DataEntry, Scenario
from redteam.seeding import digest

SHARD = 64  # images a unit: small enough to lose little, large enough that files are few
MICRO_BATCH = 16
PIXELS = 512 * 512  # of one image; larger ones make batches and shards smaller by as much


@dataclass(frozen=True)
class Options:
    """What the command line adds to a scenario; kept with the run, so that a resumed run is the same run.

    limit:       at most so many evaluation images of each corpus
    only:        glob over data/target/defense/attack or the attack alone; control arms always run
    micro_batch: images that are scored and attacked together
    device:      where targets live
    """

    limit: int | None = None
    only: str | None = None
    micro_batch: int = MICRO_BATCH
    device: str = "cpu"


@dataclass(frozen=True)
class Shard:
    """Images of one corpus that are read together, in micro-batches of one size each."""

    data: str
    index: int
    batches: tuple[tuple[Sample, ...], ...]


@dataclass(frozen=True)
class Unit:
    """One file of results: a cell on a shard, or (without a shard) the preparation of one target behind one defense."""

    key: str
    target: str
    defense: str
    cell: int | None = None
    shard: Shard | None = None

    @property
    def batches(self) -> tuple[tuple[Sample, ...], ...]:
        """The micro-batches whose images get a record."""
        return self.shard.batches if self.shard else ()


@dataclass(frozen=True)
class Plan:
    """Everything that a run will compute.

    cells: in the order of the results
    units: in the order of the results; preparations first
    lock:  what the bytes depend on; a resumed run must find the same
    """

    scenario: Scenario
    options: Options
    cells: tuple[PlannedCell, ...]
    units: tuple[Unit, ...]
    samples: dict[str, tuple[Sample, ...]]
    lock: dict[str, Any]

    def execution_order(self) -> list[Unit]:
        """Shard by shard, so that images are read once; control arms first, since the others are judged against them."""
        return sorted(self.units, key=lambda unit: (unit.shard is not None, unit.shard.index if unit.shard else 0, unit.shard.data if unit.shard else ""))

    def images_of(self, unit: Unit) -> int:
        """How many records a unit holds."""
        return sum(len(batch) for batch in unit.batches)

    def identity_of(self, unit: Unit) -> Unit:
        """The control unit that holds the clean answers for the images of `unit`."""
        return self._identities()[unit.shard.data, unit.shard.index, unit.target, unit.defense]

    def prepare_of(self, unit: Unit) -> Unit:
        """The preparation of the unit's target behind its defense."""
        return next(other for other in self.units if other.shard is None and (other.target, other.defense) == (unit.target, unit.defense))

    @cache
    def _identities(self) -> dict[tuple[str, int, str, str], Unit]:
        found = {}
        for unit in self.units:
            if unit.cell is not None and self.cells[unit.cell].cell.attack == "identity":
                found[unit.shard.data, unit.shard.index, unit.target, unit.defense] = unit
        return found

    def __hash__(self) -> int:
        return id(self)


def make_plan(scenario: Scenario, options: Options) -> Plan:
    """List the samples, lay out cells and units, and lock what they depend on. Raises CorpusError, FileNotFoundError or ValueError."""
    samples = {entry.id: tuple(_limited(entry, options)) for entry in scenario.data["eval"]}
    calib = {entry.id: tuple(entry.corpus.samples()) for entry in scenario.data.get("calib", ())}
    planned = tuple(cell for cell in cells(scenario) if _selected(cell.cell, options.only))
    lock = _lock(scenario, options, planned, samples, calib)
    shards = {name: _shards(name, rows, options.micro_batch) for name, rows in samples.items()}
    units = tuple(_units(planned, shards, lock))
    return Plan(scenario, options, planned, units, samples, lock)


def lock_digest(lock: dict[str, Any]) -> str:
    """The one number that two runs share when they compute the same."""
    return digest(lock)


def changed(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Which parts of a lock differ, as a person would name them."""
    found = []
    for part in sorted(before.keys() | now.keys()):
        old, new = before.get(part), now.get(part)
        if old == new:
            continue
        if isinstance(old, dict) and isinstance(new, dict):
            found += [f"{part}.{name}" for name in sorted(old.keys() | new.keys()) if old.get(name) != new.get(name)]
        else:
            found.append(part)
    return found


@cache
def code_digest() -> str:
    """Hash of all of the project's own Python files: results of other code are not resumed."""
    total = hashlib.blake2b(digest_size=16)
    for root in sorted({Path(folder) for folder in _package_folders()}):
        for path in sorted(root.glob("*.py")):
            total.update(path.name.encode() + b"\0" + path.read_bytes())
    return total.hexdigest()


def _package_folders() -> Iterable[Path]:
    own = Path(redteam.__file__).parent
    yield own
    yield from (path for path in own.iterdir() if (path / "__init__.py").is_file() and path.name != "reports")
    for root in map(Path, redteam.__path__):
        yield from (root / name for name in ("attacks", "defenses", "watermark") if (root / name / "__init__.py").is_file())


def _limited(entry: DataEntry, options: Options) -> Iterable[Sample]:
    for position, sample in enumerate(entry.corpus.samples()):
        if options.limit is not None and position >= options.limit:
            return
        yield sample


def _selected(cell: Cell, only: str | None) -> bool:
    whole = f"{cell.data}/{cell.target}/{cell.defense}/{cell.attack}"
    return only is None or cell.control or fnmatch.fnmatchcase(whole, only) or fnmatch.fnmatchcase(cell.attack, only)


def _shards(data: str, samples: Sequence[Sample], micro_batch: int) -> list[Shard]:
    """Images of one size together, in the corpus's order; the rest of a size makes a smaller batch, never a mixed one."""
    found: list[Shard] = []
    sizes = sorted({(s.height, s.width) for s in samples}, key=lambda size: next(i for i, s in enumerate(samples) if (s.height, s.width) == size))
    for size in sizes:
        rows = [sample for sample in samples if (sample.height, sample.width) == size]
        shrink = max(1, -(-size[0] * size[1] // PIXELS))
        batch, whole = max(1, micro_batch // shrink), max(1, SHARD // shrink)
        for start in range(0, len(rows), whole):
            part = rows[start : start + whole]
            found.append(Shard(data, len(found), tuple(tuple(part[i : i + batch]) for i in range(0, len(part), batch))))
    return found


def _units(planned: Sequence[PlannedCell], shards: dict[str, list[Shard]], lock: dict[str, Any]) -> Iterable[Unit]:
    everything = digest({name: lock[name] for name in ("record", "code", "seed", "file", "environment", "micro_batch")})
    pairs = dict.fromkeys((p.cell.target, p.cell.defense) for p in planned)
    for target, defense in pairs:
        yield Unit(digest(["prepare", everything, lock["targets"][target], lock["defenses"][defense], lock["calib"], lock["data"]]), target, defense)
    for number, item in enumerate(planned):
        cell = item.cell
        parts = [everything, cell.key, cell.params, lock["targets"][cell.target], lock["defenses"][cell.defense], lock["calib"]]
        for whole in shards[cell.data]:
            shard = _concerned(whole, cell.goal)
            rows = [[[s.id, s.label, s.group, s.content] for s in batch] for batch in shard.batches]
            yield Unit(digest([*parts, rows]), cell.target, cell.defense, number, shard)


def _concerned(shard: Shard, goal_name: str) -> Shard:
    """The images of a shard that the goal is about; the others get no row in that cell."""
    goal = next(goal for goals in GOALS.values() for goal in goals if goal.name == goal_name)
    batches = (tuple(s for s, wanted in zip(batch, goal.concerns(torch.tensor([s.label for s in batch])), strict=True) if wanted) for batch in shard.batches)
    return replace(shard, batches=tuple(batch for batch in batches if batch))


def _lock(scenario: Scenario, options: Options, planned: Sequence[PlannedCell], samples: dict[str, Any], calib: dict[str, Any]) -> dict[str, Any]:
    return {
        "schema": "redteam.lock/1",
        "record": SCHEMA,
        "redteam": redteam.__version__,
        "code": code_digest(),
        "scenario": scenario.name,
        "seed": scenario.seed,
        "file": {"format": scenario.file.format, "quality": scenario.file.quality},
        "micro_batch": options.micro_batch,
        "environment": {"device": torch.device(options.device).type, "torch": ".".join(torch.__version__.split(".")[:2])},
        "data": {entry.id: {"kind": entry.kind, "samples": [_row(s) for s in samples[entry.id]]} for entry in scenario.data["eval"]},
        "calib": {name: digest([_row(s) for s in rows]) for name, rows in calib.items()},
        "targets": {entry.id: {"kind": entry.kind, "params": _portable(entry.spec.params()), "fingerprint": entry.spec.fingerprint()} for entry in scenario.targets},
        "defenses": {entry.id: {"kind": entry.kind, "params": entry.defense.params()} for entry in scenario.defenses},
        "cells": {item.cell.key: item.cell.label for item in planned},
    }


def _row(sample: Sample) -> list[Any]:
    return [sample.id, sample.label, sample.group, sample.height, sample.width, sample.content]


def _portable(params: dict[str, Any]) -> dict[str, Any]:
    """A target's settings without the places of files, whose contents the fingerprint holds."""
    kept = {name: value for name, value in params.items() if name != "folder"}
    return kept | ({"weights": True} if kept.get("weights") else {})


def count_gradients(plan: Plan) -> int:
    """Image-gradients that the plan's attacks ask for at most: the figure to look at before a long run."""
    total = 0
    for cell, units in groupby((unit for unit in plan.units if unit.cell is not None), key=lambda unit: unit.cell):
        images = sum(plan.images_of(unit) for unit in units)
        total += images * _gradients(plan.cells[cell].attack)
    return total


def _gradients(attack: Any) -> int:
    stages = getattr(attack, "stages", (attack,))
    return sum(getattr(stage, "steps", 1) for stage in stages if stage.needs.name == "GRADIENTS")
