"""A worker that is forked from this process instead of started: all of the real code but the imports, for thousands of restarts."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import BinaryIO

from redteam.run import worker
from redteam.run.child import Worker
from redteam.run.ledger import RunDir
from redteam.run.opening import LOG


class ForkedWorker(Worker):
    """Behaves as a started worker does: own session, own log, no inherited descriptors, dead with its parent."""

    def _start(self, run_dir: RunDir, environment: dict[str, str], events: int) -> Forked:
        reader, writer = os.pipe()
        pid = fork()
        if pid == 0:
            with contextlib.suppress(BaseException):
                _become_worker(run_dir, reader, events)
            os._exit(1)
        os.close(reader)
        return Forked(pid, os.fdopen(writer, "wb"))


class Forked:
    """A forked child, waited for as subprocess.Popen is."""

    def __init__(self, pid: int, stdin: BinaryIO) -> None:
        self.pid, self.stdin = pid, stdin
        self._code: int | None = None

    def wait(self, timeout: float | None = None) -> int:
        """Its exit status, minus the signal where one killed it; raises subprocess.TimeoutExpired."""
        deadline = time.monotonic() + (timeout if timeout is not None else 1e9)
        while self._code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self._code = os.waitstatus_to_exitcode(status)
            elif time.monotonic() > deadline:
                raise subprocess.TimeoutExpired("forked worker", timeout)
            else:
                time.sleep(0.002)
        return self._code


def fork() -> int:
    """os.fork without the warning about threads: torch's are idle, and the child runs on one."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def _become_worker(run_dir: RunDir, commands: int, events: int) -> None:
    os.setsid()
    os.dup2(commands, 0)
    log = os.open(run_dir.path / LOG, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    for name in os.listdir("/proc/self/fd"):  # the lock above all: a started worker does not have it either
        if int(name) > 2 and int(name) != events:
            with contextlib.suppress(OSError):
                os.close(int(name))
    sys.stdin, sys.stdout, sys.stderr = os.fdopen(0), os.fdopen(1, "w", buffering=1), os.fdopen(2, "w", buffering=1)
    worker.main([str(run_dir.path), str(events)])
