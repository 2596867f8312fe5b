"""Names a process, so that others can tell whether what it left behind is still somebody's."""

from __future__ import annotations

import hashlib
import os
import socket
import sys
from functools import cache
from pathlib import Path

STALE_S = 60  # without a sign of life; whoever holds something says so more often


def me() -> str:
    """This process: machine, number and time of birth, as `3fa91c04-4711-880123`."""
    return f"{_machine()}-{os.getpid()}-{_born(os.getpid())}"


def abandoned(path: Path, holder: str, now: int) -> bool:
    """Whether nobody works on `path` any more: its holder ran on this machine and has ended, or has not touched it for long; `now` is `clock_of` its folder.

    A file from the future was stamped before somebody set the clock back: it is as old as one from the past.
    """
    try:
        return _ended(holder) or abs(now - path.stat().st_mtime_ns) > STALE_S * 1_000_000_000
    except FileNotFoundError:
        return True


def clock_of(folder: Path) -> int:
    """Nanoseconds by the clock that stamps the files of `folder`, on whatever machine that is; the clock of this one may be wrong. Raises OSError."""
    probe = folder / f".clock.{me()}.tmp"
    probe.touch()
    try:
        return probe.stat().st_mtime_ns
    finally:
        probe.unlink(missing_ok=True)


def _ended(holder: str) -> bool:
    """Whether a process has certainly ended; of other machines nothing can be seen from here."""
    machine, _, process = holder.partition("-")
    number, _, born = process.partition("-")
    return machine == _machine() and number.isdigit() and _born(int(number)) != born


@cache
def _machine() -> str:
    """This machine since it was started, and this container: elsewhere, numbers of processes mean others."""
    facts = [socket.gethostname()]
    if sys.platform == "linux":
        facts += [Path("/proc/sys/kernel/random/boot_id").read_text(), os.readlink("/proc/self/ns/pid")]
    return hashlib.blake2b("\0".join(facts).encode(), digest_size=4).hexdigest()


def _born(number: int) -> str | None:
    """When a process began, in ticks since the machine did (0 where that cannot be known); None where there is no such process."""
    if sys.platform != "linux":
        return "0" if _exists(number) else None
    try:
        state, *facts = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if state in "ZX" else facts[18]  # a zombie writes nothing any more


def _exists(number: int) -> bool:
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
