"""What every drawing is made of: points, lines, panels, axes and names that do not lie on each other; `templates/figures.svg.j2` draws it."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from redteam.reports import wording, words
from redteam.reports.wording import number

WIDTH, HEIGHT, HEAD = 500, 264, 6  # HEAD is room above y = 0, for names over points at 100 %
LEFT, RIGHT, TOP, BOTTOM = 52, 394, 16, 214  # of the plotting area; the right margin holds the names of the lines
TICK_GAP, NAME_GAP = 40, 15  # least distance between two tick labels, and between two names
LETTER = 7.0  # width of a letter of a name, at most on average
LONGEST = 15  # letters of a name in a drawing; the whole name stands in the tables

Role = Literal["attack", "single", "noise", "identity", "clean"]
Shape = Literal["dot", "square", "triangle"]
Json = Mapping[str, Any]


@dataclass(frozen=True)
class Point:
    """A measured point on the drawing, in its units.

    low, high: the ends of the interval
    words:     the figure with its interval
    tip:       all that is known of the point, for a reader who points at it
    """

    x: float
    y: float
    low: float | None
    high: float | None
    verdict: str
    words: str
    tip: str = ""
    shape: Shape = "dot"


@dataclass(frozen=True)
class Line:
    """One curve: an attack, or a control arm beside it.

    pieces:   polylines, broken where a point is missing
    bands:    closed outlines of the interval, broken likewise
    marked:   whether its points are drawn
    whiskers: whether each point has its interval as an upright stroke
    name_y, name_x: where the name begins; no name is drawn where name_y is None
    """

    role: Role
    name: str
    points: tuple[Point, ...]
    pieces: tuple[str, ...]
    bands: tuple[str, ...] = ()
    name_y: float | None = None
    name_x: float = RIGHT + 6
    marked: bool = True
    whiskers: bool = False


@dataclass(frozen=True)
class Panel:
    """One metric against another quantity.

    id:    names the panel in the page, and its file
    where: corpus, target and defense in words
    kind:  the metric that it draws, which gives it its colour
    bars:  upright bars on the x axis: (x, width, height, what it counts)
    right: where the axes end
    """

    id: str
    where: str
    kind: str
    title: str
    direction: str
    x_label: str
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]
    lines: tuple[Line, ...]
    description: str
    bars: tuple[tuple[float, float, float, str], ...] = ()
    right: float = RIGHT

    @property
    def name(self) -> str:
        """What the drawing shows, as its title."""
        return f"{self.where}: {self.title} against {self.x_label}"


def slug(number: int, key: Sequence[str]) -> str:
    """A name for the drawings of one corpus, target and defense that may stand in a file name.

    >>> slug(1, ("camera", "../npr", "jpeg 80"))
    '1-camera-npr-jpeg-80'
    """
    return f"{number}-{re.sub('[^A-Za-z0-9]+', '-', '-'.join(key))[:60].strip('-')}"


def where(key: Sequence[str]) -> str:
    """Corpus, target and defense in words."""
    return " / ".join(wording.plain(name) for name in key)


def height(share: float) -> float:
    """A share -> y; the y axis of a drawing points down."""
    return BOTTOM - (BOTTOM - TOP) * min(max(share, 0.0), 1.0)


def share_ticks() -> tuple[tuple[float, str], ...]:
    """The ticks of an axis of shares."""
    return tuple((height(share), wording.percent(share)) for share in (0.0, 0.25, 0.5, 0.75, 1.0))


def point(cell: Json, metric: str, x: float, name: str = "", shape: Shape = "dot") -> Point | None:
    """A metric of a cell or a worst case at x; None where it is absent."""
    entry = (cell.get("metrics") or {}).get(metric)
    value = number(entry.get("value")) if isinstance(entry, Mapping) else None
    if value is None:
        return None
    low, high, n = number(entry.get("low")), number(entry.get("high")), number(entry.get("n"))
    between = "" if low is None or high is None else f" {wording.interval(metric, low, high, n)}"
    said = f"{wording.percent(value, n)}{between}"
    flags = " ".join(dict.fromkeys(wording.plain(flag.get("id")) for flag in cell.get("flags") or ()))
    verdict = str(cell.get("verdict", ""))
    parts = [said, "" if n is None else f"n {n:.0f}", words.verdict_word(verdict), flags]
    tip = f"{name}: {', '.join(part for part in parts if part)}"
    return Point(x, height(value), None if low is None else height(low), None if high is None else height(high), verdict, said, tip, shape)


def line(role: Role, name: str, points: Sequence[Point | None], *, band: bool = True, **drawn: Any) -> Line:
    """Points in a row as one line, its name after its last point."""
    runs = _runs(points)
    kept = tuple(p for run in runs for p in run)
    pieces = tuple(" ".join(f"{p.x:.1f},{p.y:.1f}" for p in run) for run in runs if len(run) > 1)
    return replace(Line(role, short(name), kept, pieces, _bands(runs) if band else (), max(kept, key=lambda p: p.x).y), **drawn)


def short(name: str) -> str:
    """A name as it stands in a drawing."""
    said = wording.plain(name)
    return said if len(said) <= LONGEST else f"{said[: LONGEST - 1]}…"


def ticks(marks: Sequence[tuple[float, str]]) -> tuple[tuple[float, str], ...]:
    """Every place keeps its tick; a label that would touch the one before is left out. The rightmost always keeps its own."""
    kept: list[tuple[float, str]] = []
    for x, text in sorted(marks, reverse=True):
        near = any(other and abs(x - at) < max(TICK_GAP, 4 * (len(text) + len(other))) for at, other in kept)
        kept.append((x, "" if near else text))
    return tuple(reversed(kept))


def apart(lines: Sequence[Line]) -> tuple[Line, ...]:
    """Names in the right margin moved up or down so that none lies on another and none leaves the drawing; attacks are drawn last, on top."""
    placed: list[Line] = []
    for one in sorted(lines, key=lambda one: one.name_y or 0.0):
        floor = (placed[-1].name_y or 0.0) + NAME_GAP if placed else TOP
        placed.append(replace(one, name_y=max(one.name_y or 0.0, floor)))
    last = len(placed) - 1
    over = placed and (placed[last].name_y or 0.0) > BOTTOM
    lifted = [replace(one, name_y=min(one.name_y or 0.0, BOTTOM - NAME_GAP * (last - i))) for i, one in enumerate(placed)] if over else placed
    return tuple(sorted(lifted, key=lambda one: ("identity", "noise", "clean", "single", "attack").index(one.role)))


def _runs(points: Sequence[Point | None]) -> list[list[Point]]:
    """Points in a row, cut where one is missing: a line never bridges what was not measured."""
    runs: list[list[Point]] = [[]]
    for one in points:
        if one is None:
            runs.append([])
        else:
            runs[-1].append(one)
    return [sorted(run, key=lambda p: p.x) for run in runs if run]


def _bands(runs: list[list[Point]]) -> tuple[str, ...]:
    whole = [[p for p in run if p.low is not None and p.high is not None] for run in runs]
    return tuple(
        " ".join([*(f"{p.x:.1f},{p.high:.1f}" for p in run), *(f"{p.x:.1f},{p.low:.1f}" for p in reversed(run))])
        for run in whole
        if len(run) > 1
    )


def nice_step(span: float, most: int = 7) -> float:
    """A round step that divides a span into at most so many parts.

    >>> nice_step(31.0), nice_step(0.21)
    (5.0, 0.05)
    """
    power = 10 ** math.floor(math.log10(span / most))
    return next(step * power for step in (1.0, 2.0, 5.0, 10.0) if span / (step * power) <= most)
