"""Reports on disk, each whole or not at all."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from redteam.reports.csv import render_csv
from redteam.reports.html import render_html
from redteam.reports.junit import render_junit
from redteam.reports.markdown import render_markdown

FORMATS: dict[str, tuple[str, Callable[[Path], str]]] = {
    "html": ("report.html", render_html),
    "md": ("report.md", render_markdown),
    "csv": ("report.csv", render_csv),
    "junit": ("junit.xml", render_junit),
}


def write_reports(run_dir: Path, formats: Sequence[str] = tuple(FORMATS)) -> list[Path]:
    """Render a run directory in some formats and put the files into it -> their paths, in the order asked for.

    Raises:
        ValueError: a format that does not exist.
        RunDirectoryError: summary.json is missing or broken; nothing is written then.
    """
    run_dir = Path(run_dir)
    for name in formats:
        if name not in FORMATS:
            near = difflib.get_close_matches(name, FORMATS, 1)
            raise ValueError(f"formats: must be among {', '.join(FORMATS)}, got {name!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
    texts = [(FORMATS[name][0], FORMATS[name][1](run_dir)) for name in formats]
    return [_put(run_dir / file, text) for file, text in texts]


def _put(path: Path, text: str) -> Path:
    """Write beside, sync, rename: a reader sees the old file or the new one."""
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
