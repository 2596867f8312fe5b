"""The run directory: one immutable file a finished unit, written whole or not at all.

A unit file is its rows and a footer with their number and hash. It is written under another name, synced and renamed, so that a kill at any
moment leaves either the whole unit or none of it; a file that fails its footer counts as absent and is computed again.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from redteam.run.errors import Held, StorageError
from redteam.run.holders import abandoned, clock_of, me


@contextlib.contextmanager
def storing(path: Path) -> Iterator[None]:
    """Turn an OSError while writing `path` into a StorageError that says so."""
    try:
        yield
    except OSError as error:
        raise StorageError(f"cannot write {path.parent.name}/{path.name}: {error.strerror or error}") from error


def check_room(error: Exception) -> None:
    """Raise StorageError where an error of someone's code means a full disk, which is no fault of its images."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        raise StorageError(f"cannot write {error.filename or 'a file'}: {error.strerror}") from error


class RunDir:
    """Where a run keeps what it is and what it found. Imports nothing heavy: a run is on disk before torch is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def scenario(self) -> Path:
        """The scenario as the user wrote it, byte for byte."""
        return self.path / "scenario.yaml"

    @property
    def results(self) -> Path:
        """All records in plan order."""
        return self.path / "results.jsonl"

    def create(self) -> None:
        """Make the directory and its folders; raises OSError."""
        for folder in ("units", "artifacts"):
            (self.path / folder).mkdir(parents=True, exist_ok=True)

    def sweep(self) -> None:
        """Remove what killed processes had begun to write; what a living one is writing stays."""
        with storing(self.path):
            now = clock_of(self.path)
            for folder in (self.path, self.path / "units", self.path / "artifacts"):
                for leftover in folder.glob(".*.tmp"):
                    if abandoned(leftover, leftover.name.split(".")[-2], now):
                        leftover.unlink(missing_ok=True)

    def read_json(self, name: str) -> dict[str, Any] | None:
        """A JSON file of the run, None where it is absent."""
        path = self.path / name
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None

    def write_json(self, name: str, value: dict[str, Any]) -> None:
        """Write a JSON file whole or not at all; NaN is refused."""
        write_whole(self.path / name, json.dumps(value, indent=1, sort_keys=True, allow_nan=False, ensure_ascii=False).encode() + b"\n")

    def append(self, name: str, row: dict[str, Any]) -> None:
        """Add a line to a log that no result depends on; lines of several processes stay whole."""
        with storing(self.path / name), open(self.path / name, "ab", buffering=0) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.write(json.dumps(row, sort_keys=True).encode() + b"\n")

    def unit_path(self, key: str) -> Path:
        """Where the unit of that key lies when it is finished."""
        return self.path / "units" / f"{key}.jsonl"

    def write_unit(self, key: str, rows: Sequence[str]) -> None:
        """Write a finished unit: its rows (JSON lines) and a footer; raises StorageError and leaves nothing where there is no room."""
        body = "".join(f"{row}\n" for row in rows).encode()
        footer = json.dumps({"blake2b": _hash(body), "rows": len(rows)})
        write_whole(self.unit_path(key), body + footer.encode() + b"\n")

    def read_unit(self, key: str) -> list[str] | None:
        """The rows of a finished unit; None where it is absent, cut or altered."""
        try:
            data = self.unit_path(key).read_bytes()
        except FileNotFoundError:
            return None
        start = data.rfind(b"\n", 0, -1) + 1  # of the footer
        body, footer = data[:start], data[start:]
        if not footer.endswith(b"\n") or not _agrees(footer, body):
            return None
        return body.decode().split("\n")[:-1]

    @contextlib.contextmanager
    def hold(self) -> Iterator[None]:
        """Hold the run for one coordinator; workers do not inherit the lock. Raises Held."""
        with storing(self.path / ".lock"):
            handle = os.open(self.path / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise Held(f"another coordinator is working on {self.path}; wait for it, or stop it") from error
            yield
        finally:
            os.close(handle)


def beside(path: Path) -> Path:
    """Where this process writes a file before it gets its name."""
    return path.with_name(f".{path.name}.{me()}.tmp")


def write_whole(path: Path, data: bytes) -> None:
    """Write, sync, rename, sync the folder: after a crash the file is there whole or not at all."""
    temporary = beside(path)
    with storing(path):
        try:
            with open(temporary, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Make a rename durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _hash(body: bytes) -> str:
    return hashlib.blake2b(body, digest_size=16).hexdigest()


def _agrees(footer: bytes, body: bytes) -> bool:
    try:
        claim = json.loads(footer)
    except ValueError:
        return False
    return claim == {"blake2b": _hash(body), "rows": body.count(b"\n")}
