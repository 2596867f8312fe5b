"""report.md: the same findings as plain tables, for a pull request or a terminal pager."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from redteam.reports import certainty, environment, headline, tables, wording, words
from redteam.reports.directory import RunDirectory, read_run
from redteam.reports.flags import flags
from redteam.reports.frontier import frontiers
from redteam.reports.gates import gate_rows
from redteam.reports.groups import group_tables
from redteam.reports.tables import Block, Row, Shown

SPECIAL = re.compile(r"([\\`*_{}|~#])")


def render_markdown(run_dir: Path) -> str:
    """The report of a run directory as Markdown with tables."""
    return document(read_run(run_dir))


def document(run: RunDirectory) -> str:
    """The report of a run that has been read."""
    sections = (_head(run), _legend(), _gates(run), _matrix(run), _quality(run), _classes(run), _groups(run), _flags(run), _reproduction(run))
    return "\n".join(line for section in sections for line in section) + "\n"


def text(untrusted: object) -> str:
    r"""Untrusted text that Markdown shows as it is.

    >>> text("<b>|a_b")
    '&lt;b&gt;\\|a\\_b'
    """
    safe = wording.plain(untrusted).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return SPECIAL.sub(r"\\\1", safe).replace("](", "]\\(").replace("://", ":&#47;&#47;")


def _head(run: RunDirectory) -> Iterator[str]:
    yield f"# Robustness of {text(run.summary['scenario'])}"
    yield ""
    for _, sentence in headline.banners(run):
        yield from (f"> **{text(sentence)}**", "")
    for finding in headline.findings(run.summary):
        yield f"**{_place(finding.data, finding.target, finding.defense)}.** {' '.join(text(s) for s in finding.sentences)}" + (f" ({text(words.REFERENCE)}.)" if finding.reference else "")
        yield ""
    yield from (text(headline.gates_line(run.gates)), "")
    for problem in run.problems:
        yield from (f"> {text(problem)}", "")


def _legend() -> Iterator[str]:
    yield from ("## How to read this", "")
    yield from (f"- **{text(term)}**: {text(meaning)}" for term, meaning in words.LEGEND)
    yield from (f"- Verdict **{words.verdict_word(verdict)}**: {text(meaning)}" for verdict, meaning in words.VERDICT_LEGEND)
    yield from (f"- {text(limit)}" for limit in words.LIMITS)
    yield ""


def _gates(run: RunDirectory) -> Iterator[str]:
    rows = gate_rows(run.gates, run.summary)
    if rows:
        yield from ("## Gates", "")
        yield from _table(("gate", "demands", "where", "verdict", "because"), [(row.id, row.demand, row.where, words.verdict_word(row.verdict), row.detail) for row in rows])


def _matrix(run: RunDirectory) -> Iterator[str]:
    yield from ("## Cells", "")
    for block in tables.blocks(run.summary):
        yield from (f"### {_place(block.data, block.target, block.defense)}", "")
        heads = ["attack", "n", "unscoreable", *(_heading(name) for name in (*block.columns, *block.more)), "verdict"]
        yield from _table(heads, [_row(row, block) for row in block.rows])
        yield from (f"{i}. {text(note)}" for i, note in enumerate(block.notes, 1))
        yield from ("",) if block.notes else ()


def _row(row: Row, block: Block) -> list[str]:
    label = row.label if row.kind != "control" else f"(control) {row.label}"
    figures = [_figure(row.shown[name]) if name in row.shown else "" for name in (*block.columns, *block.more)]
    verdict = " ".join([words.verdict_word(row.verdict), *row.flags])
    return [label + (f" ({row.detail})" if row.kind == "worst" and row.detail else ""), row.n, _unscoreable(row), *figures, verdict]


def _unscoreable(row: Row) -> str:
    return f"{row.unscoreable} + {wording.counted(row.errors, 'error')}" if row.errors else row.unscoreable


def _figure(shown: Shown) -> str:
    note = f" ({shown.note})" if shown.note else ""
    return f"{shown.text}{' ' + shown.interval if shown.interval else ''}{note}"


def _quality(run: RunDirectory) -> Iterator[str]:
    found = frontiers(run)
    if found:
        yield from ("## Quality against robustness", "")
    for block in found:
        yield from (f"- {_place(block.data, block.target, block.defense)}: {text(said)}" for said in block.sentences)
    yield from ("",) if found else ()


def _classes(run: RunDirectory) -> Iterator[str]:
    found = certainty.certainty(run)
    if found:
        yield from ("## Each class, and how sure the target is", "")
    for block in found:
        yield from (f"### {_place(block.data, block.target, block.defense)}: both classes", "")
        yield from (line for sentence in block.sentences for line in (text(sentence), ""))
        heads = ["attack", *(_heading(name) for name in certainty.COLUMNS), "verdict"]
        yield from _table(heads, [[row.label, *(_figure(row.shown[name]) for name in certainty.COLUMNS), words.verdict_word(row.verdict)] for row in block.rows])
        yield from (f"{i}. {text(note)}" for i, note in enumerate(block.notes, 1))
        yield from ("",) if block.notes else ()


def _groups(run: RunDirectory) -> Iterator[str]:
    found = group_tables(run.summary)
    if found:
        yield from ("## Group by group", "")
    for table in found:
        yield from (f"### {_place(table.data, table.target, table.defense)}: {text(_heading(table.metric))}", "")
        yield from _table(("attack", *table.groups), [(name, *figures) for _, name, figures in table.rows])
        yield from (f"{wording.counted(table.left_out, 'further group')} in summary.json.", "") if table.left_out else ()


def _flags(run: RunDirectory) -> Iterator[str]:
    found = flags(run.summary)
    if found:
        yield from ("## Red flags", "")
    for flag in found:
        yield f"- **{text(flag.id)}** {text(flag.title)} ({words.SEVERITIES.get(flag.severity, text(flag.severity))})"
        yield from (f"  - {text(detail)} In: {text('; '.join(cells))}" for detail, cells in flag.findings)
    yield ""


def _reproduction(run: RunDirectory) -> Iterator[str]:
    yield from ("## Reproduction", "", f"    {environment.command(run)}", "")
    yield from (f"- {text(name)}: {text(value)}" for name, value in environment.facts(run))
    yield from (f"- Threshold of {text(target)} behind {text(defense)}: {value}, {text(how)}" for target, defense, value, how in environment.thresholds(run.summary))
    for name, described in (*environment.corpora(run.summary), *environment.targets(run.summary)):
        yield f"- {text(name)}: {text(described)}"


def _heading(name: str) -> str:
    title, unit, better = wording.metric_named(name).title, wording.metric_named(name).unit, wording.direction(name)
    return title + (f", {unit}" if unit == "dB" else "") + (f" ({better})" if better else "")


def _place(data: str, target: str, defense: str) -> str:
    return f"{text(data)} / {text(target)} / {text(defense)}"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(text(head) for head in heads)} |"
    yield f"|{'---|' * len(heads)}"
    yield from (f"| {' | '.join(text(value) for value in row)} |" for row in rows)
    yield ""
