"""What a person sees of a run that goes on."""

from __future__ import annotations

import io
import re

from rich.console import Console

from redteam.console.progress import Display
from redteam.run.coordinator import Progress


def shown(*steps: Progress, terminal: bool = False) -> str:
    written = io.StringIO()
    with Display(Console(file=written, force_terminal=terminal, width=120)) as display:
        for step in steps:
            display.update(step)
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", written.getvalue())


def test_a_log_has_a_line_now_and_then_and_the_last_one():
    steps = [Progress(done, 7, f"camera npr none: unit {done}", 0, 2) for done in range(7)]
    assert shown(*steps, Progress(7, 7, "", 0, 2)).splitlines() == ["0/7 units, 2 workers, camera npr none: unit 0", "7/7 units"]


def test_one_worker_is_not_counted_and_lost_ones_are():
    assert shown(Progress(3, 7, "prepare npr", 1)) == "3/7 units, prepare npr, worker restarted 1 time\n"
    assert shown(Progress(7, 7, "", 2, 3)) == "7/7 units, worker restarted 2 times\n"


def test_a_terminal_shows_how_many_work_and_on_what():
    text = shown(Progress(2, 7, "camera npr none: pgd eps=0.0157", 0, 2), terminal=True)
    assert "2 workers, camera npr none: pgd eps=0.0157" in text and "2/7" in text
