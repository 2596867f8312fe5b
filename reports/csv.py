"""report.csv: one row for each cell and metric, numbers as they are, absent figures empty with their reason."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from redteam.measure.names import METRICS
from redteam.reports.certainty import measured_by_cell
from redteam.reports.directory import RunDirectory, read_run
from redteam.reports.wording import number

COLUMNS = (
    *("data", "target", "defense", "attack", "goal", "strength", "repeat", "key", "kind", "norm", "eps", "control"),
    *("metric", "value", "low", "high", "n", "absent", "cell_n", "errors", "unscoreable", "verdict", "flags"),
)
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet would run a text that begins so

Json = Mapping[str, Any]


def render_csv(run_dir: Path) -> str:
    """A tidy table of a run directory."""
    return table(read_run(run_dir))


def table(run: RunDirectory) -> str:
    """A tidy table of the run; `strength` is JSON, `flags` are joined by spaces. What scores say of certainty stands below a cell's own metrics.

    Texts that a spreadsheet would take for a formula get an apostrophe in front.
    """
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, COLUMNS, lineterminator="\n")
    writer.writeheader()
    sure = measured_by_cell(run)
    for cell in run.summary["cells"]:
        writer.writerows({name: _safe(value) for name, value in row.items()} for row in _rows(cell, sure.get(str(cell.get("key")), {})))
    return buffer.getvalue()


def _rows(cell: Json, sure: Json) -> Iterator[dict[str, object]]:
    metrics, absent = {**(cell.get("metrics") or {}), **sure}, cell.get("absent") or {}
    known = [name for name in METRICS if name in metrics or name in absent]
    for name in [*known, *sorted({*metrics, *absent} - set(METRICS) - set(sure)), *sure]:
        metric = metrics.get(name) or {}
        figures = {end: "" if number(metric.get(end)) is None else metric[end] for end in ("value", "low", "high", "n")}
        yield {**_place(cell), "metric": name, **figures, "absent": absent.get(name, "")}


def _place(cell: Json) -> dict[str, object]:
    same = {name: cell.get(name, "") for name in ("data", "target", "defense", "attack", "goal", "repeat", "key", "kind", "norm", "eps", "errors", "unscoreable", "verdict")}
    flags = " ".join(str(flag.get("id")) for flag in cell.get("flags") or ())
    strength = json.dumps(cell.get("strength") or {}, sort_keys=True)
    return {**same, "strength": strength, "control": "true" if cell.get("control") else "false", "cell_n": cell.get("n", ""), "flags": flags}


def _safe(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value
