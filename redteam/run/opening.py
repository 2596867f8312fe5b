"""Begins a run or opens it again: scenario first on disk, then torch, then the lock that later runs must match."""

from __future__ import annotations

import contextlib
import datetime
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import redteam
from redteam.run.errors import Changed, Missing, Refused, StorageError
from redteam.run.ledger import RunDir, write_whole
from redteam.scenario.errors import ScenarioError
from redteam.scenario.layers import COPY, extended_file

if TYPE_CHECKING:
    from redteam.scenario.errors import Problem
    from redteam.scenario.plan import Plan

RUN, LOCK, PLAN, LOG = "run.json", "scenario.lock.json", "plan.jsonl", "log.txt"


def begin(path: Path, scenario: Path, options: dict[str, Any]) -> RunDir:
    """Make the run directory and put the scenario into it; nothing heavy has been imported yet. Raises Refused and StorageError."""
    run_dir = RunDir(path)
    try:
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            repair = f"`redteam resume {path}` goes on with that run, another -o starts a new one" if (path / RUN).is_file() else "give another -o"
            raise Refused(f"-o {path}: exists and is not empty; {repair}")
        run_dir.create()
        text, base = scenario.read_bytes(), _extended(scenario)
    except OSError as error:
        raise Refused(f"-o {path}: cannot be made ({error.filename}: {error.strerror or error}); give another -o") from error
    now = datetime.datetime.now(datetime.UTC)
    status = {"id": path.name, "status": "planned", "redteam": redteam.__version__, "started": now.isoformat(timespec="seconds"), "elapsed_s": 0.0}
    try:
        write_whole(run_dir.scenario, text)
        if base:
            write_whole(run_dir.path / COPY, base.read_bytes())
        beside = [str(base.absolute().parent)] if base else []
        kept = {"folder": str(scenario.absolute().parent), "beside": beside, "source": str(scenario), "options": options, "command": _command(scenario, options)}
        run_dir.write_json(RUN, status | kept)
    except StorageError as stop:
        stop.resumable = not discard(run_dir)
        raise
    return run_dir


def _command(scenario: Path, options: dict[str, Any]) -> list[str]:
    """What makes the same run again, as the report prints it."""
    import redteam.scenarios

    shipped = scenario.parent == Path(redteam.scenarios.__file__).parent
    command = ["redteam", "run", scenario.stem if shipped else str(scenario)]
    for name, value in options.items():
        flag = "--set" if name == "sets" else f"--{name.replace('_', '-')}"
        given = value if isinstance(value, (list, tuple)) else [] if value in (None, False) else [value]
        command += [part for item in given for part in ([flag] if item is True else [flag, str(item)])]
    return command


def _extended(scenario: Path) -> Path | None:
    """The file that a scenario extends, if it is there; whatever is wrong with it is said when the run is planned."""
    try:
        file = extended_file(scenario)
    except ScenarioError:
        return None
    return file if file and file.is_file() else None


def discard(run_dir: RunDir) -> bool:
    """Remove a run that never began, as when its scenario had mistakes; one that has a lock stays. Only what `begin` made is removed."""
    if (run_dir.path / LOCK).exists():
        return False
    for name in (run_dir.scenario.name, COPY, RUN, PLAN, LOG, ".lock"):
        (run_dir.path / name).unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # something else lies in it: leave it
        for folder in (run_dir.path / "units", run_dir.path / "artifacts", run_dir.path):
            folder.rmdir()
    return True


def reopen(run_dir: RunDir) -> tuple[Plan, list[Problem]]:
    """The plan of a run from its own copy of the scenario, and warnings. Raises Refused and Missing; Changed where the run was locked before."""
    locked = (run_dir.path / LOCK).is_file()
    try:
        run = told(run_dir)
        called = None if locked else run["source"]  # until it is locked, the user knows it by its own name
        return plan_of(run_dir.scenario, Path(run["folder"]), run["options"], name=called, read_data=not locked)
    except (KeyError, TypeError) as error:
        raise _foreign(run_dir, f"{type(error).__name__}: {error}") from error
    except Refused as stop:
        if locked:  # it could be planned when it began
            raise Changed(f"inputs changed since the run began; {stop}") from stop
        raise


