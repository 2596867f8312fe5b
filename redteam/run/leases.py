"""Says which units are being computed, so that processes which share a run directory do not compute the same.

A lease is a file with the name of its holder, touched as long as the holder lives. It is a hint and no lock: units are immutable and equal, so
that a lease which is stolen by mistake costs time and nothing else. No machine's own clock is asked, only the one that stamps the files.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

from redteam.run.holders import abandoned, clock_of, me
from redteam.run.ledger import RunDir, storing

BEAT_S = 10  # between touches; see holders.STALE_S


class Leases:
    """The leases of this process, and a look at those of others."""

    def __init__(self, run_dir: RunDir) -> None:
        self._clock, self._folder = run_dir.path, run_dir.path / "leases"
        self._held: set[str] = set()
        self._beaten = time.monotonic()

    def take(self, key: str) -> bool:
        """Hold the lease of a unit; False where somebody else does. Raises StorageError."""
        path = self._folder / key
        with storing(path):
            self._folder.mkdir(exist_ok=True)
            if not _created(path):
                if not self._abandoned(path):
                    return False
                path.unlink(missing_ok=True)
                if not _created(path):
                    return False
        self._held.add(key)
        return True

    def free(self, key: str) -> bool:
        """Whether `take` would be worth trying."""
        path = self._folder / key
        with storing(path):
            return not path.exists() or self._abandoned(path)

    def release(self, key: str) -> None:
        """Let go of a unit; one that was stolen stays with the thief."""
        self._held.discard(key)
        path = self._folder / key
        with contextlib.suppress(OSError):  # what is left of it is abandoned soon
            if _holder(path) == me():
                path.unlink()

    def beat(self) -> None:
        """Show that this process lives; called often, and cheap."""
        if time.monotonic() - self._beaten < BEAT_S:
            return
        self._beaten = time.monotonic()
        for key in self._held:
            with contextlib.suppress(OSError):
                os.utime(self._folder / key)  # without a time: the file system's own

    def close(self) -> None:
        """Let go of everything, and remove what nobody holds any more."""
        for key in list(self._held):
            self.release(key)
        with contextlib.suppress(OSError):
            for path in self._folder.iterdir():
                if self._abandoned(path):
                    path.unlink(missing_ok=True)
            self._folder.rmdir()  # fails while others hold leases

    def _abandoned(self, path: Path) -> bool:
        try:
            return abandoned(path, _holder(path), clock_of(self._clock))
        except FileNotFoundError:
            return True


def _created(path: Path) -> bool:
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    except FileExistsError:
        return False
    try:
        os.write(handle, me().encode())
    except OSError:
        path.unlink(missing_ok=True)
        raise
    finally:
        os.close(handle)
    return True


def _holder(path: Path) -> str:
    return path.read_text(encoding="ascii", errors="replace")
