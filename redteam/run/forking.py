"""The process that loads torch and redteam once and forks a worker whenever it is asked to.

It starts no thread and touches no accelerator, so that what it forks can do both. multiprocessing's own would import the caller's main module again
in each worker, and would outlive a coordinator that is killed while a worker hangs.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import sys
from pathlib import Path

from redteam.run import worker
from redteam.run.ledger import RunDir
from redteam.run.opening import told


def main(arguments: list[str]) -> list[str]:
    """`python -m redteam.run.forking RUN_DIR SOCKET`. Returns in the workers alone, with what their main is called with."""
    worker.die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the coordinator decides
    line = socket.socket(fileno=int(arguments[1]))
    line.set_inheritable(False)
    _load(RunDir(Path(arguments[0])))
    bell, ringer = os.pipe()
    os.set_blocking(ringer, False)
    signal.set_wakeup_fd(ringer, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)  # what rings the bell when a child ends
    children: dict[int, int] = {}  # number -> where its end is reported
    while True:
        ready = select.select([line, bell], [], [])[0]
        if bell in ready:
            os.read(bell, 64)
            _bury(children)
        if line in ready:
            asked, given, *_ = socket.recv_fds(line, 1, 3)
            if not asked:
                sys.exit()  # the coordinator is gone; what is left of the workers goes with this process
            commands, events, reports = given
            child = os.fork()
            if child == 0:
                _leave([line.detach(), bell, ringer, *children.values()], commands, reports)
                return [arguments[0], str(events)]
            children[child] = reports
            os.close(commands)
            os.close(events)


def _load(run_dir: RunDir) -> None:
    """Import what workers need: the engine, and the components that the scenario names."""
    from redteam.run import environment, executing  # noqa: F401 - they stay loaded
    from redteam.scenario.load import load

    run = told(run_dir)
    load(run_dir.scenario, folder=Path(run["folder"]), sets=run["options"].get("sets", ()))


def _leave(descriptors: list[int], commands: int, reports: int) -> None:
    """What makes a forked process one of its own."""
    os.setsid()
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.dup2(commands, 0)
    os.write(reports, f"is {os.getpid()}\n".encode())
    for descriptor in (*descriptors, commands, reports):
        os.close(descriptor)


def _bury(children: dict[int, int]) -> None:
    """Report those that have ended."""
    for child in list(children):
        number, status = os.waitpid(child, os.WNOHANG)
        if number:
            reports = children.pop(child)
            with contextlib.suppress(BrokenPipeError):
                os.write(reports, f"ended {os.waitstatus_to_exitcode(status)}\n".encode())
            os.close(reports)


if __name__ == "__main__":
    worker.main(main(sys.argv[1:]))
