"""Computes one unit: reads its images, attacks them, and hands back rows; what one image does wrong costs that image alone."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor

from redteam import registry
from redteam.attack import Attack, State
from redteam.data.corpus import Picture, Reader, Sample, UnreadableImage
from redteam.images import Images
from redteam.objective import goal_named
from redteam.protocols import detection
from redteam.protocols.detection import Outcome, Square
from redteam.record import Record
from redteam.run import preparing
from redteam.run.ledger import RunDir, StorageError, storing, write_whole
from redteam.scenario.plan import Plan, Unit
from redteam.seeding import SampleRNG
from redteam.target import Detector

GALLERY = {1: 3, 0: 1}  # images of each label, from the first shard of a cell, whose files are kept for the report
Beat = Callable[[int, str | None], None]  # told before each micro-batch, and before each image that runs alone


class Troubles:
    """What the coordinator has learned about a unit that killed or hung its worker.

    alone:    numbers of the micro-batches that run image by image
    poisoned: image id -> (status, reason) of the images that did it
    """

    def __init__(self, alone: Sequence[int] = (), poisoned: Mapping[str, Sequence[str]] | None = None) -> None:
        self.alone = set(alone)
        self.poisoned = {name: (status, reason) for name, (status, reason) in (poisoned or {}).items()}


class Executor:
    """Runs units of one plan in this process. Targets stay loaded; the images of one shard stay in memory."""

    def __init__(self, plan: Plan, run_dir: RunDir, beat: Beat = lambda batch, image: None) -> None:
        self._plan, self._dir, self._beat = plan, run_dir, beat
        self._device = torch.device(plan.options.device)
        self._entries = {entry.id: entry for entry in plan.scenario.data["eval"]}
        self._targets: dict[tuple[str, str], Detector] = {}
        self._facts: dict[tuple[str, str], dict[str, Any]] = {}
        self._states: dict[int, State | None] = {}
        self._models: dict[str, Any] = {}
        self._readers: dict[str, Reader] = {}
        self._shard: tuple[Any, dict[str, Picture | UnreadableImage]] = (None, {})

    def run(self, unit: Unit, troubles: Troubles | None = None) -> int:
        """Compute and write a unit (and the control units that it is judged against) unless it is there; returns its number of rows."""
        if (rows := self._dir.read_unit(unit.key)) is not None:
            return len(rows)
        troubles = troubles or Troubles()
        rows = self._prepare(unit, bare=bool(troubles.alone)) if unit.shard is None else self._rows(unit, troubles)
        self._dir.write_unit(unit.key, rows)
        return len(rows)

    # Preparation: threshold and facts of one target behind one defense.

    def _prepare(self, unit: Unit, bare: bool) -> list[str]:
        target = next(entry for entry in self._plan.scenario.targets if entry.id == unit.target)
        defense = next(entry for entry in self._plan.scenario.defenses if entry.id == unit.defense)
        try:
            detector = self._load(unit)
            calib = preparing.together([self._batches(entry, list(preparing.in_batches(entry.corpus.samples(), self._plan.options.micro_batch))) for entry in self._plan.scenario.data.get("calib", ())])
            entry = next(iter(self._entries.values()))
            clean = self._batches(entry, list(preparing.in_batches(iter(preparing.probed(self._plan.samples[entry.id])), self._plan.options.micro_batch)))
            undefended = type(defense.defense) is registry.get("defenses", "none")
            found = preparing.facts(detector, target.spec, calib, clean, probe_range=undefended and not bare)
        except Exception as error:  # a user's code may raise anything; its cells then say so, and the others go on
            found = {"error": f"{target.id} could not be prepared: {_sentence(error)}"}
        return [json.dumps(found, sort_keys=True, allow_nan=False)]

    def _load(self, unit: Unit) -> Detector:
        place = (unit.target, unit.defense)
        if place not in self._targets:
            target = next(entry for entry in self._plan.scenario.targets if entry.id == unit.target)
            defense = next(entry for entry in self._plan.scenario.defenses if entry.id == unit.defense)
            self._targets[place] = preparing.load_defended(target, defense, self._device, self._first_pixels)
        return self._targets[place]

    @cached_property
    def _first_pixels(self) -> Tensor:
        """The first micro-batch of readable evaluation images: always the same one, so that a restarted worker finds the same."""
        for entry in self._entries.values():
            for pixels, _, _ in self._batches(entry, self._eval_batches(entry.id))():
                return pixels
        raise ValueError("no evaluation image can be read")

    def _eval_batches(self, data: str) -> list[tuple[Sample, ...]]:
        shards = {unit.shard.index: unit.shard for unit in self._plan.units if unit.shard and unit.shard.data == data and self._plan.cells[unit.cell].cell.attack == "identity"}
        return [batch for shard in shards.values() for batch in shard.batches]

    def _batches(self, entry: Any, samples: Sequence[Sequence[Sample]]) -> preparing.Batches:
        def pixels(pictures: Sequence[Picture]) -> Tensor:
            self._beat(-1, None)  # a preparation has no rows, but it shows that it lives
            return to_pixels([picture.pixels for picture in pictures])

        return preparing.read_batches(samples, self._reader(entry), pixels, self._device)

    def facts(self, unit: Unit) -> dict[str, Any]:
        """What the preparation of the unit's target found, computed first where it is not there."""
        place = (unit.target, unit.defense)
        if place not in self._facts:
            preparation = self._plan.prepare_of(unit)
            self.run(preparation)
            self._facts[place] = json.loads(self._dir.read_unit(preparation.key)[0])
        return self._facts[place]

    # A cell on a shard.

    def _rows(self, unit: Unit, troubles: Troubles) -> list[str]:
        item, facts = self._plan.cells[unit.cell], self.facts(unit)
        everyone = [sample for batch in unit.batches for sample in batch]
        if "error" in facts:
            return [self._lost(unit, sample, "error", facts["error"]).to_json() for sample in everyone]
        target = self._load(unit).with_threshold(facts["threshold"])
        if item.attack.needs > target.access:
            reason = f"{item.cell.attack} needs {item.attack.needs.word} but {unit.target} gives {target.access.word}"
            return [self._lost(unit, sample, "error", reason).to_json() for sample in everyone]
        scenario = self._plan.scenario
        square = Square(item.cell, item.attack, target, scenario.file, scenario.seed, self._plan.options.micro_batch, self._state(unit, target))
        clean = {} if item.cell.attack == "identity" else self._clean(unit)
        found: dict[str, Record] = {}
        for number, batch in enumerate(unit.batches):
            found |= self._batch(unit, square, number, batch, clean, troubles)
        return [found[sample.id].to_json() for sample in everyone]

    def _batch(self, unit: Unit, square: Square, number: int, batch: Sequence[Sample], clean: Mapping[str, Record], troubles: Troubles) -> dict[str, Record]:
        pictures = self._pictures(unit)
        found = {s.id: self._lost(unit, s, "error", str(pictures[s.id])) for s in batch if isinstance(pictures[s.id], UnreadableImage)}
        found |= {s.id: self._lost(unit, s, *troubles.poisoned[s.id]) for s in batch if s.id in troubles.poisoned}
        readable = [s for s in batch if s.id not in found]
        if number not in troubles.alone and readable:
            self._beat(number, None)
            try:
                return found | self._attack(unit, square, readable, pictures, clean)
            except StorageError:
                raise
            except Exception:  # one of them raises: find out which, and keep the rest
                found = dict(found)
        for sample in readable:
            self._beat(number, sample.id)
            try:
                found |= {name: _alone(row) for name, row in self._attack(unit, square, [sample], pictures, clean).items()}
            except StorageError:
                raise
            except Exception as error:
                found[sample.id] = self._lost(unit, sample, "error", _sentence(error))
        return found

    def _attack(self, unit: Unit, square: Square, samples: Sequence[Sample], pictures: Mapping[str, Picture], clean: Mapping[str, Record]) -> dict[str, Record]:
        images = to_images(samples, [pictures[s.id] for s in samples], self._device)
        hashes = [hashlib.sha256(np.ascontiguousarray(pictures[s.id].pixels)).hexdigest() for s in samples]
        square.target.ledger.take(images.ids)  # a batch that failed half-way must not be billed twice
        if square.cell.attack == "identity":
            outcome = detection.identity_batch(square, images, hashes)
        else:
            outcome = detection.attack_batch(square, images, hashes, clean)
        return {row.id: row for row in self._with_artifacts(unit, outcome)}

    def _clean(self, unit: Unit) -> dict[str, Record]:
        identity = self._plan.identity_of(unit)
        self.run(identity)
        rows = (Record.from_json(line) for line in self._dir.read_unit(identity.key))
        return {row.id: row for row in rows if row.status == "ok"}

    def _lost(self, unit: Unit, sample: Sample, status: str, reason: str) -> Record:
        row = detection.empty_record(self._plan.cells[unit.cell].cell, sample.id, sample.label, sample.group, sample.height, sample.width, None)
        return Record(**{**row.__dict__, "status": status, "reason": reason})

    def _state(self, unit: Unit, target: Detector) -> State | None:
        """What the attack's `fit` learned for this cell, from the `train` role; kept as an artifact and read again after a restart."""
        item = self._plan.cells[unit.cell]
        if type(item.attack).fit is Attack.fit:
            return None
        if unit.cell not in self._states:
            path = self._dir.path / "artifacts" / f"state-{item.cell.key}.safetensors"
            if not path.is_file():
                self._keep_state(path, self._fit(item, target))
            self._states[unit.cell] = load_file(path) or None
        return self._states[unit.cell]

    def _fit(self, item: Any, target: Detector) -> State:
        scenario = self._plan.scenario
        goal = goal_named(target.kind, item.attack.goal)
        rng = SampleRNG.of(scenario.seed, item.cell.kind, item.cell.params, ["fit"], item.cell.repeat)
        size = self._plan.options.micro_batch

        def objectives() -> Any:
            for entry in scenario.data.get("train", ()):
                read = self._reader(entry)
                for samples in preparing.in_batches(entry.corpus.samples(), size):
                    images = to_images(samples, [read(s) for s in samples], self._device)
                    yield goal.on(target, images.subset(goal.concerns(images.labels)), file=scenario.file, budget=item.attack.budget())

        return item.attack.fit(objectives(), rng) or {}

    @staticmethod
    def _keep_state(path: Path, state: State) -> None:
        temporary = path.with_suffix(".tmp")
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}, temporary)
        write_whole(path, temporary.read_bytes())
        temporary.unlink()

    # Images.

    def _reader(self, entry: Any) -> Reader:
        place = f"{entry.role}/{entry.id}"
        if place not in self._readers:
            self._readers[place] = entry.corpus.open(self._model)
        return self._readers[place]

    def _model(self, reference: str) -> Any:
        if reference not in self._models:
            self._models[reference] = registry.get("models", reference.removeprefix("zoo/")).load(self._device)
        return self._models[reference]

    def _pictures(self, unit: Unit) -> dict[str, Picture | UnreadableImage]:
        """The shard's pictures, as 8-bit pixels; kept until another shard is asked for."""
        place, whole = (unit.shard.data, unit.shard.index), self._plan.identity_of(unit).shard
        if self._shard[0] != place:
            read = self._reader(self._entries[unit.shard.data])
            self._shard = (place, {sample.id: _attempt(read, sample) for batch in whole.batches for sample in batch})
        return self._shard[1]

    def _with_artifacts(self, unit: Unit, outcome: Outcome) -> list[Record]:
        if unit.shard.index != 0:
            return outcome.records
        chosen = self._gallery(unit)
        return [_shown(self._dir, unit, row, outcome, i) if row.id in chosen else row for i, row in enumerate(outcome.records)]

    @staticmethod
    def _gallery(unit: Unit) -> set[str]:
        chosen: set[str] = set()
        for label, most in GALLERY.items():
            chosen |= set([s.id for batch in unit.batches for s in batch if s.label == label][:most])
        return chosen


