"""A run from its first byte to its summary: what `redteam run` and `redteam resume` do between the command line and the report."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from redteam.run import gates, opening
from redteam.run.coordinator import Coordinator, Progress, interruptible
from redteam.run.environment import check_device, describe
from redteam.run.finalising import Closing, finalise
from redteam.run.ledger import RunDir
from redteam.scenario.plan import Plan, lock_digest


@dataclass(frozen=True)
class Ended:
    """A finished session.

    closing: summary and gates
    code:    the exit status that says it
    """

    closing: Closing
    code: int


def go(run_dir: RunDir, report: Callable[[Progress], None], on_plan: Callable[[Plan], None] = lambda plan: None) -> Ended:
    """Plan, lock, compute what is missing and finalise; the scenario is on disk already. Raises Held, Changed and what planning raises."""
    with run_dir.hold(), interruptible():
        plan = opening.reopen(run_dir)
        check_device(plan.options.device)
        opening.lock(run_dir, plan)
        run_dir.write_json("env.json", describe(plan.options.device))
        on_plan(plan)
        with _Clock(run_dir, lock_digest(plan.lock)) as clock:
            Coordinator(plan, run_dir, report).run()
            closing = finalise(plan, run_dir)
            clock.status = closing.summary["status"]
    return Ended(closing, exit_code(closing))


def exit_code(closing: Closing) -> int:
    """4 when rows are missing or too many were lost, else what the gates say."""
    if closing.missing or closing.over_budget:
        return 4
    return gates.exit_code(closing.gates["gates"])


class _Clock:
    """Keeps run.json's status and its elapsed time, which adds up over resumed sessions."""

    def __init__(self, run_dir: RunDir, lock: str) -> None:
        self._dir, self._lock = run_dir, lock
        self.status = "interrupted"

    def __enter__(self) -> _Clock:
        self._started = time.monotonic()
        self._write("running")
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: Any) -> None:
        self._write(self.status)

    def _write(self, status: str) -> None:
        run = self._dir.read_json("run.json") or {}
        before = run.get("elapsed_s", 0.0)
        now = time.monotonic() - self._started
        self._dir.write_json("run.json", run | {"status": status, "lock": self._lock, "elapsed_s": round(before + now, 3)})
        self._started = time.monotonic()


def default_folder(name: str, stamp: str) -> Path:
    """Where a run goes when it is not told."""
    return Path("runs") / f"{name}-{stamp}"
