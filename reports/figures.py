"""Curves of harm against strength, control arms beside each attack."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from redteam.reports import drawing, tables, wording
from redteam.reports.drawing import LEFT, RIGHT, Line, Panel
from redteam.reports.tables import value_of
from redteam.reports.wording import number

LOG_FROM = 20  # a sweep over so many times its smallest strength is drawn on a logarithmic axis
FALLING = ("quality",)  # strengths that do more harm as they fall: drawn from high to low

Json = Mapping[str, Any]
Scale = Callable[[float], float]


@dataclass(frozen=True)
class Figure:
    """One swept attack on one corpus, target and defense."""

    data: str
    target: str
    defense: str
    attack: str
    fixed: str
    panels: tuple[Panel, ...]


def curves(summary: Json) -> list[Figure]:
    """A figure for each strength that an attack was swept over, in the order of the summary."""
    return [figure for i, (key, cells) in enumerate(tables.grouped(summary).items(), 1) for figure in _figures(f"{drawing.slug(i, key)}-curve", key, cells)]


def _figures(name: str, key: tables.Key, cells: list[Json]) -> Iterator[Figure]:
    for i, (axis, fixed, swept) in enumerate(_sweeps(cells), 1):
        panels = tuple(panel for metric in tables.BARS if (panel := _panel((f"{name}-{i}-{metric}", drawing.where(key)), metric, axis, swept, cells)))
        if panels:
            yield Figure(*key, swept[0]["attack"], fixed, panels)


def _sweeps(cells: list[Json]) -> Iterator[tuple[str, str, list[Json]]]:
    """(name of the swept strength, the other strengths in words, cells from low to high) of each sweep."""
    for attack in dict.fromkeys((cell["attack"], cell.get("goal")) for cell in cells if not cell.get("control")):
        members = [cell for cell in cells if not cell.get("control") and (cell["attack"], cell.get("goal")) == attack]
        for axis in dict.fromkeys(name for cell in members for name in cell.get("strength") or {}):
            families: dict[str, list[Json]] = {}
            for cell in members:
                if number((cell.get("strength") or {}).get(axis)) is not None:
                    families.setdefault(_others(cell, axis), []).append(cell)
            for fixed, family in families.items():
                if len({cell["strength"][axis] for cell in family}) > 1:
                    yield axis, fixed, sorted(family, key=lambda cell: cell["strength"][axis])


def _others(cell: Json, axis: str) -> str:
    """What stays the same along a sweep, in words."""
    rest = [wording.strength(name, value, cell.get("norm")) for name, value in cell["strength"].items() if name != axis]
    repeat = [f"repeat {cell['repeat']}"] if cell.get("repeat") else []
    return ", ".join(rest + repeat)


def _panel(name: tuple[str, str], metric: str, axis: str, swept: list[Json], cells: list[Json]) -> Panel | None:
    """None where no cell of the sweep has the metric."""
    if all(value_of(cell, metric) is None for cell in swept):
        return None
    place = _scale([cell["strength"][axis] for cell in swept], axis)
    norm = swept[0].get("norm")
    lines = [_line("attack", swept[0]["attack"], metric, [(cell["strength"][axis], cell) for cell in swept], place)]
    noise = [(cell["strength"][axis], arm) for cell in swept if (arm := tables.noise_of(cell, cells))]
    identity = tables.identity_of(cells)
    level = [(cell["strength"][axis], identity) for cell in (swept[0], swept[-1]) if identity]
    for role, called, members in (("noise", "noise", noise), ("identity", "unchanged", level)):
        if any(value_of(cell, metric) is not None for _, cell in members):
            lines.append(_line(role, called, metric, members, place))
    labels = {place(cell["strength"][axis]): wording.strength_value(axis, cell["strength"][axis], norm) for cell in swept}
    title, better = wording.metric_named(metric).title, wording.direction(metric)
    said = _description(f"{title} against {wording.plain(axis)}", lines, labels)
    return Panel(*name, metric, title, better, _x_label(axis, norm), drawing.ticks(list(labels.items())), drawing.share_ticks(), drawing.apart(lines), said)


def _x_label(axis: str, norm: object) -> str:
    last = axis.rpartition(".")[2]
    if last == "eps" and norm:
        return f"{wording.plain(axis)}, {wording.norm_name(norm)} radius of the attack"
    return f"{wording.plain(axis)}{' (lower is stronger)' if last in FALLING else ''}"


def _line(role: drawing.Role, name: str, metric: str, members: list[tuple[float, Json]], place: Scale) -> Line:
    points = [drawing.point(cell, metric, place(x), wording.attack_name(cell)) for x, cell in members]
    return drawing.line(role, name, points, band=role != "identity", marked=role != "identity")


def _scale(values: list[float], axis: str) -> Scale:
    """Strength -> x. A radius starts at 0, where nothing is changed; long sweeps are logarithmic."""
    low, high = min(values), max(values)
    last = axis.rpartition(".")[2]
    start = 0.0 if last == "eps" and low >= 0 and high < LOG_FROM * max(low, 1e-12) else low
    bend = math.log if low > 0 and high >= LOG_FROM * low else float
    left, right = (RIGHT - 10, LEFT + 10) if last in FALLING else (LEFT + 10, RIGHT - 10)
    return lambda x: left + (right - left) * (bend(x) - bend(start)) / (bend(high) - bend(start))


def _description(title: str, lines: list[Line], labels: Mapping[float, str]) -> str:
    """The drawing in words, for those who do not see it."""
    said = [f"{line.name}: {'; '.join(f'{labels[point.x]}: {point.words}' for point in line.points)}" for line in lines if line.role != "identity"]
    said += [f"{line.name}: {line.points[0].words}" for line in lines if line.role == "identity"]
    return f"{title}. {'. '.join(said)}."
