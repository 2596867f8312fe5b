"""Begins a run or opens it again: scenario first on disk, then torch, then the lock that later runs must match."""

from __future__ import annotations

import datetime
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import redteam
from redteam.run.ledger import RunDir

if TYPE_CHECKING:
    from redteam.scenario.plan import Options, Plan


class Changed(Exception):
    """What a run depends on is not what it was when the run began; `parts` names what differs."""

    def __init__(self, parts: list[str]) -> None:
        self.parts = parts
        super().__init__(f"inputs changed since the run began: {', '.join(parts)}; start a new run, or restore them")


def begin(path: Path, scenario: Path, options: dict[str, Any]) -> RunDir:
    """Make the run directory and put the scenario into it; nothing heavy has been imported yet. Raises FileExistsError."""
    run_dir = RunDir(path)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise FileExistsError(f"{path} exists and is not empty; `redteam resume {path}` goes on with a run, another -o starts a new one")
    run_dir.create()
    shutil.copyfile(scenario, run_dir.scenario)
    now = datetime.datetime.now(datetime.UTC)
    status = {"id": path.name, "status": "planned", "redteam": redteam.__version__, "started": now.isoformat(timespec="seconds"), "elapsed_s": 0.0}
    run_dir.write_json("run.json", status | {"folder": str(scenario.parent.resolve()), "source": scenario.name, "options": options})
    return run_dir


def reopen(run_dir: RunDir) -> Plan:
    """The plan of a run from its own copy of the scenario. Raises ScenarioError and what planning raises."""
    from redteam.scenario.load import load
    from redteam.scenario.plan import Options, make_plan

    run = run_dir.read_json("run.json")
    if run is None:
        raise FileNotFoundError(f"{run_dir.path} holds no run.json; it is not a run directory")
    scenario, _ = load(run_dir.scenario, folder=Path(run["folder"]))
    return make_plan(scenario, Options(**run["options"]))


def lock(run_dir: RunDir, plan: Plan) -> None:
    """Write the lock and the plan of a new run, or compare with those of an old one. Raises Changed."""
    from redteam.scenario.plan import changed
    from redteam.seeding import canonical

    before = run_dir.read_json("scenario.lock.json")
    if before is not None:
        if parts := changed(before, plan.lock):
            raise Changed(parts)
        return
    rows = [canonical({"key": unit.key, "target": unit.target, "defense": unit.defense, "cell": unit.cell, "images": plan.images_of(unit)}) for unit in plan.units]
    from redteam.run.ledger import write_whole

    write_whole(run_dir.path / "plan.jsonl", "".join(f"{row}\n" for row in rows).encode())
    run_dir.write_json("scenario.lock.json", plan.lock)


def options_of(options: Options) -> dict[str, Any]:
    """Options as run.json keeps them."""
    return asdict(options)


def discard(run_dir: RunDir) -> None:
    """Remove a run that never began: its scenario had mistakes. Only what `begin` made is removed."""
    for name in ("scenario.yaml", "run.json", "log.txt", ".lock"):
        (run_dir.path / name).unlink(missing_ok=True)
    for folder in (run_dir.path / "units", run_dir.path / "artifacts", run_dir.path):
        try:
            folder.rmdir()
        except OSError:
            return  # something else lies in it: leave it
