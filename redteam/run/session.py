"""A run from its plan to its summary: what `redteam run` and `redteam resume` do once the run directory is there and held."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from redteam.run import gates, opening
from redteam.run.child import Start
from redteam.run.coordinator import Coordinator, Progress
from redteam.run.cores import workers_for
from redteam.run.environment import check_device, describe
from redteam.run.errors import Exit, StorageError
from redteam.run.finalising import Closing, finalise
from redteam.run.ledger import RunDir
from redteam.run.nursery import starting
from redteam.scenario.lock import lock_digest
from redteam.scenario.plan import Plan

if TYPE_CHECKING:
    from redteam.scenario.errors import Problem


@dataclass(frozen=True)
class Watch:
    """Who is told what while a run goes on.

    planned:  the plan and the scenario's warnings, before anything is computed
    progress: each time the run comes to another unit
    """

    planned: Callable[[Plan, list[Problem]], None] = lambda plan, warnings: None
    progress: Callable[[Progress], None] = lambda progress: None


@dataclass(frozen=True)
class Ended:
    """A finished session.

    closing: summary and gates
    code:    the exit status that says it
    """

    closing: Closing
    code: Exit


def go(run_dir: RunDir, watch: Watch = Watch(), start: Start | None = None, *, workers: int | None = None) -> Ended:
    """Plan, lock, compute what is missing and finalise; the caller holds the run. How workers start and how many is chosen unless it is given. Raises Stop."""
    with _starting(run_dir, start) as begin:
        plan, warnings = opening.reopen(run_dir)
        check_device(plan.options.device)
        opening.lock(run_dir, plan)
        watch.planned(plan, warnings)
        run_dir.sweep()
        run_dir.write_json("env.json", describe(plan.options.device, plan.options.threads))
        with Clock(run_dir, lock_digest(plan.lock)) as clock:
            Coordinator(plan, run_dir, watch.progress, begin, workers or workers_for(plan)).run()
            run_dir.sweep()
            closing = finalise(plan, run_dir)
            clock.status = closing.summary["status"]
    return Ended(closing, exit_code(closing))


@dataclass(frozen=True)
class Worked:
    """What one more process did for a run.

    computed: units, of `units`
    """

    computed: int
    units: int


def work(run_dir: RunDir, watch: Watch = Watch(), start: Start | None = None, *, workers: int | None = None) -> Worked:
    """Compute units of a run that somebody else holds, until all are there. Raises Stop."""
    with _starting(run_dir, start) as begin:
        plan, warnings = opening.join(run_dir)
        check_device(plan.options.device)
        watch.planned(plan, warnings)
        coordinator = Coordinator(plan, run_dir, watch.progress, begin, workers or workers_for(plan))
        coordinator.run()
    return Worked(coordinator.computed, len(plan.units))


def _starting(run_dir: RunDir, start: Start | None) -> contextlib.AbstractContextManager[Start]:
    return contextlib.nullcontext(start) if start else starting(run_dir)


def close(run_dir: RunDir) -> Ended:
    """Summary and gates of a run as far as it has come; the caller holds it. Raises Stop."""
    plan, _ = opening.reopen(run_dir)
    opening.lock(run_dir, plan)
    closing = finalise(plan, run_dir)
    return Ended(closing, exit_code(closing))


def exit_code(closing: Closing) -> Exit:
    """4 when rows are missing or too many were lost, else what the gates say."""
    if closing.missing or closing.over_budget:
        return Exit.INCOMPLETE
    return gates.exit_code(closing.gates["gates"])


class Clock:
    """Keeps run.json's status and its elapsed time, which adds up over resumed sessions."""

    def __init__(self, run_dir: RunDir, lock: str) -> None:
        self._dir, self._lock = run_dir, lock
        self.status = "interrupted"

    def __enter__(self) -> Clock:
        self._started = time.monotonic()
        self._write("running")
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with contextlib.suppress(StorageError) if kind else contextlib.nullcontext():  # what went wrong first is what is said
            self._write(self.status)

    def _write(self, status: str) -> None:
        run = self._dir.read_json(opening.RUN) or {}
        now = time.monotonic()
        elapsed = run.get("elapsed_s", 0.0) + now - self._started
        self._dir.write_json(opening.RUN, run | {"status": status, "lock": self._lock, "elapsed_s": round(elapsed, 3)})
        self._started = now
