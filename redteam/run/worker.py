"""The process that loads torch and user code. It computes the units it is handed, one at a time, and dies with its parent.

A hang or a crash in here never takes the run with it: the coordinator watches from outside. Commands come as JSON lines on standard input,
events go to a file descriptor of their own, and whatever user code prints goes to the run's log.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

PR_SET_PDEATHSIG = 1  # linux/prctl.h


def main(arguments: list[str]) -> None:
    """`python -m redteam.run.worker RUN_DIR EVENT_FD`."""
    _die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the coordinator decides
    run_dir, events = Path(arguments[0]), os.fdopen(int(arguments[1]), "w", buffering=1)

    def tell(**event: Any) -> None:
        events.write(json.dumps(event) + "\n")

    commands = _Commands()
    try:
        executor, units = _load(run_dir, tell)
    except Exception as error:
        tell(event="failed", message=f"{type(error).__name__}: {error}")
        raise
    tell(event="ready")
    _serve(executor, units, commands, tell)


def _load(run_dir: Path, tell: Any) -> tuple[Any, list[Any]]:
    """Import torch and plan again from what is on disk: the same plan, since the coordinator holds its lock."""
    from redteam.run.environment import quiet_torch
    from redteam.run.executing import Executor
    from redteam.run.ledger import RunDir
    from redteam.run.opening import reopen

    quiet_torch()
    directory = RunDir(run_dir)
    plan = reopen(directory)
    executor = Executor(plan, directory, beat=lambda batch, image: tell(event="batch", batch=batch, image=image))
    return executor, list(plan.units)


def _serve(executor: Any, units: list[Any], commands: _Commands, tell: Any) -> None:
    from redteam.run.executing import Troubles, timed
    from redteam.run.ledger import StorageError

    while (command := commands.next()) is not None:
        troubles = Troubles(command.get("alone", ()), command.get("poisoned"))
        try:
            report = timed(executor, units[command["unit"]], troubles)
        except StorageError as error:
            tell(event="storage", message=str(error))
            return
        tell(event="done", **report)


class _Commands:
    """Standard input, read by a thread, so that the end of the parent ends this process even while it computes."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._more = threading.Semaphore(0)
        threading.Thread(target=self._read, daemon=True).start()

    def next(self) -> dict[str, Any] | None:
        """The next command; None when there will be none."""
        self._more.acquire()
        return json.loads(self._lines.pop(0)) if self._lines else None

    def _read(self) -> None:
        for line in sys.stdin:
            self._lines.append(line)
            self._more.release()
        os._exit(0)  # the parent is gone, or has said all


def _die_with_parent() -> None:
    """Ask the kernel for a kill when the parent dies; elsewhere than on Linux the reading thread does it."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    main(sys.argv[1:])
