"""report.html: one file that needs no network and no other file; its script sorts, filters and saves, and nothing is missing without it."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import jinja2
from markupsafe import Markup

from redteam.reports import certainty, drawing, environment, figures, headline, tables, wording, words
from redteam.reports.budgets import budgets
from redteam.reports.directory import RunDirectory, read_run
from redteam.reports.flags import flags
from redteam.reports.frontier import frontiers
from redteam.reports.gallery import gallery
from redteam.reports.gates import gate_rows
from redteam.reports.groups import group_tables

TEMPLATES = Path(__file__).parent / "templates"
SIZE, AREA = (drawing.WIDTH, drawing.HEIGHT + drawing.HEAD, drawing.HEAD), (drawing.LEFT, drawing.RIGHT, drawing.TOP, drawing.BOTTOM)
Placed = TypeVar("Placed")


def render_html(run_dir: Path) -> str:
    """The report of a run directory, finished or not.

    Raises:
        RunDirectoryError: summary.json is missing or broken.
    """
    return page(read_run(run_dir))


def page(run: RunDirectory) -> str:
    """The report of a run that has been read."""
    return _environment().get_template("report.html.j2").render(_context(run))


def plot(panel: drawing.Panel) -> str:
    """One drawing as SVG, without its style."""
    macros = _environment().get_template("figures.svg.j2").module
    return str(macros.plot(panel, SIZE, AREA))  # type: ignore[attr-defined]


def source(name: str) -> str:
    """A style or the script, as it stands in the page."""
    return (TEMPLATES / name).read_text(encoding="utf-8")


def _context(run: RunDirectory) -> dict[str, Any]:
    summary = run.summary
    return {
        **_parts(),
        "summary": summary,
        "complete": run.complete,
        "banners": headline.banners(run),
        "problems": run.problems,
        "findings": headline.findings(summary),
        "gates_line": headline.gates_line(run.gates),
        "gates": gate_rows(run.gates, summary),
        "blocks": tables.blocks(summary),
        "figures": _by_block(figures.curves(summary)),
        "budgets": budgets(summary),
        "frontiers": frontiers(run),
        "certainty": certainty.certainty(run),
        "certainty_columns": certainty.COLUMNS,
        "recalls": certainty.RECALLS,
        "group_tables": _by_block(group_tables(summary)),
        "gallery": gallery(run),
        "flags": (raised := flags(summary)),
        "flag_index": {flag.id: i for i, flag in enumerate(raised, 1)},
        "lost": lambda row: _lost(run, row),
        "environment": environment,
        "run": run,
        "words": words,
        "tables": tables,
        "undefended": tables.undefended,
        "figure_size": SIZE,
        "figure_area": AREA,
        "titles": wording.metric_named,
        "direction": wording.direction,
        "counted": wording.counted,
    }


def _parts() -> dict[str, Markup]:
    """Style, script, and the policy that lets these run and nothing else."""
    style, plot_style, script = (Markup(source(name)) for name in ("style.css", "plot.css", "report.js"))  # noqa: S704 - our own files
    allowed = f"style-src {_hashed(style)} {_hashed(plot_style)}; script-src {_hashed(script)}"
    policy = Markup(f"default-src 'none'; img-src data:; {allowed}; base-uri 'none'; form-action 'none'")  # noqa: S704 - hashes
    return {"style": style, "plot_style": plot_style, "script": script, "policy": policy}


def _hashed(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _lost(run: RunDirectory, row: tables.Row) -> str:
    """How many rows of a cell have no outcome, by status where the records are at hand."""
    counts = run.rows.lost.get(row.key)
    if not counts or counts.total() != row.errors:
        return wording.counted(row.errors, "error")
    return ", ".join(f"{count} {wording.plain(status)}" for status, count in sorted(counts.items()))


@cache
def _environment() -> jinja2.Environment:
    """Templates in which every value is made plain and then escaped: names, labels and reasons are untrusted text."""
    loader = jinja2.FileSystemLoader(TEMPLATES)
    return jinja2.Environment(loader=loader, autoescape=True, finalize=_harmless, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)


def _harmless(value: object) -> object:
    """What a template prints: its own markup as it is, any other text without control characters."""
    return wording.plain(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _by_block(entries: Sequence[Placed]) -> list[tuple[tables.Key, list[Placed]]]:
    """Entries of one corpus, target and defense together, in order."""
    placed: dict[tables.Key, list[Placed]] = {}
    for entry in entries:
        placed.setdefault((entry.data, entry.target, entry.defense), []).append(entry)  # type: ignore[attr-defined]
    return list(placed.items())
