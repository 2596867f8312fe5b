"""Hands units to one worker, watches it, and learns from its hangs and crashes which image was to blame."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from redteam.run.child import Worker, WorkerLost
from redteam.run.errors import Changed, Missing, StorageError, WorkerFailed
from redteam.run.ledger import RunDir
from redteam.run.troubles import DIED, HUNG, Troubles
from redteam.scenario.plan import Plan, Unit

LOADING_S = 600  # without a word while a worker starts, a target loads or an attack learns; a slow disk is not a hang
RESTARTS = 3  # of a worker that ends before it is ready
SPARED = 3  # deaths by a signal from outside that a unit survives before anyone is suspected

Start = Callable[[RunDir, Path], Worker]


@dataclass
class Progress:
    """What the command line shows while a run goes on."""

    done: int
    total: int
    label: str
    restarts: int


class Coordinator:
    """Runs all units of a plan that are not there yet; the caller holds the run's lock."""

    def __init__(self, plan: Plan, run_dir: RunDir, report: Callable[[Progress], None] = lambda progress: None, start: Start = Worker) -> None:
        self._plan, self._dir, self._report, self._start = plan, run_dir, report, start
        self._worker: Worker | None = None
        self._restarts = 0

    def run(self) -> None:
        """Compute what is missing. Raises StorageError, WorkerFailed, Missing or Changed."""
        missing = [unit for unit in self._plan.execution_order() if self._dir.read_unit(unit.key) is None]
        total = len(self._plan.units)
        try:
            for done, unit in enumerate(missing, total - len(missing)):
                self._report(Progress(done, total, self._label(unit), self._restarts))
                self._finish(unit)
            self._report(Progress(total, total, "", self._restarts))
        finally:
            self._end_worker()

    def _finish(self, unit: Unit) -> None:
        """Have a unit computed, however many workers it costs."""
        troubles, spared = Troubles(), 0
        while True:
            worker = self._living()
            worker.send({"unit": unit.key, "troubles": troubles.to_json()})
            try:
                return self._await(worker, unit)
            except WorkerLost as lost:
                self._restarts += 1
                self._end_worker()
                if lost.from_outside and spared < SPARED:
                    spared += 1
                else:
                    self._learn(unit, troubles, worker, lost)

    def _await(self, worker: Worker, unit: Unit) -> None:
        while True:
            event = worker.next(self._patience(worker, unit))
            match event["event"]:
                case "done":
                    return self._dir.append("perf.jsonl", {**event, "device": self._plan.options.device})
                case "storage":
                    raise StorageError(event["message"])
                case "missing":
                    raise Missing(event["message"])
                case "changed":
                    raise Changed("inputs changed while the run was going on; put back what was there, or start a new run")

    def _patience(self, worker: Worker, unit: Unit) -> float:
        """Seconds without a sign of life: the sample's time-out for each image that is being worked on."""
        limit = self._plan.scenario.limits.sample_timeout_s
        loading = max(limit, LOADING_S)
        if worker.batch is None:
            return loading
        if unit.shard is None:
            return min(loading, limit * self._plan.options.micro_batch)
        return limit if worker.image is not None else limit * len(unit.batches[worker.batch])

    def _learn(self, unit: Unit, troubles: Troubles, worker: Worker, lost: WorkerLost) -> None:
        status = HUNG if lost.hung else DIED
        if unit.shard is None:
            if troubles.bare:
                self._give_up(unit, lost)
            troubles.bare = True  # try once more without the looks that a run can do without
            return
        reason = f"no answer within {self._plan.scenario.limits.sample_timeout_s:g} s" if lost.hung else f"the worker died on this image: {lost.detail}"
        if not troubles.suspect(worker.batch, worker.image, status, reason):
            troubles.blame((s.id for s in unit.samples), status, f"the worker was lost before it reached this image: {lost.detail}")

    def _give_up(self, preparation: Unit, lost: WorkerLost) -> None:
        """The target itself is to blame. Its preparation says so, and its cells follow."""
        what = "hung" if lost.hung else "died"
        sentence = f"{preparation.target} could not be prepared: the worker {what} while it loaded or calibrated it ({lost.detail})"
        self._dir.write_unit(preparation.key, [json.dumps({"error": sentence}, sort_keys=True)])

    def _living(self) -> Worker:
        """The worker, started where there is none."""
        failed = 0
        while self._worker is None:
            worker = self._start(self._dir, self._plan.scenario.folder)
            try:
                event = worker.next(LOADING_S)
                if event["event"] != "ready":
                    raise WorkerFailed(f"the worker could not start: {event.get('message')}; log.txt in the run directory says more")
                self._worker = worker
            except WorkerLost as lost:
                worker.stop()
                failed += 1
                if failed == RESTARTS:
                    raise WorkerFailed(f"the worker ended {failed} times before it was ready ({lost.detail}); log.txt in the run directory says more") from lost
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
