"""Curves of harm against strength: geometry only; `templates/figures.svg.j2` draws it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from redteam.reports import tables, wording
from redteam.reports.tables import value_of
from redteam.reports.wording import number

WIDTH, HEIGHT = 500, 264
LEFT, RIGHT, TOP, BOTTOM = 52, 394, 16, 214  # of the plotting area; the right margin holds the names of the lines
TICK_GAP, NAME_GAP = 40, 15  # least distance between two tick labels, and between two names
LOG_FROM = 20  # a sweep over so many times its smallest strength is drawn on a logarithmic axis
FALLING = ("quality",)  # strengths that do more harm as they fall: drawn from high to low

Json = Mapping[str, Any]
Scale = Callable[[float], float]


@dataclass(frozen=True)
class Point:
    """A measured point on the drawing, in its units; `low` and `high` are the ends of the interval."""

    x: float
    y: float
    low: float | None
    high: float | None
    verdict: str
    words: str


@dataclass(frozen=True)
class Line:
    """One curve: an attack, or a control arm beside it.

    pieces: polylines, broken where a point is missing
    bands:  closed outlines of the interval, broken likewise
    """

    role: Literal["attack", "noise", "identity"]
    name: str
    points: tuple[Point, ...]
    pieces: tuple[str, ...]
    bands: tuple[str, ...]
    name_y: float


@dataclass(frozen=True)
class Panel:
    """One metric against one strength."""

    metric: str
    title: str
    direction: str
    x_label: str
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]
    lines: tuple[Line, ...]
    description: str


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
    return [figure for key, cells in tables.grouped(summary).items() for figure in _figures(key, cells)]


def _figures(key: tables.Key, cells: list[Json]) -> Iterator[Figure]:
    for axis, fixed, swept in _sweeps(cells):
        panels = tuple(panel for metric in tables.BARS if (panel := _panel(metric, axis, swept, cells)))
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


def _panel(metric: str, axis: str, swept: list[Json], cells: list[Json]) -> Panel | None:
    """None where no cell of the sweep has the metric."""
    if all(value_of(cell, metric) is None for cell in swept):
        return None
    place = _scale([cell["strength"][axis] for cell in swept], axis)
    entry, norm = wording.metric_named(metric), swept[0].get("norm")
    lines = [_line("attack", swept[0]["attack"], metric, [(cell["strength"][axis], cell) for cell in swept], place)]
    noise = [(cell["strength"][axis], arm) for cell in swept if (arm := tables.noise_of(cell, cells))]
    identity = tables.identity_of(cells)
    level = [(cell["strength"][axis], identity) for cell in (swept[0], swept[-1]) if identity]
    for role, name, members in (("noise", "noise", noise), ("identity", "unchanged", level)):
        if any(value_of(cell, metric) is not None for _, cell in members):
            lines.append(_line(role, name, metric, members, place))
    labels = {place(cell["strength"][axis]): wording.strength_value(axis, cell["strength"][axis], norm) for cell in swept}
    said = _description(f"{entry.title} against {wording.plain(axis)}", lines, labels)
    return Panel(metric, entry.title, wording.direction(metric), _x_label(axis, norm), _ticks(list(labels.items())), _y_ticks(), tuple(_apart(lines)), said)


def _x_label(axis: str, norm: object) -> str:
    last = axis.rpartition(".")[2]
    if last == "eps" and norm:
        return f"{wording.plain(axis)}, {wording.norm_name(norm)} radius of the attack"
    return f"{wording.plain(axis)}{' (lower is stronger)' if last in FALLING else ''}"


def _line(role: Literal["attack", "noise", "identity"], name: str, metric: str, members: list[tuple[float, Json]], place: Scale) -> Line:
    points = [_point(cell, metric, place(x)) for x, cell in members]
    runs = _runs(points)
    pieces = tuple(" ".join(f"{p.x:.1f},{p.y:.1f}" for p in run) for run in runs if len(run) > 1)
    kept = tuple(p for run in runs for p in run)
    return Line(role, wording.plain(name)[:15], kept, pieces, () if role == "identity" else _bands(runs), max(kept, key=lambda p: p.x).y)


def _point(cell: Json, metric: str, x: float) -> Point | None:
    value = value_of(cell, metric)
    if value is None:
        return None
    entry = cell["metrics"][metric]
    low, high, n = number(entry.get("low")), number(entry.get("high")), number(entry.get("n"))
    between = "" if low is None or high is None else f" {wording.interval(metric, low, high, n)}"
    said = f"{wording.percent(value, n)}{between}"
    return Point(x, _height(value), None if low is None else _height(low), None if high is None else _height(high), str(cell.get("verdict")), said)


def _runs(points: Sequence[Point | None]) -> list[list[Point]]:
    """Points in a row, cut where one is missing: a line never bridges what was not measured."""
    runs: list[list[Point]] = [[]]
    for point in points:
        if point is None:
            runs.append([])
        else:
            runs[-1].append(point)
    return [sorted(run, key=lambda p: p.x) for run in runs if run]


def _bands(runs: list[list[Point]]) -> tuple[str, ...]:
    whole = [[p for p in run if p.low is not None and p.high is not None] for run in runs]
    return tuple(
        " ".join([*(f"{p.x:.1f},{p.high:.1f}" for p in run), *(f"{p.x:.1f},{p.low:.1f}" for p in reversed(run))])
        for run in whole
        if len(run) > 1
    )


def _scale(values: list[float], axis: str) -> Scale:
    """Strength -> x. A radius starts at 0, where nothing is changed; long sweeps are logarithmic."""
    low, high = min(values), max(values)
    last = axis.rpartition(".")[2]
    start = 0.0 if last == "eps" and low >= 0 and high < LOG_FROM * max(low, 1e-12) else low
    bend = math.log if low > 0 and high >= LOG_FROM * low else float
    left, right = (RIGHT - 10, LEFT + 10) if last in FALLING else (LEFT + 10, RIGHT - 10)
    return lambda x: left + (right - left) * (bend(x) - bend(start)) / (bend(high) - bend(start))


def _height(share: float) -> float:
    return BOTTOM - (BOTTOM - TOP) * min(max(share, 0.0), 1.0)


def _y_ticks() -> tuple[tuple[float, str], ...]:
    return tuple((_height(share), wording.percent(share)) for share in (0.0, 0.25, 0.5, 0.75, 1.0))


def _ticks(ticks: list[tuple[float, str]]) -> tuple[tuple[float, str], ...]:
    """Every place keeps its tick; a label that would touch the one before is left out. The strongest always keeps its own."""
    ordered = sorted(ticks)
    kept: list[tuple[float, str]] = []
    for x, text in reversed(ordered):
        near = any(text_ and abs(x - x_) < max(TICK_GAP, 4 * (len(text) + len(text_))) for x_, text_ in kept)
        kept.append((x, "" if near else text))
    return tuple(reversed(kept))


def _apart(lines: list[Line]) -> list[Line]:
    """Names moved up or down so that none lies on another and none leaves the drawing."""
    placed: list[Line] = []
    for line in sorted(lines, key=lambda line: line.name_y):
        floor = placed[-1].name_y + NAME_GAP if placed else TOP
        placed.append(replace(line, name_y=max(line.name_y, floor)))
    over = max(0.0, placed[-1].name_y - BOTTOM)
    lifted = [replace(line, name_y=min(line.name_y, BOTTOM - NAME_GAP * (len(placed) - 1 - i))) for i, line in enumerate(placed)] if over else placed
    return sorted(lifted, key=lambda line: ("identity", "noise", "attack").index(line.role))  # the attack is drawn last, on top


def _description(title: str, lines: list[Line], labels: Mapping[float, str]) -> str:
    """The drawing in words, for those who do not see it."""
    said = [f"{line.name}: {'; '.join(f'{labels[point.x]}: {point.words}' for point in line.points)}" for line in lines if line.role != "identity"]
    said += [f"{line.name}: {line.points[0].words}" for line in lines if line.role == "identity"]
    return f"{title}. {'. '.join(said)}."
