"""Reading a run directory: what stands in it, and a sentence for each thing that is missing or broken."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from redteam.reports.rows import Rows, read_rows

SUMMARY_SCHEMA = "redteam.summary/"
NAMED = ("data", "target", "defense", "attack")  # a cell without them cannot be placed in any table

Json = Mapping[str, Any]


class RunDirectoryError(ValueError):
    """The directory holds no summary that a report could be made from."""


@dataclass(frozen=True)
class RunDirectory:
    """What a run left behind.

    path:     the directory
    summary:  summary.json, checked for its schema and the ids of its cells
    gates:    the entries of gates.json; None where the file is missing or broken
    run:      run.json, or empty
    env:      env.json, or empty
    lock:     SHA-256 of scenario.lock.json; None where there is none
    problems: one sentence for each file that is missing or broken
    """

    path: Path
    summary: Json
    gates: tuple[Json, ...] | None
    run: Json
    env: Json
    lock: str | None
    problems: tuple[str, ...]

    @property
    def complete(self) -> bool:
        """Whether every planned unit is in the figures."""
        return self.summary.get("status") == "complete"

    @cached_property
    def rows(self) -> Rows:
        """The records, read when they are first asked for."""
        return read_rows(self.path / "results.jsonl", frozenset(str(cell.get("key")) for cell in self.summary["cells"] if cell.get("control")))


def read_run(path: Path) -> RunDirectory:
    """The directory of a run, finished or not.

    Raises:
        RunDirectoryError: summary.json is missing, broken, or of a schema that this version does not know.
    """
    path = Path(path)
    problems: list[str] = []
    summary = read_summary(path)
    gates = _optional(path, "gates.json", problems)
    run, env = _optional(path, "run.json", problems), _optional(path, "env.json", problems)
    entries = gates.get("gates") if gates is not None else None
    if gates is not None and not _is_table(entries):
        problems.append("gates.json is broken: its `gates` must be a list of objects.")
        entries = None
    lock = path / "scenario.lock.json"
    sha = hashlib.sha256(lock.read_bytes()).hexdigest() if lock.is_file() else None
    if sha is None:
        problems.append("scenario.lock.json is missing: the inputs of this run cannot be checked.")
    return RunDirectory(path, summary, None if entries is None else tuple(entries), run or {}, env or {}, sha, tuple(problems))


def read_summary(path: Path) -> Json:
    """summary.json of a run directory, with a place for every list that the reports walk."""
    file = path / "summary.json"
    try:
        summary = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RunDirectoryError(f"{file}: must exist, got nothing; finish or resume the run first") from None
    except (OSError, ValueError) as error:
        raise RunDirectoryError(f"{file}: must be JSON, got {error}; resume the run to write it again") from None
    if not isinstance(summary, dict) or not str(summary.get("schema")).startswith(SUMMARY_SCHEMA):
        schema = summary.get("schema") if isinstance(summary, dict) else type(summary).__name__
        raise RunDirectoryError(f"{file}: schema must be {SUMMARY_SCHEMA}1, got {schema!r}; use the version of redteam that wrote it")
    cells = summary.get("cells")
    if not _is_table(cells) or not all(isinstance(cell.get(name), str) for cell in cells for name in NAMED):
        raise RunDirectoryError(f"{file}: cells must be a list of objects with {', '.join(NAMED)}, got another shape; resume the run to write it again")
    empty = {name: [] for name in ("data", "targets", "thresholds", "defenses", "worst_case")}
    return {**empty, "scenario": "unnamed", "status": "incomplete", "file": {}, **summary}


def inside(run: RunDirectory, relative: str) -> Path | None:
    """The file of the run directory that a record names; None where the name leads out of the directory."""
    try:
        path = (run.path / relative).resolve()
    except (OSError, ValueError):
        return None
    return path if path.is_relative_to(run.path.resolve()) else None


def _optional(path: Path, name: str, problems: list[str]) -> Json | None:
    try:
        value = json.loads((path / name).read_text(encoding="utf-8"))
    except FileNotFoundError:
        problems.append(f"{name} is missing.")
        return None
    except (OSError, ValueError):
        problems.append(f"{name} is broken and was not used.")
        return None
    if not isinstance(value, dict):
        problems.append(f"{name} is broken: it must hold an object.")
        return None
    return value


def _is_table(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(entry, dict) for entry in value)
