"""The gates of a run in print: what each demands, what was found, and how it was judged."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from redteam.reports import wording
from redteam.reports.wording import number, plain

SIGNS = {"<=": "≤", ">=": "≥"}
ON = {"value": "the value", "ci_lower": "the lower end of the interval", "ci_upper": "the upper end of the interval"}

Json = Mapping[str, Any]


@dataclass(frozen=True)
class GateRow:
    """One gate.

    demand: metric, bound, and what is held against it
    where:  the cells that it selects
    cells:  (label, figure with interval and n, verdict, detail)
    """

    id: str
    demand: str
    where: str
    verdict: str
    detail: str
    cells: tuple[tuple[str, str, str, str], ...]


def gate_rows(gates: Sequence[Json] | None, summary: Json) -> list[GateRow]:
    """The gates in the order of the scenario; their cells are named as in the rest of the report."""
    names = {cell.get("key"): wording.cell_name(cell) for cell in summary["cells"]}
    return [_row(gate, names) for gate in gates or ()]


def _row(gate: Json, names: Mapping[Any, str]) -> GateRow:
    metric = str(gate.get("metric"))
    least = number(gate.get("min_n"))
    held = ON.get(str(gate.get("on")), plain(gate.get("on")))
    demand = f"{wording.metric_named(metric).title} {_bound(metric, str(gate.get('require')))}, {held}{f', n ≥ {least:.0f}' if least else ''}"
    chosen = gate.get("where")
    where = ", ".join(_condition(name, value) for name, value in chosen.items()) if isinstance(chosen, Mapping) else ""
    cells = tuple(_cell(cell, metric, names) for cell in gate.get("cells") or ())
    return GateRow(plain(gate.get("id")), demand, where or "every cell", str(gate.get("verdict", "invalid")), plain(gate.get("detail", "")), cells)


def _bound(metric: str, demand: str) -> str:
    """`<= 0.40` as it is printed: with signs of print, a share in percent."""
    match = re.fullmatch(r"\s*(<=|>=|<|>)\s*([0-9.eE+-]+)\s*", demand)
    try:
        bound = float(match[2]) if match else None
    except ValueError:
        bound = None
    if match is None or bound is None:
        return plain(demand)
    share = wording.metric_named(metric).unit == "share" and metric not in wording.DECIMAL_SHARES
    return f"{SIGNS.get(match[1], match[1])}{wording.SPACE}{f'{100 * bound:g}{wording.SPACE}%' if share else f'{bound:g}'}"


def _condition(name: str, value: object) -> str:
    if isinstance(value, list):
        return f"{plain(name)} {' or '.join(wording.strength_value(name, one) for one in value)}"
    return wording.strength(name, value)


def _cell(cell: Json, metric: str, names: Mapping[Any, str]) -> tuple[str, str, str, str]:
    value, n = number(cell.get("value")), number(cell.get("n"))
    low, high = number(cell.get("low")), number(cell.get("high"))
    said = wording.DASH if value is None else wording.figure(metric, value, n)
    between = "" if value is None or low is None or high is None else f" {wording.interval(metric, low, high, n)}"
    size = "" if n is None or value is None else f", n {n:.0f}"
    name = names.get(cell.get("key")) or plain(cell.get("label", cell.get("key", "")))
    return name, f"{said}{between}{size}", str(cell.get("verdict", "invalid")), plain(cell.get("detail", ""))
