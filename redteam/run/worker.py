"""The process that loads torch and user code. It computes the units it is handed, one at a time, and dies with its parent.

A hang or a crash in here never takes the run with it: the coordinator watches from outside. Commands come as JSON lines on what was standard
input, events go to a file descriptor of their own, and whatever user code prints goes to the run's log.
"""

from __future__ import annotations

import ctypes
import json
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from redteam.run.errors import Missing, StorageError
from redteam.run.ledger import RunDir
from redteam.run.troubles import Troubles

if TYPE_CHECKING:
    from redteam.run.executing import Executor
    from redteam.scenario.plan import Plan

PR_SET_PDEATHSIG = 1  # linux/prctl.h

Tell = Callable[..., None]


def main(arguments: list[str]) -> NoReturn:
    """`python -m redteam.run.worker RUN_DIR EVENT_FD`."""
    die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the coordinator decides
    run_dir, tell = RunDir(Path(arguments[0])), _line_to_parent(int(arguments[1]))
    commands = _commands()
    try:
        plan, executor = _load(run_dir, tell)
    except Exception as error:
        tell(event="failed", message=f"{type(error).__name__}: {error}")
        raise
    tell(event="ready")
    while True:
        tell(**_answer(plan, executor, commands.get()))


def _load(run_dir: RunDir, tell: Tell) -> tuple[Plan, Executor]:
    """Import torch and plan again from what is on disk."""
    import torch

    from redteam.run.environment import quiet_torch
    from redteam.run.executing import Executor
    from redteam.run.opening import reopen

    quiet_torch()
    plan, _ = reopen(run_dir)
    torch.set_num_threads(plan.options.threads)
    return plan, Executor(plan, run_dir, beat=lambda batch=None, image=None: tell(event="at", batch=batch, image=image))


def _answer(plan: Plan, executor: Executor, command: dict[str, Any]) -> dict[str, Any]:
    from redteam.run.executing import timed

    unit = plan.unit(command["unit"])
    if unit is None:  # the coordinator planned from other inputs
        return {"event": "changed"}
    try:
        return {"event": "done", **timed(executor, unit, Troubles.from_json(command["troubles"]))}
    except StorageError as error:
        return {"event": "storage", "message": str(error)}
    except Missing as error:
        return {"event": "missing", "message": str(error)}


def _line_to_parent(descriptor: int) -> Tell:
    os.set_inheritable(descriptor, False)  # a child of user code must not keep the line open after this process
    line = os.fdopen(descriptor, "w", buffering=1)

    def tell(**event: Any) -> None:
        line.write(json.dumps(event) + "\n")

    return tell


def _commands() -> queue.SimpleQueue[dict[str, Any]]:
    """What the coordinator says, read by a thread, so that its end ends this process even while it computes."""
    source = os.fdopen(os.dup(0), "rb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)  # user code that reads standard input must not take a command
    os.close(nothing)
    waiting: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()

    def read() -> None:
        for line in source:
            waiting.put(json.loads(line))
        os._exit(0)  # the coordinator is gone, or has said all

    threading.Thread(target=read, daemon=True).start()
    return waiting


def die_with_parent() -> None:
    """Ask the kernel for a kill when the parent dies; elsewhere than on Linux the reading thread does it."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    main(sys.argv[1:])
