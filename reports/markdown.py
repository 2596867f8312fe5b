"""report.md: the same findings as plain tables, for a pull request or a terminal pager."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from redteam.reports import certainty, environment, headline, tables, wording, words
from redteam.reports.checks import NONE, checks, cost_in_words
from redteam.reports.directory import RunDirectory, read_run
from redteam.reports.distances import distances
from redteam.reports.flags import flags
from redteam.reports.frontier import frontiers
from redteam.reports.gates import gate_rows
from redteam.reports.groups import group_tables
from redteam.reports.repeats import spreads
from redteam.reports.search import Found, searches
from redteam.reports.standing import limits
from redteam.reports.tables import Block, Row, Shown
from redteam.reports.transfer import matrices
from redteam.reports.versus import Pair, versus

SPECIAL = re.compile(r"([\\`*_{}|~#])")


def render_markdown(run_dir: Path) -> str:
    """The report of a run directory as Markdown with tables."""
    return document(read_run(run_dir))


def document(run: RunDirectory) -> str:
    """The report of a run that has been read."""
    sections = (_head(run), _legend(run), _gates(run), _matrix(run), _transfer(run), _searches(run), _distances(run), _quality(run), _versus(run), _classes(run), _groups(run), _checks(run), _flags(run), _reproduction(run))
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
        yield from (line for said in (finding.against, finding.power) if said for line in (text(said), ""))
    yield from (text(headline.gates_line(run.gates)), "")
    for problem in run.problems:
        yield from (f"> {text(problem)}", "")


def _legend(run: RunDirectory) -> Iterator[str]:
    yield from ("## How to read this", "")
    yield from (f"- **{text(term)}**: {text(meaning)}" for term, meaning in words.LEGEND)
    yield from (f"- Verdict **{words.verdict_word(verdict)}**: {text(meaning)}" for verdict, meaning in words.VERDICT_LEGEND)
    yield from (f"- {text(limit)}" for limit in limits(run.summary))
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


def _transfer(run: RunDirectory) -> Iterator[str]:
    found = matrices(run.summary)
    if found:
        yield from ("## What carries over from surrogates", "")
    for matrix in found:
        yield from (f"### {wording.metric_named(matrix.metric).title} on {text(matrix.data)} ({wording.direction(matrix.metric)})", "")
        heads = ["made", "attack", *(f"on {column.target}{f' behind {column.defense}' if column.defended else ''}" for column in matrix.columns)]
        yield from _table(heads, [(title, line.label, *(_figure(entry.shown) for entry in line.entries)) for title, lines in matrix.groups for line in lines])
        yield from (f"{i}. {text(note)}" for i, note in enumerate(matrix.notes, 1))
        yield from ("",) if matrix.notes else ()


def _searches(run: RunDirectory) -> Iterator[str]:
    found = searches(run)
    if found:
        yield from ("## Searches over chains", "")
    for one in found:
        yield from (f"### {_place(one.data, one.target, one.defense)}: {text(one.name)}", "", f"**{text(one.winner)}**", "")
        yield from (line for sentence in one.sentences for line in (text(sentence), ""))
        yield from _best_chains(one)


def _best_chains(found: Found) -> Iterator[str]:
    heads = ["chain", "images of the search", "below the floor", *(wording.metric_named(metric).title for metric in found.metrics)]
    yield from _table(heads, [(text(chain.chain), str(chain.images), str(chain.spoilt), *(_figure(chain.shown[metric]) for metric in found.metrics)) for chain in found.tried])
    yield from (f"{i}. {text(note)}" for i, note in enumerate(found.notes, 1))
    yield from ("",) if found.notes else ()


def _distances(run: RunDirectory) -> Iterator[str]:
    found = distances(run)
    if found:
        yield from ("## How small a change is enough", "")
    for block in found:
        yield from (f"- {_place(block.data, block.target, block.defense)}: {text(said)}" for said in block.sentences)
    yield from ("",) if found else ()


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


def _versus(run: RunDirectory) -> Iterator[str]:
    found = versus(run)
    if found:
        yield from ("## The same images, compared", "")
    for title, pairs in (("most harmful", found.attacks), ("first", found.targets)):
        if pairs:
            heads = ("where", title, "beside it", "n", "accuracy left", "difference, points", "p (McNemar, Holm)", "told")
            yield from _table(heads, [_pair(pair) for pair in pairs])
    if repeated := spreads(run):
        heads = ("attack", "where", "figure", "each repeat", "spread", "worst of all repeats")
        yield from _table(heads, [(one.attack, f"{one.data} / {one.target} / {one.defense}", wording.metric_named(one.metric).title, ", ".join(one.each), one.spread, one.together) for one in repeated])


def _pair(pair: Pair) -> tuple[str, ...]:
    return pair.place, pair.first, pair.second, str(pair.n), "; ".join(pair.left), pair.difference, pair.p, pair.told


def _checks(run: RunDirectory) -> Iterator[str]:
    found = checks(run.summary)
    yield from ("## How the evaluation was checked", "", text(cost_in_words(run.summary) if found else NONE), "")
    for block in found:
        yield from (f"### {_place(block.data, block.target, block.defense)}: beside {text(block.checked)}, on {block.images}", "")
        rows = [(row.name, row.should, row.fell, row.beside, row.cost, row.said) for row in block.rows]
        yield from _table(("check", "sound where it", "broke", "the attack itself", "cost", "found"), rows)


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
