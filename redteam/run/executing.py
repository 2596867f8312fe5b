"""Computes one unit: reads its images, attacks them, and hands back rows; what one image does wrong costs that image alone."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch

from redteam.attack import State, Tier
from redteam.data.corpus import Sample, UnreadableImage
from redteam.protocols import detection
from redteam.protocols.detection import Square
from redteam.record import Record
from redteam.run.backoff import Backoff, attempted, is_shortage
from redteam.run.defended import Defended
from redteam.run.errors import Stop
from redteam.run.fitting import fitted
from redteam.run.gallery import with_artifacts
from redteam.run.ledger import RunDir, check_room
from redteam.run.pictures import Pictures, Read, sentence
from redteam.run.troubles import Troubles
from redteam.scenario.plan import Plan, Unit
from redteam.target import Detector

Beat = Callable[..., None]  # beat() while something loads, beat(batch) before a micro-batch, beat(batch, image) before an image that runs alone


@dataclass(frozen=True)
class Work:
    """One unit while it is computed.

    clean: the identity rows of its images, by id; empty for the identity arm itself
    """

    unit: Unit
    square: Square
    clean: Mapping[str, Record]
    troubles: Troubles


class Executor:
    """Runs units of one plan in this process. Targets stay loaded; the images of one shard stay in memory."""

    def __init__(self, plan: Plan, run_dir: RunDir, beat: Beat = lambda batch=None, image=None: None) -> None:
        self._plan, self._dir, self._beat = plan, run_dir, beat
        device = torch.device(plan.options.device)
        self._pictures = Pictures((entry for role in plan.scenario.data.values() for entry in role), device)
        self._targets = Defended(plan, self._pictures, device, self._tell)
        self._facts: dict[str, dict[str, Any]] = {}
        self._states: dict[int, State | None] = {}
        self._arm: tuple[str, dict[str, Record]] = ("", {})
        self._memory = Backoff()

    def run(self, unit: Unit, troubles: Troubles | None = None) -> int:
        """Compute and write a unit (and the units that it rests on) unless it is there; returns its number of rows."""
        if (rows := self._dir.read_unit(unit.key)) is not None:
            return len(rows)
        troubles = troubles or Troubles()
        rows = self._targets.prepare(unit, bare=troubles.bare) if unit.shard is None else [row.to_json() for row in self._rows(unit, troubles)]
        self._dir.write_unit(unit.key, rows)
        return len(rows)

    def target(self, unit: Unit) -> Detector:
        """The target of a unit, loaded and with its threshold. Raises whatever stands in its way."""
        return self._square(unit).target

    def _rows(self, unit: Unit, troubles: Troubles) -> list[Record]:
        if all(sample.id in troubles.poisoned for sample in unit.samples):  # even loading the target may be what goes wrong
            return [self._lost(unit, sample, *troubles.poisoned[sample.id]) for sample in unit.samples]
        try:
            square = self._square(unit)
        except Stop:
            raise
        except Exception as error:
            check_room(error)
            why = str(error) if isinstance(error, _Unprepared) else sentence(error)
            return [self._lost(unit, sample, _status(error), why) for sample in unit.samples]
        work = Work(unit, square, {} if square.cell.attack == "identity" else self._clean(unit), troubles)
        found: dict[str, Record] = {}
        for number, batch in enumerate(unit.batches):
            found |= self._batch(work, number, batch)
        return [found[sample.id] for sample in unit.samples]

    def _square(self, unit: Unit) -> Square:
        """The unit's cell, ready to run. Raises whatever stands in its way."""
        item, scenario = self._plan.cells[unit.cell], self._plan.scenario
        facts = self._prepared(unit)
        if "error" in facts:
            raise _Unprepared(facts["error"])
        target = self._targets.load(unit.target, unit.defense).with_threshold(facts["threshold"])
        if item.attack.access() > target.access:
            raise _Unprepared(f"{item.cell.attack} needs {item.attack.access().word} but {unit.target} gives {target.access.word}")
        if unit.cell not in self._states:
            self._states[unit.cell] = fitted(self._plan, self._dir, self._pictures, item, target, self._tell)
        surrogates = {name: self._targets.surrogate(name) for name in item.attack.asked_instead()}
        return Square(item.cell, item.attack, target, scenario.file, scenario.seed, self._plan.options.micro_batch, self._states[unit.cell], surrogates)

    def _batch(self, work: Work, number: int, batch: Sequence[Sample]) -> dict[str, Record]:
        """The rows of one micro-batch by image: computed together, or one by one where together fails."""
        found = {s.id: row for s in batch if (row := self._hopeless(work, s))}
        left = [s for s in batch if s.id not in found]
        if left and number not in work.troubles.alone:
            self._beat(number)
            try:
                return found | self._together(work, left)
            except Stop:
                raise
            except Exception as error:  # one of them raises: find out which, and keep the rest
                check_room(error)
        for sample in left:
            self._beat(number, sample.id)
            found |= self._attack_alone(work, sample)
        return found

    def _together(self, work: Work, samples: Sequence[Sample]) -> dict[str, Record]:
        """The rows of one micro-batch; where memory is short in smaller pieces, unless the attack would then do something else."""
        cell, tier, size = work.square.cell, work.square.attack.tier, f"{samples[0].height} x {samples[0].width}"
        if tier is Tier.SAMPLE or len(samples) == 1:
            found = self._memory.run((cell.key, size), samples, partial(self._attack, work))
            why = f"out of memory with one image of {size}; it needs another device, or a target that takes smaller images"
        else:
            found = attempted(partial(self._attack, work), samples) or {}
            why = f"out of memory with {len(samples)} images of {size}, and {cell.attack} does something else in smaller batches; start a new run with a smaller --micro-batch"
        return {s.id: found.get(s.id) or self._lost(work.unit, s, "oom", why) for s in samples}

    def _hopeless(self, work: Work, sample: Sample) -> Record | None:
        """The row of an image that is not run: it took a worker with it, or there is no clean answer to compare with."""
        if sample.id in work.troubles.poisoned:
            return self._lost(work.unit, sample, *work.troubles.poisoned[sample.id])
        clean = work.clean.get(sample.id)
        return self._lost(work.unit, sample, clean.status, f"as without an attack: {clean.reason}") if clean and clean.status != "ok" else None

    def _attack_alone(self, work: Work, sample: Sample) -> dict[str, Record]:
        try:
            rows = self._attack(work, [sample])
        except Stop:
            raise
        except Exception as error:
            check_room(error)
            return {sample.id: self._lost(work.unit, sample, _status(error), sentence(error))}
        return {name: replace(row, warnings=(*row.warnings, "ran_alone")) if row.status == "ok" else row for name, row in rows.items()}

    def _attack(self, work: Work, samples: Sequence[Sample]) -> dict[str, Record]:
        reads = self._pictures.of_shard(work.unit.shard, samples)
        lost = {s.id: self._lost(work.unit, s, "error", str(read)) for s, read in zip(samples, reads, strict=True) if isinstance(read, UnreadableImage)}
        readable = [read for read in reads if isinstance(read, Read)]
        if not readable:
            return lost
        images, hashes = self._pictures.stacked(readable), [read.sha256 for read in readable]
        identity = work.square.cell.attack == "identity"
        outcome = detection.identity_batch(work.square, images, hashes) if identity else detection.attack_batch(work.square, images, hashes, work.clean)
        return lost | {row.id: row for row in with_artifacts(self._dir, work.unit, outcome, everything=self._plan.options.keep)}

    def _prepared(self, unit: Unit) -> dict[str, Any]:
        """What the preparation of the unit's target found, computed first where it is not there."""
        preparation = self._plan.preparation(unit.target, unit.defense)
        if preparation.key not in self._facts:
            self._facts[preparation.key] = json.loads(self._needed(preparation)[0])
        return self._facts[preparation.key]

    def _clean(self, unit: Unit) -> dict[str, Record]:
        """The identity rows of the unit's shard, computed first where they are not there."""
        identity = self._plan.identity_of(unit)
        if self._arm[0] != identity.key:
            rows = (Record.from_json(line) for line in self._needed(identity))
            self._arm = (identity.key, {row.id: row for row in rows})
        return self._arm[1]

    def _needed(self, unit: Unit) -> list[str]:
        if (rows := self._dir.read_unit(unit.key)) is None:
            beat, self._beat = self._beat, lambda *_: beat()  # its places are not those of the unit that the coordinator watches
            try:
                self.run(unit)
            finally:
                self._beat = beat
            rows = self._dir.read_unit(unit.key)
        return rows

    def _tell(self, *place: Any) -> None:
        self._beat(*place)

    def _lost(self, unit: Unit, sample: Sample, status: str, reason: str) -> Record:
        row = detection.empty_record(self._plan.cells[unit.cell].cell, sample.id, sample.label, sample.group, sample.height, sample.width, None)
        return replace(row, status=status, reason=reason)


def _status(error: Exception) -> str:
    return "oom" if is_shortage(error) else "error"


class _Unprepared(Exception):
    """A cell that cannot run; the message is the reason of its rows."""


def timed(executor: Executor, unit: Unit, troubles: Troubles) -> dict[str, Any]:
    """Run a unit and say what it took."""
    wall, busy = time.perf_counter(), time.process_time()
    rows = executor.run(unit, troubles)
    return {"unit": unit.key, "rows": rows, "wall_s": round(time.perf_counter() - wall, 4), "cpu_s": round(time.process_time() - busy, 4)}
