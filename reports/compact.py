"""The closing table as a piece of HTML, for a cell of a notebook: no style sheet, no script."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from markupsafe import Markup

from redteam.reports import tables, wording, words
from redteam.reports.tables import Row, Shown

COLUMNS = {"attack_success_rate": "fakes pass", "frame_rate": "accused", "robust_accuracy": "accuracy", "auc": "AUC"}
STYLES = {"control": "opacity:.6", "worst": "font-weight:bold"}
LEFT, RIGHT = 'style="text-align:left;padding-right:1em"', 'style="text-align:right;padding-right:1em;white-space:nowrap"'


def compact_html(summary: Mapping[str, Any], notes: Sequence[str]) -> str:
    """The cells of summary.json, block by block, and the notes under them; names are shown, never interpreted."""
    head = _row([("attack", LEFT), *((title, RIGHT) for title in ("n", *COLUMNS.values())), ("verdict", LEFT)], "th")
    body = [line for block in tables.blocks(summary) for line in (_place(block), *(_line(row) for row in block.rows))]
    said = _html("<p><small>[a, b] is a 95 % interval; lower is better for the first two shares, higher for accuracy and AUC; – is absent, not 0.</small></p>")
    listed = _html("<ul>{}</ul>", _html("").join(_html("<li><small>{}</small></li>", wording.plain(note)) for note in notes)) if notes else _html("")
    return str(_html("<table><thead>{}</thead><tbody>{}</tbody></table>{}{}", head, _html("").join(body), listed, said))


def _html(text: str, *values: object) -> Markup:
    """Our own markup with other people's text inside it, escaped."""
    return Markup(text).format(*values)  # noqa: S704


def _row(cells: Iterable[tuple[object, str]], tag: str = "td", style: str = "") -> Markup:
    inside = _html("").join(_html(f"<{tag} {attributes}>{{}}</{tag}>", value) for value, attributes in cells)
    return _html('<tr style="{}">{}</tr>', style, inside)


def _place(block: tables.Block) -> Markup:
    named = " / ".join(wording.plain(name) for name in (block.data, block.target, block.defense))
    return _html(f'<tr><th colspan="{len(COLUMNS) + 3}" {LEFT}>{{}}</th></tr>', named)


def _line(row: Row) -> Markup:
    verdict = " ".join([words.verdict_word(row.verdict), *(wording.plain(flag) for flag in row.flags)])
    figures = [(_figure(row.shown.get(name)), RIGHT) for name in COLUMNS]
    return _row([(row.label, LEFT), (row.n, RIGHT), *figures, (verdict, LEFT)], style=STYLES.get(row.kind, ""))


def _figure(shown: Shown | None) -> Markup | str:
    if shown is None or shown.value is None:
        return wording.DASH
    interval = shown.interval.replace(f"{wording.SPACE}%", "")
    return _html("{} <small>{}</small>", shown.text, interval) if interval else shown.text
