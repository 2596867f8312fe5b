"""Hands units to one worker, watches it, and learns from its hangs and crashes which image was to blame."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from redteam.run.ledger import RunDir, StorageError
from redteam.scenario.plan import Plan, Unit

LOADING_S = 600  # importing torch and planning again; far more than it takes, since a slow disk is not a hang
RESTARTS = 3  # of a worker that dies before it is ready


@dataclass
class Progress:
    """What the command line shows while a run goes on."""

    done: int
    total: int
    label: str
    images: int
    restarts: int


@dataclass
class Trouble:
    """What is known of a unit that killed or hung its worker."""

    alone: set[int] = field(default_factory=set)
    poisoned: dict[str, tuple[str, str]] = field(default_factory=dict)


class WorkerLost(Exception):
    """The worker died or hung; `hung` says which, `ready` whether it had begun to work."""

    def __init__(self, hung: bool, ready: bool, detail: str) -> None:
        self.hung, self.ready, self.detail = hung, ready, detail
        super().__init__(detail)


class Worker:
    """One child process and the last that was heard of it."""

    def __init__(self, run_dir: RunDir, folder: str) -> None:
        reader, writer = os.pipe()
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [folder, os.environ.get("PYTHONPATH")]))}  # user code finds its neighbours
        with open(run_dir.path / "log.txt", "ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "redteam.run.worker", str(run_dir.path.resolve()), str(writer)],
                stdin=subprocess.PIPE, stdout=log, stderr=log, pass_fds=(writer,), env=environment, start_new_session=True,
            )  # fmt: skip
        os.close(writer)
        self._events = os.fdopen(reader, "rb", buffering=0)
        self._buffer = b""
        self.ready = False
        self.batch: int | None = None
        self.image: str | None = None

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
            if left <= 0 or not select.select([self._events], [], [], left)[0]:
                raise WorkerLost(True, self.ready, f"no sign of life for {patience_s:g} s")
            chunk = self._events.read(65536)
            if not chunk:
                raise WorkerLost(False, self.ready, _ending(self._process.wait()))
            self._buffer += chunk
        line, _, self._buffer = self._buffer.partition(b"\n")
        event = json.loads(line)
        if event["event"] == "batch":
            self.batch, self.image = event["batch"], event["image"]
        self.ready |= event["event"] == "ready"
        return event

    def stop(self) -> None:
        """End the process, whatever it is doing."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        self._events.close()


class Coordinator:
    """Runs all units of a plan that are not there yet; the caller holds the run's lock."""

    def __init__(self, plan: Plan, run_dir: RunDir, report: Callable[[Progress], None] = lambda progress: None) -> None:
        self._plan, self._dir, self._report = plan, run_dir, report
        self._number = {unit.key: i for i, unit in enumerate(plan.units)}
        self._worker: Worker | None = None
        self._restarts = 0

    def run(self) -> None:
        """Compute what is missing. Raises StorageError where nothing can be written, RuntimeError where no worker comes up."""
        missing = [unit for unit in self._plan.execution_order() if self._dir.read_unit(unit.key) is None]
        done = len(self._plan.units) - len(missing)
        images = 0
        try:
            for unit in missing:
                self._report(Progress(done, len(self._plan.units), self._label(unit), images, self._restarts))
                images += self._finish(unit)
                done += 1
            self._report(Progress(done, len(self._plan.units), "", images, self._restarts))
        finally:
            self._end_worker()

    def _finish(self, unit: Unit) -> int:
        """Have a unit computed, however many workers it costs."""
        trouble = Trouble()
        while True:
            worker = self._living()
            worker.send({"unit": self._number[unit.key], "alone": sorted(trouble.alone), "poisoned": trouble.poisoned})
            try:
                return self._await(worker, unit)
            except WorkerLost as lost:
                self._restarts += 1
                self._end_worker()
                self._learn(unit, trouble, worker, lost)

    def _await(self, worker: Worker, unit: Unit) -> int:
        while True:
            event = worker.next(self._patience(worker, unit))
            match event["event"]:
                case "done":
                    self._dir.append("perf.jsonl", {**event, "device": self._plan.options.device})
                    return event["rows"]
                case "storage":
                    raise StorageError(event["message"])

    def _patience(self, worker: Worker, unit: Unit) -> float:
        """Seconds without a sign of life: the sample's time-out for each image that is being worked on."""
        limit = self._plan.scenario.limits.sample_timeout_s
        if worker.batch is None:
            return max(limit, LOADING_S)  # loading targets, models and images
        size = 1 if worker.image else max((len(batch) for batch in unit.batches), default=self._plan.options.micro_batch)
        return limit * size

    def _learn(self, unit: Unit, trouble: Trouble, worker: Worker, lost: WorkerLost) -> None:
        """First a micro-batch is suspected and run image by image, then an image is, and then it gets its row without being run."""
        status = "timeout" if lost.hung else "crash"
        if unit.shard is None and worker.batch is not None and not trouble.alone:
            trouble.alone.add(0)  # try once more without the looks that a run can do without
        elif worker.batch is None or unit.shard is None:
            self._blame_everyone(unit, trouble, status, lost)
        elif worker.image is None:
            trouble.alone.add(worker.batch)
        else:
            limit = self._plan.scenario.limits.sample_timeout_s
            trouble.poisoned[worker.image] = (status, f"no answer within {limit:g} s" if lost.hung else f"the worker died on this image: {lost.detail}")

    def _blame_everyone(self, unit: Unit, trouble: Trouble, status: str, lost: WorkerLost) -> None:
        """The worker died before any image: the target itself is to blame. Its preparation says so, and its cells follow."""
        preparation = unit if unit.shard is None else self._plan.prepare_of(unit)
        if self._dir.read_unit(preparation.key) is None:
            what = "hung" if lost.hung else "died"
            sentence = f"{unit.target} could not be prepared: the worker {what} while it loaded or calibrated it ({lost.detail})"
            self._dir.write_unit(preparation.key, [json.dumps({"error": sentence}, sort_keys=True)])
        else:
            trouble.poisoned |= {s.id: (status, f"the worker was lost before it reached this image: {lost.detail}") for batch in unit.batches for s in batch}

    def _living(self) -> Worker:
        """The worker, started where there is none."""
        failed = 0
        while self._worker is None:
            worker = Worker(self._dir, str(self._plan.scenario.folder))
            try:
                event = worker.next(LOADING_S)
                if event["event"] == "ready":
                    self._worker = worker
                    return worker
                raise RuntimeError(f"the worker could not start: {event.get('message')}; see log.txt in the run directory")
            except WorkerLost as lost:
                worker.stop()
                failed += 1
                if failed >= RESTARTS:
                    raise RuntimeError(f"the worker ended {failed} times before it was ready ({lost.detail}); see log.txt in the run directory") from lost
            except BaseException:
                worker.stop()
                raise
        return self._worker

    def _end_worker(self) -> None:
        if self._worker is not None:
            self._worker.stop()
            self._worker = None

    def _label(self, unit: Unit) -> str:
        if unit.cell is None:
            return f"prepare {unit.target} behind {unit.defense}"
        cell = self._plan.cells[unit.cell].cell
        return f"{cell.data} {cell.target} {cell.defense}: {cell.label}"


def _ending(code: int) -> str:
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """SIGTERM becomes KeyboardInterrupt, as Ctrl-C is; a second signal does not cut the saving short."""

    def interrupt(number: int, frame: Any) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