def to_images(samples: Sequence[Sample], pictures: Sequence[Picture], device: torch.device) -> Images:
    """Samples and what was read for them (all of one size) -> one batch on `device`."""
    masks = [p.mask for p in pictures]
    stacked = None if any(mask is None for mask in masks) else torch.from_numpy(np.stack(masks)).float().div(255)[:, None]
    return Images(
        pixels=to_pixels([p.pixels for p in pictures]),
        ids=tuple(s.id for s in samples),
        labels=torch.tensor([s.label for s in samples]),
        groups=tuple(s.group for s in samples),
        masks=stacked,
    ).to(device)


def to_pixels(arrays: Sequence[np.ndarray]) -> Tensor:
    """(h, w, 3) uint8 arrays of one size -> (n, 3, h, w) float32 in [0, 1]."""
    return torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2).contiguous().float().div(255)


def timed(executor: Executor, unit: Unit, troubles: Troubles) -> dict[str, Any]:
    """Run a unit and say what it took."""
    wall, busy = time.perf_counter(), time.process_time()
    rows = executor.run(unit, troubles)
    return {"unit": unit.key, "rows": rows, "wall_s": round(time.perf_counter() - wall, 4), "cpu_s": round(time.process_time() - busy, 4)}


def _attempt(read: Reader, sample: Sample) -> Picture | UnreadableImage:
    try:
        picture = read(sample)
    except UnreadableImage as error:
        return error
    if picture.pixels.shape != (sample.height, sample.width, 3):
        return UnreadableImage(f"{sample.id}: was {sample.height} x {sample.width} when the run was planned, is {picture.pixels.shape[0]} x {picture.pixels.shape[1]} now")
    return picture


