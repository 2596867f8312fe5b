"""Computes a plan in this process, without a worker: for a program that holds its own model and images. Nothing watches it."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable

import redteam
from redteam.run import opening
from redteam.run.environment import describe, quiet
from redteam.run.errors import Refused
from redteam.run.executing import Executor
from redteam.run.finalising import Closing, finalise
from redteam.run.ledger import RunDir
from redteam.run.session import Clock
from redteam.scenario.lock import lock_digest
from redteam.scenario.plan import Plan

Tell = Callable[[int, int], None]  # units that are finished, of so many


def compute(plan: Plan, run_dir: RunDir, command: str, tell: Tell) -> Closing:
    """Everything that a run directory holds but the scenario; `command` is what made it. Raises Stop, Refused where a target cannot be prepared."""
    began = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    run_dir.create()
    run_dir.write_json(opening.RUN, {"id": run_dir.path.name, "redteam": redteam.__version__, "started": began, "elapsed_s": 0.0, "command": command})
    opening.lock(run_dir, plan)
    run_dir.write_json("env.json", describe(plan.options.device, plan.options.threads))
    with Clock(run_dir, lock_digest(plan.lock)) as clock, quiet():
        executor = Executor(plan, run_dir)
        for done, unit in enumerate(plan.execution_order()):
            tell(done, len(plan.units))
            executor.run(unit)
            if unit.shard is None and "error" in (facts := json.loads(run_dir.read_unit(unit.key)[0])):
                raise Refused(facts["error"])
        tell(len(plan.units), len(plan.units))
        closing = finalise(plan, run_dir)
        clock.status = closing.summary["status"]
    return closing
