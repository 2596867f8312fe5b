"""A scenario becomes cells and units: all that will be computed, decided before anything is.

A unit is one cell on one shard of images. Its key hashes everything that its bytes depend on, so a finished unit is found again by name and a
changed input can never be mistaken for it.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby
from typing import Any

import torch

from redteam.data.corpus import NOT_CONTENT, Sample
from redteam.objective import goal_named
from redteam.record import Cell
from redteam.scenario.lock import lock_of
from redteam.scenario.matrix import PlannedCell, cells, target_kind
from redteam.scenario.model import DataEntry, Scenario
from redteam.seeding import digest

SHARD = 64  # images a unit: small enough to lose little, large enough that files are few
MICRO_BATCH = 16
PIXELS = 512 * 512  # of one image; larger ones make batches and shards smaller by as much

Listed = dict[str, dict[str, tuple[Sample, ...]]]  # role -> corpus -> its samples


class PlanError(Exception):
    """A valid scenario that cannot be run as it is; a sentence with a repair."""


@dataclass(frozen=True)
class Options:
    """What the command line adds to a scenario; kept with the run, so that a resumed run is the same run.

    limit:       at most so many evaluation images of each corpus
    only:        glob over data/target/defense/attack or the attack alone; control arms always run
    micro_batch: images that are scored and attacked together
    threads:     of torch, in each worker; sums may differ in the last bit with their number
    device:      where targets live
    sets:        KEY=VALUE that stand above the scenario's file
    keep:        whether every image is kept as a file, before and after, and not only those that the report shows
    """

    limit: int | None = None
    only: str | None = None
    micro_batch: int = MICRO_BATCH
    threads: int = 1
    device: str = "cpu"
    sets: Sequence[str] = ()
    keep: bool = False


@dataclass(frozen=True)
class Shard:
    """Images of one corpus that are read together, in micro-batches of one size each."""

    data: str
    index: int
    batches: tuple[tuple[Sample, ...], ...]

    @cached_property
    def digest(self) -> str:
        """What its records depend on."""
        return digest([[[s.id, s.label, s.group, s.content] for s in batch] for batch in self.batches])


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

    @property
    def samples(self) -> list[Sample]:
        """The images that get a record, in the order of the records."""
        return [sample for batch in self.batches for sample in batch]


@dataclass(frozen=True, eq=False)
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

    def unit(self, key: str) -> Unit | None:
        """The unit of that key."""
        return self._by_key.get(key)

    def units_of(self, cell: int) -> Sequence[Unit]:
        """The units of a cell, in the order of its records."""
        return self._by_cell.get(cell, ())

    def images_of(self, unit: Unit) -> int:
        """How many records a unit holds."""
        return sum(len(batch) for batch in unit.batches)

    def identity_of(self, unit: Unit) -> Unit:
        """The control unit that holds the clean answers for the images of `unit`."""
        return self._identities[unit.shard.data, unit.shard.index, unit.target, unit.defense]

    def preparation(self, target: str, defense: str) -> Unit:
        """The preparation of a target behind a defense."""
        return self.preparations[target, defense]

    def shards(self, data: str) -> Iterator[Shard]:
        """All images of an evaluation corpus, in the order of the records."""
        cell = next(number for number, item in enumerate(self.cells) if item.cell.data == data and item.cell.attack == "identity")
        return (unit.shard for unit in self.units_of(cell))

    @cached_property
    def preparations(self) -> dict[tuple[str, str], Unit]:
        """Target and defense -> their preparation."""
        return {(unit.target, unit.defense): unit for unit in self.units if unit.shard is None}

    @cached_property
    def _by_key(self) -> dict[str, Unit]:
        return {unit.key: unit for unit in self.units}

    @cached_property
    def _by_cell(self) -> dict[int, list[Unit]]:
        return {cell: list(units) for cell, units in groupby((unit for unit in self.units if unit.shard), key=lambda unit: unit.cell)}

    @cached_property
    def _identities(self) -> dict[tuple[str, int, str, str], Unit]:
        arms = (unit for unit in self.units if unit.shard and self.cells[unit.cell].cell.attack == "identity")
        return {(unit.shard.data, unit.shard.index, unit.target, unit.defense): unit for unit in arms}


def make_plan(scenario: Scenario, options: Options) -> Plan:
    """List the samples, lay out cells and units, and lock what they depend on. Raises PlanError, CorpusError, Unusable or FileNotFoundError."""
    listed = {role: {entry.id: tuple(_listed(entry, options)) for entry in entries} for role, entries in scenario.data.items()}
    _check(listed)
    planned = tuple(_selected(cells(scenario), options.only))
    lock = lock_of(scenario, planned, listed, device=options.device, frozen={"micro_batch": options.micro_batch, "threads": options.threads})
    units = tuple(_units(scenario, planned, listed["eval"], lock))
    return Plan(scenario, options, planned, units, listed["eval"], lock)


def _listed(entry: DataEntry, options: Options) -> Iterator[Sample]:
    """The samples of a corpus, fewer where the command line asks for fewer evaluation images; a corpus keeps its classes in balance."""
    corpus = entry.corpus
    if entry.role == "eval" and options.limit is not None:
        corpus = replace(corpus, limit=min(options.limit, corpus.limit or options.limit))
    return corpus.samples()


def _check(listed: Listed) -> None:
    for name, samples in listed["eval"].items():
        if not samples:
            raise PlanError(f"data.eval: {name} holds no image; give it some, or take it out")
    evaluated = {s.content: f"{name} {s.id}" for name, samples in listed["eval"].items() for s in samples if s.content not in NOT_CONTENT}
    for role in ("calib", "train"):
        for name, samples in listed.get(role, {}).items():
            shared = [s for s in samples if s.content in evaluated]
            if shared:
                raise PlanError(f"data.{role}: {len(shared)} images of {name} are in eval too (first: {shared[0].id} = {evaluated[shared[0].content]}); split the data")


def _selected(planned: Iterable[PlannedCell], only: str | None) -> Iterator[PlannedCell]:
    kept = [item for item in planned if only is None or item.cell.control or _matches(item.cell, only)]
    if only is not None and all(item.cell.control for item in kept):
        raise PlanError(f"--only {only}: matches no attack; it is a glob over data/target/defense/attack, or over the attack alone")
    return iter(kept)


def _matches(cell: Cell, only: str) -> bool:
    return fnmatch.fnmatchcase(f"{cell.data}/{cell.target}/{cell.defense}/{cell.attack}", only) or fnmatch.fnmatchcase(cell.attack, only)


def _units(scenario: Scenario, planned: Sequence[PlannedCell], samples: Mapping[str, Sequence[Sample]], lock: dict[str, Any]) -> Iterator[Unit]:
    everything = digest({name: lock[name] for name in ("record", "code", "plugins", "seed", "file", "environment", "micro_batch", "threads", "calib", "train")})
    for target, defense in dict.fromkeys((p.cell.target, p.cell.defense) for p in planned):
        yield Unit(digest(["prepare", everything, lock["targets"][target], lock["defenses"][defense], lock["data"]]), target, defense)
    kinds = {entry.id: target_kind(entry) for entry in scenario.targets}
    whole = {name: _shards(name, rows, lock["micro_batch"]) for name, rows in samples.items()}
    concerned: dict[tuple[str, str, str], list[Shard]] = {}  # cells with one goal share their shards
    for number, item in enumerate(planned):
        cell = item.cell
        place = (kinds[cell.target], cell.data, cell.goal)
        if place not in concerned:
            concerned[place] = [_concerned(shard, kinds[cell.target], cell.goal) for shard in whole[cell.data]]
        asked = [lock["surrogates"].get(name) or lock["targets"][name] for name in item.attack.asked_instead()]
        parts = digest([everything, cell.key, lock["targets"][cell.target], lock["defenses"][cell.defense], *asked])
        yield from (Unit(digest([parts, shard.digest]), cell.target, cell.defense, number, shard) for shard in concerned[place] if shard.batches)


def _shards(data: str, samples: Sequence[Sample], micro_batch: int) -> list[Shard]:
    """Images of one size together, in the corpus's order; the rest of a size makes a smaller batch, never a mixed one."""
    by_size: dict[tuple[int, int], list[Sample]] = {}
    for sample in samples:
        by_size.setdefault((sample.height, sample.width), []).append(sample)
    unreadable = by_size.pop((0, 0), [])
    found: list[Shard] = []
    for (height, width), rows in [*by_size.items(), ((0, 0), unreadable)]:
        shrink = max(1, -(-height * width // PIXELS))
        batch, shard = max(1, micro_batch // shrink), max(1, SHARD // shrink)
        for part in _cut(rows, shard):
            found.append(Shard(data, len(found), tuple(_cut(part, batch))))
    return found


def _cut(rows: Sequence[Sample], size: int) -> Iterator[tuple[Sample, ...]]:
    return (tuple(rows[start : start + size]) for start in range(0, len(rows), size))


def _concerned(shard: Shard, kind: str, goal_name: str) -> Shard:
    """The images of a shard that the goal is about; the others get no row in that cell."""
    goal = goal_named(kind, goal_name)
    labels = {label: bool(goal.concerns(torch.tensor([label]))) for label in (0, 1)}
    batches = (tuple(s for s in batch if labels[s.label]) for batch in shard.batches)
    return replace(shard, batches=tuple(batch for batch in batches if batch))


def count_gradients(plan: Plan) -> int:
    """Image-gradients that the plan's attacks ask for at most: the figure to look at before a long run."""
    return sum(plan.images_of(unit) * _gradients(plan.cells[unit.cell].attack) for unit in plan.units if unit.cell is not None)


def _gradients(attack: Any) -> int:
    stages = getattr(attack, "stages", (attack,))
    return sum(getattr(stage, "steps", 1) for stage in stages if stage.needs.name == "GRADIENTS")
