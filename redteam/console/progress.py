"""Live progress of a run on a terminal; plain lines, a few a minute, elsewhere."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from redteam.run.coordinator import Progress as Step
from redteam.run.session import Watch
from redteam.scenario.errors import Problem
from redteam.scenario.plan import Plan

LINE_EVERY_S = 20.0


@contextlib.contextmanager
def watched() -> Iterator[Watch]:
    """A run shown on standard error."""
    with Display(Console(stderr=True, highlight=False)) as display:
        yield Watch(display.begin, display.update)


class Display:
    """Shows how far a run is; a context manager."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar = Progress(TextColumn("{task.description}", markup=False), BarColumn(bar_width=24), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn(), console=console)
        self._task = self._bar.add_task("planning", total=None)
        self._live: Live | None = None
        self._said = 0.0

    def __enter__(self) -> Display:
        if self._console.is_terminal:
            self._live = Live(self._bar, console=self._console, refresh_per_second=4, transient=True)
            self._live.start()
        return self

    def __exit__(self, *_: Any) -> None:
        if self._live:
            self._live.stop()

    def begin(self, plan: Plan, warnings: list[Problem]) -> None:
        """Say what is about to be computed."""
        for warning in warnings:
            self._console.print(str(warning), markup=False)
        rows = sum(plan.images_of(unit) for unit in plan.units)
        self._console.print(f"{plan.scenario.name}: {len(plan.cells)} cells, {rows} rows, seed {plan.scenario.seed}; loading targets")

    def update(self, step: Step) -> None:
        """The run has come to another unit."""
        label = step.label if len(step.label) < 60 else step.label[:57] + "..."
        several = f"{step.workers} workers, " if step.workers > 1 and label else ""
        lost = f", worker restarted {step.restarts} {'time' if step.restarts == 1 else 'times'}" if step.restarts else ""
        self._bar.update(self._task, description=f"{several}{label or 'done'}{lost}", completed=step.done, total=step.total)
        if not self._live and (time.monotonic() - self._said > LINE_EVERY_S or step.done == step.total):
            self._said = time.monotonic()
            self._console.print(f"{step.done}/{step.total} units{', ' + several + label if label else ''}{lost}", markup=False)