def told(run_dir: RunDir) -> dict[str, Any]:
    """What `begin` wrote down: folder, source and options. Raises Refused."""
    try:
        run = run_dir.read_json(RUN)
    except json.JSONDecodeError as error:
        raise _foreign(run_dir, f"{type(error).__name__}: {error}") from error
    if run is None:
        raise Refused(f"{run_dir.path} holds no {RUN}; it is not a run directory")
    if isinstance(run, dict) and "command" in run and "folder" not in run:
        raise Refused(f"{run_dir.path} was made by {run['command']}, whose model and images are not kept; call it again")
    if not (isinstance(run, dict) and isinstance(run.get("folder"), str) and isinstance(run.get("options"), dict)):
        raise _foreign(run_dir, "folder and options are not there")
    return run


def _foreign(run_dir: RunDir, why: str) -> Refused:
    return Refused(f"{run_dir.path / RUN}: was not written by this version of redteam ({why}); start a new run")


def plan_of(scenario: Path, folder: Path | None, options: dict[str, Any], *, name: str | None = None, read_data: bool = True) -> tuple[Plan, list[Problem]]:
    """The plan of a scenario file, and warnings. Raises Refused for what the user wrote, Missing for what is not there.

    `read_data` looks for evaluation images in other roles; once a run is locked, the lock holds what was found.
    """
    with _sentences():
        from redteam.run.environment import check_device_name
        from redteam.scenario.load import load
        from redteam.scenario.plan import Options, make_plan

        chosen = Options(**options)
        check_device_name(chosen.device)
        read, warnings = load(scenario, folder=folder, name=name, sets=chosen.sets, read_data=read_data)
        return make_plan(read, chosen), warnings


@contextlib.contextmanager
def _sentences() -> Iterator[None]:
    """Failures that the user can mend as reasons to stop; all others are bugs and stay as they are."""
    from redteam.data.corpus import CorpusError
    from redteam.scenario.lock import Unusable
    from redteam.scenario.plan import PlanError

    try:
        yield
    except (ScenarioError, CorpusError, PlanError, Unusable) as error:
        raise Refused(str(error)) from error
    except FileNotFoundError as error:
        raise Missing(str(error)) from error


def lock(run_dir: RunDir, plan: Plan) -> None:
    """Write the lock and the plan of a new run, or compare with those of an old one. Raises Changed."""
    from redteam.scenario.lock import changed
    from redteam.seeding import canonical

    before = run_dir.read_json(LOCK)
    if before is not None:
        if parts := changed(before, plan.lock):
            raise Changed(f"inputs changed since the run began: {', '.join(parts)}; start a new run, or put back what was there")
        return
    rows = (canonical({"key": u.key, "target": u.target, "defense": u.defense, "cell": u.cell, "images": plan.images_of(u)}) for u in plan.units)
    write_whole(run_dir.path / PLAN, "".join(f"{row}\n" for row in rows).encode())
    run_dir.write_json(LOCK, plan.lock)


def join(run_dir: RunDir) -> tuple[Plan, list[Problem]]:
    """The plan of a run that was begun by somebody else, and warnings. Raises Refused, Missing and Changed."""
    if not (run_dir.path / LOCK).is_file():
        raise Refused(f"{run_dir.path}: is not planned yet; `redteam resume {run_dir.path}` plans it, and then others can join")
    plan, warnings = reopen(run_dir)
    lock(run_dir, plan)
    return plan, warnings


def is_run(path: Path) -> bool:
    """Whether a run was begun in a folder."""
    return (path / RUN).is_file()
