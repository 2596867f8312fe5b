"""figures/*.svg: each drawing of the report as a file of its own, in the colours of the light page."""

from __future__ import annotations

import re
from collections.abc import Iterator

from redteam.reports import certainty, figures
from redteam.reports.budgets import budgets
from redteam.reports.directory import RunDirectory
from redteam.reports.drawing import Panel
from redteam.reports.frontier import frontiers
from redteam.reports.html import SIZE, plot, source


def drawings(run: RunDirectory) -> dict[str, str]:
    """Relative path -> SVG, in the order of the page."""
    return {f"figures/{panel.id}.svg": standalone(panel) for panel in _panels(run)}


def standalone(panel: Panel) -> str:
    """A drawing that needs no other file: its style inside, on white."""
    light = dict(re.findall(r"(--[a-z0-9-]+): ([^;]+);", source("style.css").partition("}")[0]))
    style = re.sub(r"var\((--[a-z0-9-]+)\)", lambda found: light[found[1]], source("plot.css"))
    width, height, head = SIZE
    paper = f'<rect width="{width}" height="{height}" y="-{head}" fill="{light["--page"]}"/>'
    sized = plot(panel).strip().replace("<svg ", f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" ', 1)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{sized.replace("</desc>", f"</desc><style>{style}</style>{paper}", 1)}\n'


def _panels(run: RunDirectory) -> Iterator[Panel]:
    for block in (*budgets(run.summary), *frontiers(run), *figures.curves(run.summary)):
        yield from block.panels
    yield from (block.panel for block in certainty.certainty(run) if block.panel)
