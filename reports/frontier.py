"""Quality against robustness: how much an attacker must spoil a picture, each attack a point, the worst case per image a line."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from redteam.measure.statistics import Estimate, Unresolvable, clustered_rate
from redteam.reports import drawing, tables, wording
from redteam.reports.directory import RunDirectory
from redteam.reports.drawing import BOTTOM, LEFT, LETTER, Line, Panel, Point, Shape
from redteam.reports.rows import Answer, Rows
from redteam.reports.tables import value_of

QUALITIES = (("psnr_db", "PSNR of the attacked image, dB (to the right: harder to see)"), ("ssim", "SSIM of the attacked image (to the right: harder to see)"))
QUESTIONS = {"attack_success_rate": "How much must a fake be spoiled before it passes?", "frame_rate": "How little does it take to have a real image accused?"}
LABELS = {"attack_success_rate": 1, "frame_rate": 0}  # metric -> the images that it counts
END = drawing.WIDTH - 12.0  # of the axis; names stand beside their points and need no margin
NAME_HEIGHT = 12.0
ROUND = {"psnr_db": 5.0, "ssim": 0.05}
STEPS = 40  # places at most where the line is computed
SHAPES: dict[str, Shape] = {"linf": "dot", "l2": "square"}  # an attack without a budget is a triangle

Json = Mapping[str, Any]


@dataclass(frozen=True)
class Frontier:
    """One corpus, target and defense.

    panels: one for each direction that an attack can take
    sentences: the worst case per image of each, in words
    notes:  which attacks cannot be placed, and why
    """

    data: str
    target: str
    defense: str
    panels: tuple[Panel, ...]
    sentences: tuple[str, ...]
    notes: tuple[str, ...]


def frontiers(run: RunDirectory) -> list[Frontier]:
    """A drawing of each block whose attacks have a quality, in the order of the summary."""
    found = (_frontier(f"{drawing.slug(i, key)}-quality", key, cells, run.rows) for i, (key, cells) in enumerate(tables.grouped(run.summary).items(), 1))
    return [frontier for frontier in found if frontier is not None]


def _frontier(name: str, key: tables.Key, cells: list[Json], rows: Rows) -> Frontier | None:
    attacks = [cell for cell in cells if not cell.get("control") and any(value_of(cell, metric) is not None for metric in tables.BARS)]
    quality, label = next((pair for pair in QUALITIES if any(value_of(cell, pair[0]) is not None for cell in attacks)), ("", ""))
    placed = [cell for cell in cells if value_of(cell, quality) is not None and cell["attack"] != "identity"]
    if not any(cell in attacks for cell in placed):
        return None
    shares = {metric: worst_within(metric, quality, [cell for cell in placed if cell in attacks], rows) for metric in tables.BARS}
    panels = (_panel((f"{name}-{metric}", drawing.where(key)), metric, (quality, label), placed, shares[metric]) for metric in tables.BARS)
    said = tuple(f"{QUESTIONS[metric]} {_steps_in_words(steps, quality)}" for metric, steps in shares.items() if steps)
    lost = [cell for cell in attacks if value_of(cell, quality) is None]
    title = wording.metric_named(quality).title
    notes = [f"Not drawn, since without a {title}: {wording.listed(wording.attack_names(lost), 6)}."] if lost else []
    return Frontier(*key, tuple(panel for panel in panels if panel), said, tuple(notes))


def _panel(name: tuple[str, str], metric: str, axis: tuple[str, str], cells: list[Json], steps: list[tuple[float, Estimate]]) -> Panel | None:
    """None where no attack has the metric."""
    quality, label = axis
    rated = [cell for cell in cells if value_of(cell, metric) is not None]
    attacks = [cell for cell in rated if not cell.get("control")]
    if not attacks:
        return None
    values = [value_of(cell, quality) or 0.0 for cell in rated] + [q for q, _ in steps if math.isfinite(q)]
    place, marks = _axis(min(values), max(values), quality)
    lines = [*_envelope(steps, place), *_controls(metric, quality, rated, place), *_families(metric, quality, attacks, place)]
    said = f"{QUESTIONS[metric]} {' '.join(_in_words(cell, metric, quality) for cell in rated)} {_steps_in_words(steps, quality)}"
    return Panel(*name, metric, QUESTIONS[metric], wording.direction(metric), label, marks, drawing.share_ticks(), tuple(_named(lines)), said, right=END)


def worst_within(metric: str, quality: str, attacks: Sequence[Json], rows: Rows) -> list[tuple[float, Estimate]]:
    """(least quality, share of images that some attack turns while keeping it) from the highest quality down; empty where groups are too few.

    Each image counts with the best quality at which any of the attacks succeeds, so the same images stand behind each share.
    """
    best: dict[str, float] = {}
    groups: dict[str, str] = {}
    for cell in attacks:
        for answer in rows.answers.get(str(cell.get("key")), ()) if cell.get("verdict") != "invalid" else ():
            if answer.label == LABELS[metric] and answer.attackable and quality in answer.quality:
                groups[answer.id] = answer.group
                best[answer.id] = max(best.get(answer.id, -math.inf), _reached(answer, quality))
    turned = np.array([best[name] for name in groups])
    at = np.unique(turned[np.isfinite(turned)])[::-1]
    if len(at):
        some = at[np.unique(np.linspace(0, len(at) - 1, min(STEPS, len(at))).round().astype(int))]
        at = np.union1d(some, _round_levels(at[-1], at[0], quality))[::-1]
    try:
        return [(float(q), clustered_rate((turned >= q).astype(float), list(groups.values()))) for q in at]
    except Unresolvable:
        return []


def _round_levels(low: float, high: float, quality: str) -> list[float]:
    """The round qualities between two, at which the line is told in words."""
    each = ROUND[quality]
    return [round(i * each, 6) for i in range(math.ceil(low / each), math.floor(high / each) + 1)]


def _reached(answer: Answer, quality: str) -> float:
    return answer.quality[quality] if answer.success and answer.kept else -math.inf


def _axis(low: float, high: float, quality: str) -> tuple[Any, tuple[tuple[float, str], ...]]:
    """(quality -> x, ticks); a little wider than what is drawn."""
    room = 0.06 * (high - low) or (1.0 if quality == "psnr_db" else 0.01)
    low, high = low - room, min(high + room, 1.0) if quality == "ssim" else high + room

    def place(value: float) -> float:
        return LEFT + (END - LEFT) * (min(max(value, low), high) - low) / (high - low)

    step = drawing.nice_step(high - low)
    values = [i * step for i in range(math.ceil(low / step), math.floor(high / step) + 1)]
    return place, drawing.ticks([(place(value), f"{value:g}") for value in values])


def _envelope(steps: list[tuple[float, Estimate]], place: Any) -> Iterator[Line]:
    """The worst case per image: a staircase that rises where more is allowed."""
    if not steps:
        return
    last = place(-math.inf)
    corners: list[tuple[float, Estimate]] = []
    for i, (quality, share) in enumerate(steps):
        until = place(steps[i + 1][0]) if i + 1 < len(steps) else last
        corners += [(place(quality), share), (until, share)]
    path = " ".join([f"{corners[0][0]:.1f},{BOTTOM}", *(f"{x:.1f},{drawing.height(share.value):.1f}" for x, share in corners)])
    upper = [f"{x:.1f},{drawing.height(share.high):.1f}" for x, share in corners]
    lower = [f"{x:.1f},{drawing.height(share.low):.1f}" for x, share in reversed(corners)]
    points = tuple(_step_point(place(quality), quality, share) for quality, share in steps)
    yield Line("single", "worst case", points, (path,), (" ".join([*upper, *lower]),), marked=False)


def _step_point(x: float, quality: float, share: Estimate) -> Point:
    said = f"{wording.percent(share.value, share.n)} {wording.interval('tpr', share.low, share.high, share.n)}"
    tip = f"keeping {quality:.3g} or more: {said}, n {share.n}"
    return Point(x, drawing.height(share.value), drawing.height(share.low), drawing.height(share.high), "valid", said, tip)


def _controls(metric: str, quality: str, cells: Sequence[Json], place: Any) -> Iterator[Line]:
    points = [_point(cell, metric, quality, place) for cell in cells if cell.get("control")]
    if points:
        yield Line("noise", "noise", tuple(points), (), whiskers=True)


def _families(metric: str, quality: str, attacks: Sequence[Json], place: Any) -> Iterator[Line]:
    """The strengths of an attack, joined in their order; a name stands at the most harmful one."""
    families: dict[str, list[Json]] = {}
    for cell in attacks:
        families.setdefault(str(cell["attack"]), []).append(cell)
    for name, members in families.items():
        axes = {(tuple(cell.get("strength") or {}), cell.get("repeat")) for cell in members}
        swept = len(members) > 1 and len(axes) == 1 and len(members[0].get("strength") or {}) == 1
        ordered = sorted(members, key=lambda cell: [wording.number(value) or 0.0 for value in cell["strength"].values()]) if swept else members
        points = tuple(_point(cell, metric, quality, place) for cell in ordered)
        piece = (" ".join(f"{p.x:.1f},{p.y:.1f}" for p in points),) if swept else ()
        yield Line("attack", drawing.short(name), points, piece, whiskers=True)


def _point(cell: Json, metric: str, quality: str, place: Any) -> Point:
    value = value_of(cell, quality) or 0.0
    found = drawing.point(cell, metric, place(value), wording.attack_name(cell), SHAPES.get(str(cell.get("norm")), "triangle"))
    if found is None:
        raise ValueError(f"frontier: {cell.get('key')} must have {metric}, got none; only rated cells are placed")
    shown = wording.figure(quality, value)
    return replace(found, tip=f"{found.tip}, {wording.metric_named(quality).title} {shown}{' dB' if quality == 'psnr_db' else ''}")


def _named(lines: Sequence[Line]) -> Iterator[Line]:
    """Each attack with its name at the first free place about its most harmful point; the rest is found by pointing."""
    taken = [(x - 5, y - 5, x + 5, y + 5) for one in lines for x, y in _along(one)]
    spots: dict[int, tuple[float, float, float, float]] = {}
    for i in sorted(range(len(lines)), key=lambda i: (lines[i].role != "attack", min(p.y for p in lines[i].points))):  # the most harmful attack chooses first
        spot = _free(lines[i], taken)
        if spot is not None:
            taken.append((spot[0] - 6, spot[1], spot[2] + 6, spot[3]))
            spots[i] = spot
    for i, one in enumerate(lines):
        yield replace(one, name_x=spots[i][0], name_y=spots[i][3] - NAME_HEIGHT / 2) if i in spots else one


def _along(one: Line) -> Iterator[tuple[float, float]]:
    """Places on a line, close enough together that a name between two of them would touch it."""
    yield from ((p.x, p.y) for p in one.points)
    for piece in one.pieces:
        corners = [tuple(map(float, corner.split(","))) for corner in piece.split()]
        for (x0, y0), (x1, y1) in zip(corners, corners[1:], strict=False):
            parts = max(1, math.ceil(math.hypot(x1 - x0, y1 - y0) / 8))
            yield from ((x0 + (x1 - x0) * i / parts, y0 + (y1 - y0) * i / parts) for i in range(1, parts))


def _free(one: Line, taken: Sequence[tuple[float, float, float, float]]) -> tuple[float, float, float, float] | None:
    """The box of a name (left, top, right, bottom) that touches no other; None where there is no room."""
    long = LETTER * len(one.name)
    for p in sorted(one.points, key=lambda p: p.y):
        right, left, middle = p.x + 8, p.x - 8 - long, p.x - long / 2
        for x, y in ((right, p.y), (left, p.y), (right, p.y + 13), (left, p.y + 13), (middle, p.y - 13), (right, p.y - 13), (left, p.y - 13), (middle, p.y + 15)):
            box = (x, y - NAME_HEIGHT / 2, x + long, y + NAME_HEIGHT / 2)
            inside = box[0] >= LEFT and box[2] <= drawing.WIDTH and box[1] >= -3 and box[3] <= BOTTOM
            if inside and not any(box[0] < x1 and x0 < box[2] and box[1] < y1 and y0 < box[3] for x0, y0, x1, y1 in taken):
                return box
    return None


def _in_words(cell: Json, metric: str, quality: str) -> str:
    """One point in a sentence."""
    found = tables.shown(cell, metric, tables.Notes())
    shown = wording.figure(quality, value_of(cell, quality) or 0.0)
    return f"{wording.attack_name(cell)} at {shown}{' dB' if quality == 'psnr_db' else ''}: {found.text} {found.interval}".rstrip() + "."


def _steps_in_words(steps: Sequence[tuple[float, Estimate]], quality: str) -> str:
    """The line at round qualities, or where it begins and ends."""
    if not steps:
        return ""
    unit = " dB" if quality == "psnr_db" else ""
    levels = set(_round_levels(steps[-1][0], steps[0][0], quality))
    told = [step for step in steps if step[0] in levels] or [steps[0], steps[-1]]
    return f"Worst case per image: {'; '.join(f'keeping {q:.3g}{unit} or more: {wording.percent(share.value, share.n)}' for q, share in told)}."
