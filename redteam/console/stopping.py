"""How a command ends that cannot end well: every foreseeable reason is a sentence and an exit status, and a signal is a reason like the others."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import click

from redteam.run.errors import Exit, Stop

SAME_S = 3.0  # signals that follow so soon do not cut the saving short


def guarded(work: Callable[[], int], again: str | None = None) -> int:
    """The exit status of `work`; `again` is the command that goes on where it stopped. A bug keeps its traceback."""
    with _Signals() as signals:
        try:
            return work()
        except Stop as stop:
            return say(f"{stop}\neverything finished is kept; then go on with: {again}" if again and stop.resumable else str(stop), stop.code)
        except BaseException:
            if not signals.seen:
                raise
            return say(f"interrupted; everything finished is kept. Go on with: {again}" if again else "interrupted", Exit.INTERRUPTED)


def say(sentence: str, code: int) -> int:
    """Print to standard error, where no program's output is disturbed."""
    with contextlib.suppress(OSError):  # the terminal may be gone
        click.echo(sentence, err=True)
    return code


class _Signals:
    """SIGTERM ends a command as Ctrl-C does. `seen` stays true even where the exception got lost in somebody's handler."""

    def __init__(self) -> None:
        self.seen = False
        self._last = -SAME_S
        self._before: dict[int, Any] = {}

    def __enter__(self) -> _Signals:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._arrived) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _arrived(self, number: int, frame: Any) -> None:
        soon = time.monotonic() - self._last < SAME_S
        self.seen, self._last = True, time.monotonic()
        if not soon:
            raise KeyboardInterrupt
