"""The coordinator's end of a worker process: starts it, talks to it, and notices when it is gone or silent."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import redteam
from redteam.run.ledger import RunDir, storing
from redteam.run.opening import LOG

FROM_OUTSIDE = (-signal.SIGKILL, -signal.SIGTERM)  # nobody's own fault: a person, or the kernel when memory is short
LOOK_S = 1.0  # between looks whether a silent worker still lives
DYING_S = 10  # between a worker's last word and its end
LOADING_S = 600  # without a word while torch is imported, a target loads or an attack learns; a slow disk is not a hang

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

    def __init__(self, run_dir: RunDir, environment: dict[str, str]) -> None:
        reader, writer = os.pipe()
        try:
            self._process = self._start(run_dir, environment, writer)
        except BaseException:
            os.close(reader)
            raise
        finally:
            os.close(writer)
        self._events = os.fdopen(reader, "rb", buffering=0)
        self._buffer = b""
        self._heard = self._looked = time.monotonic()
        self.batch: int | None = None
        self.image: str | None = None

    def _start(self, run_dir: RunDir, environment: dict[str, str], events: int) -> Process:
        return start("redteam.run.worker", run_dir, environment, events)

    @property
    def silent_s(self) -> float:
        """Seconds since it said something or was told something."""
        return time.monotonic() - self._heard

    def fileno(self) -> int:
        """What to wait on until there are news."""
        return self._events.fileno()

    def send(self, command: dict[str, Any]) -> None:
        """Hand over a command; a worker that is gone is noticed when its answer is awaited."""
        self.batch = self.image = None
        self._heard = time.monotonic()
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(command).encode() + b"\n")
            self._process.stdin.flush()

    def news(self) -> list[dict[str, Any]]:
        """The events that nobody has heard yet, without waiting for any; raises WorkerLost once it has ended and all is heard."""
        if wait([self], 0):
            self._hear()
        elif time.monotonic() - self._looked > LOOK_S:  # a child of user code may hold the line open
            self._looked = time.monotonic()
            if self._ended(0):
                raise self._loss(0)
        *lines, self._buffer = self._buffer.split(b"\n")
        return [self._told(json.loads(line)) for line in lines]

    def _told(self, event: dict[str, Any]) -> dict[str, Any]:
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
        self._heard = time.monotonic()

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


Start = Callable[[RunDir, dict[str, str]], Worker]  # how a worker begins, in this environment


def start(module: str, run_dir: RunDir, environment: dict[str, str], descriptor: int) -> subprocess.Popen[bytes]:
    """`python -m MODULE RUN_DIR DESCRIPTOR` in a session of its own, its output in the run's log; the working directory cannot matter (-P)."""
    log = run_dir.path / LOG
    command = [sys.executable, "-P", "-u", "-m", module, str(run_dir.path.resolve()), str(descriptor)]
    with storing(log), open(log, "ab") as out:
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=out, stderr=out, pass_fds=(descriptor,), env=environment, start_new_session=True)


def environment(folders: Sequence[Path], threads: int) -> dict[str, str]:
    """Of a worker. User code finds its neighbours, and the worker finds this redteam even where it is not installed. A user's own settings stay, but for threads."""
    root = Path(redteam.__file__).parent.parent
    path = os.pathsep.join(filter(None, [*map(str, folders), os.environ.get("PYTHONPATH"), str(root)]))
    return DEFAULTS | os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": str(threads)}
