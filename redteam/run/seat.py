"""One place for a worker and what it has in hand: starts it again where it was lost, and learns from hangs and crashes which image was to blame."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from redteam.run.child import LOADING_S, Worker, WorkerLost
from redteam.run.errors import WorkerFailed
from redteam.run.ledger import RunDir
from redteam.run.troubles import DIED, HUNG, Troubles
from redteam.scenario.plan import Plan, Unit

RESTARTS = 3  # of a worker that ends before it is ready
SPARED = 3  # deaths by a signal from outside that a unit survives before anyone is suspected


@dataclass
class Task:
    """A unit that is being computed, and what it has cost so far.

    spared: workers that were killed from outside while they had it
    """

    unit: Unit
    troubles: Troubles = field(default_factory=Troubles)
    spared: int = 0


class Seat:
    """A worker, and another one when it is lost.

    task: what it has in hand
    last: the unit before; its images and its target are loaded
    lost: how many workers were lost with a unit in hand
    """

    def __init__(self, plan: Plan, run_dir: RunDir, begin: Callable[[], Worker]) -> None:
        self._plan, self._dir, self._begin = plan, run_dir, begin
        self._worker: Worker | None = None
        self._ready = False
        self._failed = 0
        self.task: Task | None = None
        self.last: Unit | None = None
        self.lost = 0

    @property
    def idle(self) -> bool:
        """Whether it waits for a unit."""
        return self._ready and self.task is None

    @property
    def left_s(self) -> float:
        """Seconds until its silence is too long."""
        return self._patience() - self._worker.silent_s

    def fileno(self) -> int:
        """What to wait on until there are news."""
        return self._worker.fileno()

    def start(self) -> None:
        """Have a worker. Raises WorkerFailed where none comes up."""
        while self._worker is None:
            try:
                self._worker = self._begin()
            except WorkerLost as lost:
                self._failed_to_start(lost)

    def give(self, unit: Unit) -> None:
        """Have a unit computed, however many workers it costs."""
        self.task = Task(unit)
        self._send()

    def finish(self) -> Unit:
        """The unit that it had in hand, now that it is there."""
        self.task, self.last = None, self.task.unit
        return self.last

    def news(self) -> list[dict[str, Any]]:
        """What became of its unit, as far as it is known; raises WorkerFailed where no worker comes up any more."""
        try:
            found = [event for event in self._worker.news() if self._speaks_of_unit(event)]
            if self.left_s < 0:
                raise WorkerLost(f"no sign of life for {self._patience():g} s", hung=True)
        except WorkerLost as lost:
            self._replace(lost)
            return []
        return found

    def end(self) -> None:
        """End the worker, whatever it is doing."""
        if self._worker is not None:
            self._worker.stop()
        self._worker, self._ready = None, False

    def _speaks_of_unit(self, event: dict[str, Any]) -> bool:
        if event["event"] == "failed":
            raise WorkerFailed(f"the worker could not start: {event['message']}; log.txt in the run directory says more")
        if event["event"] == "ready":
            self._ready, self._failed = True, 0
            if self.task is not None:
                self._send()
        return event["event"] not in ("ready", "at")

    def _send(self) -> None:
        self._worker.send({"unit": self.task.unit.key, "troubles": self.task.troubles.to_json()})

    def _replace(self, lost: WorkerLost) -> None:
        worker, began = self._worker, not self._ready
        self.end()
        if began:
            self._failed_to_start(lost)
        elif self.task is not None:
            self.lost += 1
            if lost.from_outside and self.task.spared < SPARED:
                self.task.spared += 1
            else:
                self._learn(self.task, worker, lost)
        self.start()

    def _failed_to_start(self, lost: WorkerLost) -> None:
        self._failed += 1
        if self._failed == RESTARTS:
            raise WorkerFailed(f"the worker ended {RESTARTS} times before it was ready ({lost.detail}); log.txt in the run directory says more") from lost

    def _patience(self) -> float:
        """Seconds without a sign of life: the sample's time-out for each image that is being worked on."""
        limit = self._plan.scenario.limits.sample_timeout_s
        loading = max(limit, LOADING_S)
        if not self._ready:
            return LOADING_S
        if self.task is None:
            return math.inf
        unit, batch = self.task.unit, self._worker.batch
        if batch is None:
            return loading
        if unit.shard is None:
            return min(loading, limit * self._plan.options.micro_batch)
        return limit if self._worker.image is not None else limit * len(unit.batches[batch])

    def _learn(self, task: Task, worker: Worker, lost: WorkerLost) -> None:
        status = HUNG if lost.hung else DIED
        if task.unit.shard is None:
            if task.troubles.bare:
                self._give_up(task.unit, lost)
            task.troubles.bare = True  # try once more without the looks that a run can do without
            return
        reason = f"no answer within {self._plan.scenario.limits.sample_timeout_s:g} s" if lost.hung else f"the worker died on this image: {lost.detail}"
        if not task.troubles.suspect(worker.batch, worker.image, status, reason):
            task.troubles.blame((s.id for s in task.unit.samples), status, f"the worker was lost before it reached this image: {lost.detail}")

    def _give_up(self, preparation: Unit, lost: WorkerLost) -> None:
        """The target itself is to blame. Its preparation says so, and its cells follow."""
        what = "hung" if lost.hung else "died"
        sentence = f"{preparation.target} could not be prepared: the worker {what} while it loaded or calibrated it ({lost.detail})"
        self._dir.write_unit(preparation.key, [json.dumps({"error": sentence}, sort_keys=True)])
