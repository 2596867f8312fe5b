"""Reports on disk, each whole or not at all."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Iterable
from pathlib import Path

from redteam.reports.csv import table
from redteam.reports.directory import RunDirectory, read_run
from redteam.reports.html import page
from redteam.reports.junit import suites
from redteam.reports.markdown import document
from redteam.reports.svg import drawings

FORMATS: dict[str, Callable[[RunDirectory], dict[str, str]]] = {  # each gives relative paths and what stands in them
    "html": lambda run: {"report.html": page(run)},
    "md": lambda run: {"report.md": document(run)},
    "csv": lambda run: {"report.csv": table(run)},
    "junit": lambda run: {"junit.xml": suites(run)},
    "svg": drawings,
}
ALWAYS = ("html", "md", "csv", "junit")  # svg only where it is asked for: it is many files


def write_reports(run_dir: Path, formats: Iterable[str] = ALWAYS) -> list[Path]:
    """Render a run directory in some formats and put the files into it -> their paths, in the order asked for.

    Raises:
        ValueError: a format that does not exist.
        RunDirectoryError: summary.json is missing or broken; nothing is written then.
    """
    formats = tuple(formats)
    for name in formats:
        if name not in FORMATS:
            near = difflib.get_close_matches(name, FORMATS, 1)
            raise ValueError(f"formats: must be among {', '.join(FORMATS)}, got {name!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
    run = read_run(Path(run_dir))
    texts = [entry for name in formats for entry in FORMATS[name](run).items()]
    return [_put(run.path / file, text) for file, text in texts]


def _put(path: Path, text: str) -> Path:
    """Write beside, sync, rename: a reader sees the old file or the new one."""
    path.parent.mkdir(exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(partial, "w", encoding="utf-8", newline="\n", errors="backslashreplace") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return path
