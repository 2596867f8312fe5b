"""A comparison of two runs in print: for the terminal, as Markdown, and as strict JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from redteam.reports import wording
from redteam.reports.compare import ALPHA, Compared, Comparison, Untold
from redteam.reports.markdown import text

STYLES = {"worse": "bold red", "better": "green", "open": ""}
COLUMNS, VERDICT = ("n", "A", "B", "B − A", "p"), "change"
FINE = 200  # images from which one of them is at most half a percentage point
MOST = 8  # attacks that one sentence names
PLACE = ("data", "target", "defense", "attack", "goal", "strength", "repeat")


@dataclass(frozen=True)
class Line:
    """One comparison in print; `place` is its corpus, target and defense."""

    place: str
    cell: str
    metric: str
    figures: tuple[str, ...]
    verdict: str
    style: str


def lines(compared: Compared) -> list[Line]:
    """Every comparison in the order of the first run."""
    return [_line(c) for c in compared.comparisons]


def terminal(compared: Compared, differs: Sequence[str]) -> RenderableType:
    """Head, a table for each corpus, target and defense, and conclusion; names are shown, never interpreted."""
    blocks = [part for place, of_place in groupby(lines(compared), key=lambda line: line.place) for part in (Text(f"\n{place}", style="bold cyan"), _table(list(of_place)))]
    return Group(*map(Text, _head(compared, differs)), *blocks, Text(), *map(Text, _untold(compared)), *map(Text, _conclusion(compared)))


def _table(of_place: Sequence[Line]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("cell", width=22, overflow="fold")
    table.add_column("figure", width=19, no_wrap=True)
    for title in COLUMNS:
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column(VERDICT, max_width=14, overflow="fold")
    cell = ""
    for line in of_place:
        table.add_row(Text("" if line.cell == cell else line.cell), line.metric, *line.figures, Text(line.verdict, style=line.style))
        cell = line.cell
    return table


def markdown(compared: Compared, differs: Sequence[str]) -> str:
    """The same as a page with one table."""
    rows = [(line.place, line.cell, line.metric, *line.figures, line.verdict) for line in lines(compared)]
    head = ("where", "cell", "figure", *COLUMNS, VERDICT)
    table = [f"| {' | '.join(text(entry) for entry in row)} |" for row in (head, *rows)]
    table.insert(1, f"|{'---|' * len(head)}")
    parts = [f"# {text(_names(compared)[1])} against {text(_names(compared)[0])}", *map(text, _head(compared, differs)), "\n".join(table)]
    untold = [f"- {text(said)}" for said in _untold(compared)]
    return "\n\n".join([*parts, *(["\n".join(untold)] if untold else []), *map(text, _conclusion(compared))]) + "\n"


def gate_line(compared: Compared) -> str:
    """What the regression gate says, and why."""
    margin = compared.options.margin
    asked = "nothing got worse" if margin is None else f"nothing got worse by more than {margin:g}"
    counts = [(compared.regressions, "worse"), (compared.undecided, "with room for more"), (compared.lost, "that only the second run fails to tell")]
    why = ", ".join(f"{len(found)} {said}" for found, said in counts if found)
    return f"gate: {compared.gate()}; {asked}{f': {why}' if why else ''}"


def as_json(compared: Compared, differs: Sequence[str]) -> dict[str, Any]:
    """For a program; the schema is redteam.compare/1."""
    return {
        "schema": "redteam.compare/1",
        "a": {"run": str(compared.first.run.path), "scenario": compared.first.run.summary["scenario"]},
        "b": {"run": str(compared.second.run.path), "scenario": compared.second.run.summary["scenario"]},
        "paired": compared.options.paired, "alpha": ALPHA, "margin": compared.options.margin, "differs": list(differs),
        "comparisons": [_entry(c) for c in compared.comparisons],
        "not_comparable": [_coordinates(u.cell) | {"metrics": list(u.metrics), "reason": u.reason, "lost": u.lost} for u in compared.untold],
        "counts": dict(Counter(c.verdict for c in compared.comparisons)),
    }  # fmt: skip


def _entry(c: Comparison) -> dict[str, Any]:
    found = asdict(c.difference)
    figures = {"a": found.pop("first"), "b": found.pop("second"), "p": found.pop("p")}
    counts = {"n": found.pop("n"), "rose": found.pop("rose"), "fell": found.pop("fell"), "left_out": c.left_out}
    judged = {"p_holm": c.p_holm, "verdict": c.verdict, "at_best": c.at_best, "within_margin": c.within}
    return _coordinates(c.cell) | {"target_b": c.target, "metric": c.metric, "difference": found} | figures | counts | judged


def _coordinates(cell: Any) -> dict[str, Any]:
    return {name: cell.get(name) for name in PLACE}


def _line(c: Comparison) -> Line:
    d = c.difference
    target = wording.plain(c.cell["target"]) if c.target == c.cell["target"] else f"{wording.plain(c.cell['target'])} → {wording.plain(c.target)}"
    place = f"{wording.plain(c.cell['data'])} / {target} / {wording.plain(c.cell['defense'])}"
    ends = [_change(c.metric, end, d.n) for end in (d.value, d.low, d.high)]
    figures = (str(d.n), wording.figure(c.metric, d.first, d.n), wording.figure(c.metric, d.second, d.n), f"{ends[0]} [{ends[1]}, {ends[2]}]", _p(c.p_holm))
    return Line(place, wording.attack_name(c.cell), wording.metric_named(c.metric).title, figures, _verdict(c), STYLES[c.verdict])


def _change(metric: str, value: float, n: int) -> str:
    """A change with its sign, no finer than one image; of a share in percentage points."""
    fine = n >= FINE
    digits = f"{value:+.{2 + fine}f}" if metric in wording.DECIMAL_SHARES else f"{100 * value:+.{int(fine)}f}"
    return digits.replace("-", "−") if float(digits) else digits[1:]


def _p(p: float) -> str:
    return "<0.001" if p < 0.001 else f"{p:.3f}" if p < 0.9995 else "1"


def _verdict(c: Comparison) -> str:
    said = f"{c.verdict} at best" if c.at_best and c.verdict == "better" else c.verdict
    if c.within is None:
        return said
    if c.verdict == "open":
        return "within margin" if c.within else "margin open"
    return f"{said}, within margin" if c.verdict == "worse" and c.within else said


def _names(compared: Compared) -> tuple[str, str]:
    return str(compared.first.run.path), str(compared.second.run.path)


def _head(compared: Compared, differs: Sequence[str]) -> Iterator[str]:
    first, second = _names(compared)
    yield f"A {wording.plain(first)}"
    yield f"B {wording.plain(second)}"
    yield f"The runs differ in: {', '.join(map(wording.plain, differs)) or 'nothing that a lock records'}."
    yield "Paired image by image." if compared.options.paired else "Not paired: taken as measurements of different images, which shows less than pairs would."


def _untold(compared: Compared) -> Iterator[str]:
    """What cannot be compared, cells with the same reason in one sentence."""
    alike: dict[tuple[str, ...], list[Untold]] = {}
    for entry in compared.untold:
        place = " / ".join(wording.plain(entry.cell[name]) for name in PLACE[:3])
        alike.setdefault((place, ", ".join(wording.metric_named(name).title for name in entry.metrics), wording.plain(entry.reason)), []).append(entry)
    for (place, figures, reason), entries in alike.items():
        names = wording.attack_names([entry.cell for entry in entries])
        yield f"Not comparable: {place}: {wording.listed(names, MOST)} ({figures}): {reason}."


def _conclusion(compared: Compared) -> Iterator[str]:
    counts = Counter(c.verdict for c in compared.comparisons)
    total = wording.counted(len(compared.comparisons), "comparison")
    untold = sum(len(entry.metrics) for entry in compared.untold)
    yield f"{total}: {counts['worse']} worse, {counts['better']} better, {counts['open']} open{f'; {untold} not comparable' if untold else ''}."
    left_out = max((c.left_out for c in compared.comparisons), default=0)
    if left_out:
        yield f"Up to {wording.counted(left_out, 'image')} of a comparison counted in one run only and {'is' if left_out == 1 else 'are'} left out of it."
    if any(c.at_best and c.verdict == "better" for c in compared.comparisons):
        yield "At best: the cell of B is an upper bound, so B may only look better."
    test = "exact McNemar test over source images for shares, bootstrap over them for AUC" if compared.options.paired else "intervals of both runs joined"
    yield f"B − A in percentage points (AUC in its own unit) with its 95 % interval; p by {test}, corrected for all comparisons by Holm; worse or better where p < {ALPHA}, else open: no change is shown."
