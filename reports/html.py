"""report.html: one file that needs no network, no script and no other file."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import jinja2
from markupsafe import Markup

from redteam.reports import environment, figures, headline, tables, wording, words
from redteam.reports.directory import RunDirectory, read_run
from redteam.reports.flags import flags
from redteam.reports.gallery import gallery
from redteam.reports.gates import gate_rows
from redteam.reports.groups import group_tables

TEMPLATES = Path(__file__).parent / "templates"
Placed = TypeVar("Placed")


def render_html(run_dir: Path) -> str:
    """The report of a run directory, finished or not.

    Raises:
        RunDirectoryError: summary.json is missing or broken.
    """
    run = read_run(run_dir)
    return _environment().get_template("report.html.j2").render(_context(run))


def _context(run: RunDirectory) -> dict[str, Any]:
    summary, pictures = run.summary, gallery(run)
    return {
        "summary": summary,
        "complete": run.complete,
        "banners": headline.banners(run),
        "problems": run.problems,
        "findings": headline.findings(summary),
        "gates_line": headline.gates_line(run.gates),
        "gates": gate_rows(run.gates, summary),
        "blocks": tables.blocks(summary),
        "figures": _by_block(figures.curves(summary)),
        "group_tables": _by_block(group_tables(summary)),
        "gallery": pictures,
        "flags": flags(summary),
        "environment": environment,
        "run": run,
        "words": words,
        "tables": tables,
        "undefended": tables.undefended,
        "figure_size": (figures.WIDTH, figures.HEIGHT),
        "figure_area": (figures.LEFT, figures.RIGHT, figures.TOP, figures.BOTTOM),
        "titles": wording.metric_named,
        "direction": wording.direction,
        "counted": wording.counted,
    }


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
