"""The closing table of a run in the terminal: 100 columns, words and not only colours."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from redteam.reports import headline, tables, wording, words
from redteam.reports.gates import gate_rows
from redteam.reports.tables import Block, Row, Shown

WIDTH = 100
STYLES = {"valid": "green", "pass": "green", "upper_bound": "yellow", "inconclusive": "yellow", "invalid": "bold red", "fail": "bold red", "unresolvable": "dim"}
COLUMNS = (("attack", "left", 29), ("n", "right", 5), ("fakes pass %", "right", 14), ("accused %", "right", 14), ("acc. %", "right", 6), ("AUC", "right", 5), ("verdict", "left", 19))

Json = Mapping[str, Any]


def closing_table(summary: Json, gates: Json) -> RenderableType:
    """The cells of summary.json, block by block, and a line for each gate of gates.json; names are shown, never interpreted."""
    summary = {"targets": [], "defenses": [], "data": [], "worst_case": [], "cells": [], **summary}
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), width=WIDTH, header_style="bold")
    for title, justify, width in COLUMNS:
        table.add_column(title, justify=justify, width=width, overflow="fold")  # type: ignore[arg-type]
    for block in tables.blocks(summary):
        _add(table, block)
    return Group(table, *_lines(summary, gates))


def _add(table: Table, block: Block) -> None:
    place = " / ".join(wording.plain(name) for name in (block.data, block.target, block.defense))
    table.add_row()
    table.add_row(Text(place, style="bold cyan"))
    for row in block.rows:
        style = "dim" if row.kind == "control" else "bold" if row.kind == "worst" else ""
        label = Text(f"  {row.label}", style=style)
        figures = [_bare(row.shown.get(name)) for name in ("attack_success_rate", "frame_rate")]
        others = [_value(row.shown.get(name)) for name in ("robust_accuracy", "auc")]
        table.add_row(label, row.n, *figures, *others, _verdict(row))


def _bare(shown: Shown | None) -> str:
    """A figure with its interval, its unit left to the heading."""
    if shown is None or shown.value is None:
        return wording.DASH
    return f"{shown.text} {shown.interval}".replace(f"{wording.SPACE}%", "").strip()


def _value(shown: Shown | None) -> str:
    return wording.DASH if shown is None or shown.value is None else shown.text.replace(f"{wording.SPACE}%", "")


def _verdict(row: Row) -> Text:
    said = " ".join([words.verdict_word(row.verdict), *(wording.plain(flag) for flag in row.flags)])
    return Text(said, style=STYLES.get(row.verdict, ""))


def _lines(summary: Json, gates: Json) -> Iterator[Text]:
    for row in gate_rows(gates.get("gates") or (), summary):
        yield Text.assemble("gate ", (row.id, "bold"), ": ", (words.verdict_word(row.verdict), STYLES.get(row.verdict, "")), f"  {row.demand}; {row.where}. {row.detail}")
    yield Text(headline.gates_line(gates.get("gates") or ()))
    if summary.get("status") != "complete":
        yield Text("This run is incomplete: its figures may change.", style="bold red")
    if any(entry.get("reference") for entry in summary["targets"]):
        named = [wording.plain(entry.get("id")) for entry in summary["targets"] if entry.get("reference")]
        yield Text(f"{', '.join(named)}: {words.REFERENCE}.", style="dim")
    yield Text("[a, b] is a 95 % interval; lower is better for the first two shares, higher for accuracy and AUC; – is absent, not 0.", style="dim")
