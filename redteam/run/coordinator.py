"""Hands units to workers, however many there are, and sees that each is computed once: by one of its own, or by another process on the same directory."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import wait
from typing import Any

from redteam.run.child import LOOK_S, Start, Worker, environment
from redteam.run.errors import Changed, Missing, StorageError, WorkerFailed
from redteam.run.leases import Leases
from redteam.run.ledger import RunDir
from redteam.run.schedule import Schedule
from redteam.run.seat import Seat
from redteam.scenario.plan import Plan, Unit


@dataclass
class Progress:
    """What the command line shows while a run goes on.

    done, total: units
    label:       what was begun last and goes on; empty when all is done
    restarts:    workers that were lost with a unit in hand
    workers:     that compute units
    """

    done: int
    total: int
    label: str
    restarts: int
    workers: int = 1


class Coordinator:
    """Has all units of a plan computed that are not there yet.

    computed: units that its own workers computed
    """

    def __init__(self, plan: Plan, run_dir: RunDir, report: Callable[[Progress], None] = lambda progress: None, start: Start = Worker, workers: int = 1) -> None:
        self._plan, self._dir, self._report = plan, run_dir, report
        self._begin = partial(start, run_dir, environment(plan.scenario.folders, plan.options.threads))
        self._leases = Leases(run_dir)
        missing = [unit for unit in plan.execution_order() if not self._is_there(unit)]
        self._schedule = Schedule(plan, missing)
        self._seats: list[Seat] = []
        self._workers = min(workers, len(missing))
        self._elsewhere: dict[str, Unit] = {}  # units that other processes compute
        self._looked = time.monotonic()
        self._dismissed = 0
        self.computed = 0

    def run(self) -> None:
        """Compute what is missing, and wait for what others compute. Raises StorageError, WorkerFailed, Missing or Changed."""
        try:
            for _ in range(self._workers):
                self._seats.append(Seat(self._plan, self._dir, self._begin))
                self._seats[-1].start()
            while self._schedule:
                for seat in self._seats:
                    self._occupy(seat)
                self._listen()
                self._look_around()
                self._leases.beat()
            self._tell("")
        finally:
            for seat in self._seats:
                seat.end()
            self._leases.close()

    def _occupy(self, seat: Seat) -> None:
        """Give a seat that is idle the next unit that nobody else computes."""
        while seat.idle and (unit := self._schedule.take(seat.last, self._in_hand())) is not None:
            if not self._leases.take(unit.key):
                self._elsewhere[unit.key] = unit
            elif self._is_there(unit):  # by now
                self._done(unit)
            else:
                seat.give(unit)
                self._tell(self._label(unit))

    def _listen(self) -> None:
        """Wait until a worker has something to say, or was silent for too long."""
        wait(self._seats, max(0.0, min([LOOK_S, *(seat.left_s for seat in self._seats)])))
        for seat in list(self._seats):
            try:
                for event in seat.news():
                    self._hear(seat, event)
            except WorkerFailed:
                self._dismiss(seat)
                if not self._seats:
                    raise

    def _hear(self, seat: Seat, event: dict[str, Any]) -> None:
        match event["event"]:
            case "done":
                self._dir.append("perf.jsonl", {**event, "device": self._plan.options.device})
                self.computed += 1
                self._done(seat.finish())
                self._occupy(seat)
                if seat.idle:
                    self._tell_that_it_goes_on()
            case "storage":
                raise StorageError(event["message"])
            case "missing":
                raise Missing(event["message"])
            case "changed":
                raise Changed("inputs changed while the run was going on; put back what was there, or start a new run")

    def _done(self, unit: Unit) -> None:
        self._leases.release(unit.key)
        self._schedule.done(unit)

    def _look_around(self) -> None:
        """See what became of the units that others compute; one that nobody computes any more is free."""
        if time.monotonic() - self._looked < LOOK_S:
            return
        self._looked = time.monotonic()
        others = list(self._elsewhere.items())
        for key, unit in others:
            if self._is_there(unit):
                del self._elsewhere[key]
                self._schedule.done(unit)
            elif self._leases.free(key):
                del self._elsewhere[key]
                self._schedule.put_back(unit)
        if others:
            self._tell_that_it_goes_on()

    def _dismiss(self, seat: Seat) -> None:
        """Go on with one worker less; another one has its unit."""
        seat.end()
        self._seats.remove(seat)
        self._dismissed += seat.lost
        if seat.task is not None:
            self._leases.release(seat.task.unit.key)
            self._schedule.put_back(seat.task.unit)

    def _is_there(self, unit: Unit) -> bool:
        return self._dir.read_unit(unit.key) is not None

    def _in_hand(self) -> Iterator[Unit]:
        yield from (seat.task.unit for seat in self._seats if seat.task)
        yield from self._elsewhere.values()

    def _tell(self, label: str) -> None:
        total = len(self._plan.units)
        restarts = self._dismissed + sum(seat.lost for seat in self._seats)
        self._report(Progress(total - len(self._schedule), total, label, restarts, len(self._seats)))

    def _tell_that_it_goes_on(self) -> None:
        busy = [seat.task.unit for seat in self._seats if seat.task]
        if self._schedule:
            self._tell(self._label(busy[-1]) if busy else "waiting for units that other processes compute")

    def _label(self, unit: Unit) -> str:
        if unit.cell is None:
            return f"prepare {unit.target} behind {unit.defense}"
        cell = self._plan.cells[unit.cell].cell
        return f"{cell.data} {cell.target} {cell.defense}: {cell.label}"