def _alone(row: Record) -> Record:
    return Record(**{**row.__dict__, "warnings": (*row.warnings, "ran_alone")})


def _sentence(error: BaseException) -> str:
    first = str(error).strip().split("\n")[0]
    return f"{type(error).__name__}: {first}" if first else type(error).__name__


def _shown(run_dir: RunDir, unit: Unit, row: Record, outcome: Outcome, i: int) -> Record:
    """The row with its files in artifacts/: the clean file once for each image, the attacked one for each row."""
    clean = f"artifacts/{unit.shard.data}-{unit.shard.index}-{hashlib.sha256(row.id.encode()).hexdigest()[:16]}.png"
    kept = {"before": clean}
    _save(run_dir.path / clean, outcome.before[i])
    if row.attack != "identity":
        kept["after"] = f"artifacts/{row.rid}.png"
        _save(run_dir.path / kept["after"], outcome.after[i])
    return Record(**{**row.__dict__, "artifacts": kept})


def _save(path: Path, pixels: Tensor) -> None:
    if path.is_file():
        return
    temporary = path.with_suffix(".tmp.png")
    with storing(path):
        _write_png(temporary, pixels)
        temporary.replace(path)


def _write_png(path: Path, pixels: Tensor) -> None:
    Image.fromarray((pixels.cpu() * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()).save(path)
