"""The coordinator's end of a process that has torch loaded and forks workers from itself: torch is imported once, however many workers there are."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any, BinaryIO

from redteam.run import opening
from redteam.run.child import LOADING_S, Start, Worker, WorkerLost, environment, start
from redteam.run.ledger import RunDir


@contextlib.contextmanager
def starting(run_dir: RunDir) -> Iterator[Start]:
    """How the workers of a run begin: forked, or each by itself where that is not safe, as with a driver that knows nothing of forks. Raises Refused."""
    told = opening.told(run_dir)
    if sys.platform != "linux" or told["options"].get("device", "cpu") != "cpu":
        yield Worker
        return
    with Nursery() as nursery:
        nursery.open(run_dir, environment([Path(told["folder"]), *map(Path, told.get("beside", ()))], told["options"].get("threads", 1)))
        yield nursery.worker


class Nursery:
    """Starts workers; a context manager, at whose end the forking process ends and no worker is left."""

    def __init__(self) -> None:
        self._server: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Nursery:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def worker(self, run_dir: RunDir, environment: dict[str, str]) -> Worker:
        """A worker that is forked from the process that has everything loaded."""
        self.open(run_dir, environment)
        try:
            return _NursedWorker(self._line, run_dir, environment)
        except WorkerLost:
            self._stop()  # it is ending: do not ask it again
            raise

    def open(self, run_dir: RunDir, environment: dict[str, str]) -> None:
        """Start the process that forks, unless it lives; it loads while its caller does something else."""
        if self._server is None or self._server.poll() is not None:
            self._stop()
            self._line, other = socket.socketpair()
            with other:
                self._server = start("redteam.run.forking", run_dir, environment, other.fileno())

    def _stop(self) -> None:
        if self._server is not None:
            self._line.close()
            self._server.kill()
            self._server.wait()
            self._server.stdin.close()
            self._server = None


class _NursedWorker(Worker):
    """A worker that somebody else forks."""

    def __init__(self, line: socket.socket, *where: Any) -> None:
        self._line = line
        super().__init__(*where)

    def _start(self, run_dir: RunDir, environment: dict[str, str], events: int) -> Forked:
        commands, writer = os.pipe()
        reader, status = os.pipe()
        try:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # then the other end of `reader` is closed, and that is noticed
                socket.send_fds(self._line, [b"w"], [commands, events, status])
        finally:
            for descriptor in (commands, status):
                os.close(descriptor)
        return Forked(os.fdopen(writer, "wb"), os.fdopen(reader, "rb", buffering=0))


class Forked:
    """Somebody else's child, waited for as subprocess.Popen is: a pipe brings its number, and in the end its exit status."""

    def __init__(self, stdin: BinaryIO, reports: BinaryIO) -> None:
        self.stdin, self._reports = stdin, reports
        self._said = b""
        self._code: int | None = None
        try:
            self.pid = int(self._next(LOADING_S).removeprefix(b"is "))  # not a number where it ended before it could say so
        except BaseException as error:
            stdin.close()
            reports.close()
            if isinstance(error, (ValueError, subprocess.TimeoutExpired)):
                raise WorkerLost("the process that forks workers ended", hung=False) from error
            raise

    def wait(self, timeout: float | None = None) -> int:
        """Its exit status, minus the signal where one killed it; raises subprocess.TimeoutExpired."""
        if self._code is None:
            self._code = int(self._next(timeout).removeprefix(b"ended ") or -signal.SIGKILL)  # no word: it died with the process that forked it
            self._reports.close()
        return self._code

    def _next(self, timeout: float | None) -> bytes:
        """The next line; nothing where there will be none."""
        while b"\n" not in self._said:
            if not wait([self._reports], timeout):
                raise subprocess.TimeoutExpired("forked worker", timeout)
            if not (chunk := self._reports.read(64)):
                return b""
            self._said += chunk
        line, _, self._said = self._said.partition(b"\n")
        return line
