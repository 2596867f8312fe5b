"""The coordinator's end of a worker process: starts it, talks to it, and notices when it is gone or silent."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import redteam
from redteam.run.ledger import RunDir, storing
from redteam.run.opening import LOG

FROM_OUTSIDE = (-signal.SIGKILL, -signal.SIGTERM)  # nobody's own fault: a person, or the kernel when memory is short
LOOK_S = 1.0  # between looks whether a silent worker still lives
DYING_S = 10  # between a worker's last word and its end

DEFAULTS = {  # of a worker's environment, where the user has not set them
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",  # repeatable products on CUDA
    "OPENBLAS_NUM_THREADS": "1",  # numpy's matrices are small: its threads would spin beside torch's
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),  # glibc: keep freed activations for the next step instead of having the kernel
    "MALLOC_TRIM_THRESHOLD_": str(512 << 20),  # zero fresh pages each time: a gradient takes 16 % less CPU time on a small network
}


class WorkerLost(Exception):
    """The worker ended (`hung` False) or said nothing for too long; `code` is its exit status where it ended."""

    def __init__(self, detail: str, *, hung: bool, code: int | None = None) -> None:
        self.hung, self.code, self.detail = hung, code, detail
        super().__init__(detail)

    @property
    def from_outside(self) -> bool:
        """Whether something else than its own code killed it."""
        return self.code in FROM_OUTSIDE


class Process(Protocol):
    """What is asked of a child process."""

    pid: int
    stdin: BinaryIO

    def wait(self, timeout: float | None = None) -> int:
        """Its exit status, minus the signal where one killed it."""


class Worker:
    """One child process and the last that was heard of it.

    batch, image: what it is working on, once it has said so; both None while it loads or prepares
    """

    def __init__(self, run_dir: RunDir, folder: Path) -> None:
        reader, writer = os.pipe()
        try:
            self._process = self._start(run_dir, folder, writer)
        except BaseException:
            os.close(reader)
            raise
        finally:
            os.close(writer)
        self._events = os.fdopen(reader, "rb", buffering=0)
        self._buffer = b""
        self.batch: int | None = None
        self.image: str | None = None

    def _start(self, run_dir: RunDir, folder: Path, events: int) -> Process:
        log = run_dir.path / LOG
        command = [sys.executable, "-P", "-u", "-m", "redteam.run.worker", str(run_dir.path.resolve()), str(events)]  # -P: the working directory cannot matter
        with storing(log), open(log, "ab") as out:
            return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=out, stderr=out, pass_fds=(events,), env=_environment(folder), start_new_session=True)

    def send(self, command: dict[str, Any]) -> None:
        """Hand over a command; a worker that is gone is noticed when its answer is awaited."""
        self.batch = self.image = None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(command).encode() + b"\n")
            self._process.stdin.flush()

    def next(self, patience_s: float) -> dict[str, Any]:
        """The next event; raises WorkerLost when none comes within `patience_s` or the worker ends."""
        deadline = time.monotonic() + patience_s
        while b"\n" not in self._buffer:
            left = deadline - time.monotonic()
            if left <= 0:
                raise WorkerLost(f"no sign of life for {patience_s:g} s", hung=True)
            if select.select([self._events], [], [], min(left, LOOK_S))[0]:
                self._hear()
            elif self._ended(0):  # a child of user code may hold the line open
                raise self._loss(0)
        line, _, self._buffer = self._buffer.partition(b"\n")
        event = json.loads(line)
        if event["event"] == "at":
            self.batch, self.image = event["batch"], event["image"]
        return event

    def stop(self) -> None:
        """End the process and its own children, whatever they are doing."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        self._events.close()

    def _hear(self) -> None:
        chunk = self._events.read(65536)
        if not chunk:
            raise self._loss(DYING_S)
        self._buffer += chunk

    def _ended(self, patience_s: float) -> bool:
        try:
            self._process.wait(patience_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    def _loss(self, patience_s: float) -> WorkerLost:
        if not self._ended(patience_s):
            return WorkerLost("it closed its line but did not end", hung=True)
        code = self._process.wait()
        how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
        return WorkerLost(how, hung=False, code=code)


def _environment(folder: Path) -> dict[str, str]:
    """User code finds its neighbours, and the worker finds this redteam even where it is not installed. A user's own settings stay."""
    root = Path(redteam.__file__).parent.parent
    path = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH"), str(root)]))
    return DEFAULTS | os.environ | {"PYTHONPATH": path}
