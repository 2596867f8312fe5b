"""The closing table of a run in the terminal: 100 columns, words and not only colours."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from redteam.reports import headline, tables, wording, words
from redteam.reports.gates import GateRow, gate_rows
from redteam.reports.tables import Block, Row, Shown

WIDTH = 100
STYLES = {"valid": "green", "pass": "green", "upper_bound": "yellow", "inconclusive": "yellow", "invalid": "bold red", "fail": "bold red", "unresolvable": "dim"}
WORDS, FIGURES = ("attack", "verdict"), ("n", "fakes pass %", "accused %", "acc. %", "AUC")  # words fold in a narrow terminal, figures never do
SHARES, OTHERS = ("attack_success_rate", "frame_rate"), ("robust_accuracy", "auc")

Json = Mapping[str, Any]


def closing_table(summary: Json, gates: Json) -> RenderableType:
    """The cells of summary.json, block by block, and a line for each gate of gates.json; names are shown, never interpreted."""
    summary = {"targets": [], "defenses": [], "data": [], "worst_case": [], "cells": [], **summary}
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column(WORDS[0], max_width=31, overflow="fold")
    for title in FIGURES:
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column(WORDS[1], max_width=20, overflow="fold")
    blocks = tables.blocks(summary)
    for block in blocks:
        if block.measured:
            _add(table, block)
    return Group(table, Text(), *(_unmeasured(block) for block in blocks if not block.measured), *_lines(summary, gates))


def _add(table: Table, block: Block) -> None:
    table.add_row()
    table.add_row(Text(_place(block), style="bold cyan"))
    for row in block.rows:
        style = "dim" if row.kind == "control" else "bold" if row.kind == "worst" else ""
        figures = [*(_bare(row.shown.get(name)) for name in SHARES), *(_value(row.shown.get(name)) for name in OTHERS)]
        table.add_row(Text(f"  {row.label}", style=style), row.n, *figures, _verdict(row))


def _unmeasured(block: Block) -> Text:
    """One line for a block that the table would fill with dashes."""
    reasons = [row.shown[name].reason for row in block.attacks for name in (*SHARES, *OTHERS) if name in row.shown]
    verdicts = sorted({words.verdict_word(row.verdict) for row in block.attacks})
    cells = f"{wording.counted(len(block.attacks), 'attacked cell')} ({', '.join(verdicts)})"
    return Text.assemble((_place(block), "bold cyan"), f": {cells} without a figure over all images: {reasons[0] if reasons else 'no attack was run'}. The report has what there is.")


def _place(block: Block) -> str:
    return " / ".join(wording.plain(name) for name in (block.data, block.target, block.defense))


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


def _found(row: GateRow) -> str:
    """What a gate found in its cell, or how it judged its cells."""
    if len(row.cells) == 1:
        _, figure, _, detail = row.cells[0]
        return f"{figure}; {detail}"
    counts = Counter(verdict for _, _, verdict, _ in row.cells)
    return ", ".join(f"{counts[verdict]} {words.verdict_word(verdict)}" for verdict in counts) or row.detail


def _lines(summary: Json, gates: Json) -> Iterator[Text]:
    for row in gate_rows(gates.get("gates") or (), summary):
        yield Text.assemble("gate ", (row.id, "bold"), ": ", (words.verdict_word(row.verdict), STYLES.get(row.verdict, "")), f"  {row.demand}; {row.where}: {_found(row)}")
    if "gates" in gates:  # a program's own evaluation promises nothing
        yield Text(headline.gates_line(gates["gates"] or ()))
    if summary.get("status") != "complete":
        yield Text("This run is incomplete: its figures may change.", style="bold red")
    if any(entry.get("reference") for entry in summary["targets"]):
        named = [wording.plain(entry.get("id")) for entry in summary["targets"] if entry.get("reference")]
        yield Text(f"{', '.join(named)}: {words.REFERENCE}.", style="dim")
    yield Text("[a, b] is a 95 % interval; lower is better for the first two shares, higher for accuracy and AUC; – is absent, not 0.", style="dim")
