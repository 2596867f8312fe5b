"""report.csv: one row for each cell and metric, numbers as they are, absent figures empty with their reason."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from redteam.measure.names import METRICS
from redteam.reports.directory import read_summary
from redteam.reports.wording import number

COLUMNS = (
    *("data", "target", "defense", "attack", "goal", "strength", "repeat", "key", "kind", "norm", "eps", "control"),
    *("metric", "value", "low", "high", "n", "absent", "cell_n", "errors", "unscoreable", "verdict", "flags"),
)
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet would run a text that begins so

Json = Mapping[str, Any]


def render_csv(run_dir: Path) -> str:
    """A tidy table of the run; `strength` is JSON, `flags` are joined by spaces.

    Texts that a spreadsheet would take for a formula get an apostrophe in front.
    """
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for cell in read_summary(Path(run_dir))["cells"]:
        writer.writerows({name: _safe(value) for name, value in row.items()} for row in _rows(cell))
    return buffer.getvalue()


def _rows(cell: Json) -> Iterator[dict[str, object]]:
    metrics, absent = cell.get("metrics") or {}, cell.get("absent") or {}
    known = [name for name in METRICS if name in metrics or name in absent]
    for name in [*known, *sorted({*metrics, *absent} - set(METRICS))]:
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
