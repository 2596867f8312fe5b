"""The lock: everything that the bytes of a run depend on, so that changed inputs can be refused and named."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch

import redteam
from redteam.data.corpus import Sample
from redteam.record import SCHEMA
from redteam.scenario.matrix import PlannedCell
from redteam.scenario import surrogates
from redteam.scenario.model import Gate, Scenario, TargetEntry
from redteam.seeding import digest

WORDS = {"code": "redteam's own code", "environment": "torch or the kind of device", "redteam": "redteam's version", "micro_batch": "the micro-batch size", "threads": "the number of threads"}
SHOWN = 3  # differences of one kind that a message spells out


class Unusable(Exception):
    """A target's code or weights are not what the scenario declares."""


def lock_of(scenario: Scenario, cells: Sequence[PlannedCell], listed: Mapping[str, Mapping[str, Sequence[Sample]]], *, device: str, frozen: Mapping[str, int]) -> dict[str, Any]:
    """The lock of a plan; `listed` holds the samples of each role by the id of their corpus, `frozen` the numbers of the command line that results hang on. Raises FileNotFoundError and Unusable."""
    return {
        "schema": "redteam.lock/1",
        "record": SCHEMA,
        "redteam": redteam.__version__,
        "code": code_digest(),
        "scenario": scenario.name,
        "seed": scenario.seed,
        "file": {"format": scenario.file.format, "quality": scenario.file.quality},
        **frozen,
        "environment": {"device": torch.device(device).type, "torch": ".".join(torch.__version__.split(".")[:2])},
        "data": {entry.id: {"kind": entry.kind, "samples": [_row(s) for s in listed["eval"][entry.id]]} for entry in scenario.data["eval"]},
        "calib": {name: digest([_row(s) for s in rows]) for name, rows in listed.get("calib", {}).items()},
        "train": {name: digest([_row(s) for s in rows]) for name, rows in listed.get("train", {}).items()},
        "targets": {entry.id: {"kind": entry.kind, "params": _portable(entry.spec.params()), "fingerprint": _fingerprint(entry)} for entry in scenario.targets},
        "surrogates": surrogates.locked(scenario),
        "defenses": {entry.id: {"kind": entry.kind, "params": entry.defense.params()} for entry in scenario.defenses},
        "plugins": plugins(scenario),
        "cells": {item.cell.key: item.cell.label for item in cells},
        "limits": {"sample_timeout_s": scenario.limits.sample_timeout_s, "max_error_rate": scenario.limits.max_error_rate},
        "gates": {gate.id: _gate(gate) for gate in scenario.gates},
    }


def _fingerprint(entry: TargetEntry) -> dict[str, str]:
    try:
        return entry.spec.fingerprint()
    except FileNotFoundError as error:
        raise FileNotFoundError(f"targets.{entry.id}: {error}") from error
    except ValueError as error:
        raise Unusable(f"targets.{entry.id}: {error}") from error


def lock_digest(lock: dict[str, Any]) -> str:
    """The one number that two runs share when they compute the same."""
    return digest(lock)


def changed(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Which parts of a lock differ, as a person would name them.

    >>> changed({"seed": 1, "targets": {"mine": {"kind": "python"}}}, {"seed": 2, "targets": {"mine": {"kind": "zoo"}}})
    ['seed', 'targets.mine.kind']
    """
    found = []
    for part in sorted(before.keys() | now.keys()):
        if part in WORDS:
            found += [WORDS[part]] if before.get(part) != now.get(part) else []
        else:
            found += list(_differences(part, before.get(part), now.get(part)))
    return found


def _differences(path: str, old: Any, new: Any) -> Iterator[str]:
    if old == new:
        return
    if path.endswith(".samples") and isinstance(old, list) and isinstance(new, list):
        yield f"{path.removesuffix('.samples')} ({_images(old, new)})"
    elif isinstance(old, dict) and isinstance(new, dict):
        for name in sorted(old.keys() | new.keys()):
            yield from _differences(path if path == "cells" else f"{path}.{name}", old.get(name), new.get(name))
            if path == "cells" and old.get(name) != new.get(name):
                return  # its names are hashes: once is enough
    else:
        yield path


def _images(old: list[Any], new: list[Any]) -> str:
    before, now = ({row[0]: row for row in rows} for rows in (old, new))
    names = sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"images {', '.join(names[:SHOWN])}{more}" if names else "the order of the images"


@cache
def code_digest() -> str:
    """Hash of all of the project's own Python files but the reports: results of other code are not resumed."""
    total = hashlib.blake2b(digest_size=16)
    for root in sorted({Path(folder) for folder in _package_folders()}):
        for path in sorted(root.glob("*.py")):
            total.update(f"{root.name}/{path.name}".encode() + b"\0" + path.read_bytes() + b"\0")
    return total.hexdigest()


def plugins(scenario: Scenario) -> dict[str, str]:
    """Module -> hash of its file, of the components that are not the project's own."""
    entries = [entry for role in scenario.data.values() for entry in role]
    attacks = [variant.attack for entry in scenario.attacks for variant in entry.variants]
    stages = [stage for attack in attacks for stage in getattr(attack, "stages", ())]
    used = [*attacks, *stages, *(e.corpus for e in entries), *(e.spec for e in scenario.targets), *(e.defense for e in scenario.defenses)]
    modules = {type(component).__module__ for component in used}
    return {name: _file_hash(sys.modules[name].__file__) for name in sorted(modules) if name.partition(".")[0] != "redteam"}


def _file_hash(path: str | None) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest() if path and Path(path).is_file() else "no file"


def _package_folders() -> Iterable[Path]:
    own = Path(redteam.__file__).parent
    yield own
    yield from (path for path in own.iterdir() if (path / "__init__.py").is_file() and path.name not in ("reports", "console"))
    for root in map(Path, redteam.__path__):
        yield from (root / name for name in ("attacks", "defenses", "watermark") if (root / name / "__init__.py").is_file())


def _row(sample: Sample) -> list[Any]:
    return [sample.id, sample.label, sample.group, sample.height, sample.width, sample.content]


def _portable(params: dict[str, Any]) -> dict[str, Any]:
    """A target's settings without the places of files, whose contents the fingerprint holds."""
    kept = {name: value for name, value in params.items() if name not in ("folder", "path")}
    return kept | ({"weights": {"key": kept["weights"]["key"]}} if kept.get("weights") else {})


def _gate(gate: Gate) -> dict[str, Any]:
    return {"metric": gate.metric, "where": gate.where, "require": list(gate.require), "on": gate.on, "min_n": gate.min_n}
