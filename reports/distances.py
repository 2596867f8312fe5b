"""Accuracy against budget from the smallest change that each image took, where an attack looked for it: the whole curve from one cell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from redteam.measure.statistics import Estimate, Unresolvable, clustered_rate
from redteam.reports import drawing, tables, wording
from redteam.reports.directory import RunDirectory
from redteam.reports.drawing import LEFT, RIGHT, Panel, Point
from redteam.reports.rows import Answer
from redteam.reports.wording import number

METRIC = "robust_accuracy"
MOST = 24  # budgets that a curve is measured at
SAME = 1e-6  # relative difference of a distance and a budget that are one

Json = Mapping[str, Any]


@dataclass(frozen=True)
class Distances:
    """One corpus, target and defense.

    panels:    one for each attack that looked for the smallest change
    sentences: the budgets at which shares of the images have fallen
    """

    data: str
    target: str
    defense: str
    panels: tuple[Panel, ...]
    sentences: tuple[str, ...]


def distances(run: RunDirectory) -> list[Distances]:
    """The blocks in which some attack noted distances, in the order of the summary."""
    found = (_block(f"{drawing.slug(i, key)}-distance", key, cells, run) for i, (key, cells) in enumerate(tables.grouped(run.summary).items(), 1))
    return [block for block in found if block.sentences]


def _block(name: str, key: tables.Key, cells: list[Json], run: RunDirectory) -> Distances:
    panels, sentences = [], []
    for i, cell in enumerate(cells):
        answers = run.rows.answers.get(str(cell.get("key")), [])
        norm = cell.get("norm") or cell.get("distance_norm")
        if norm and any(answer.distance is not None for answer in answers):
            sentences.append(_sentence(cell, str(norm), answers))
            panels.append(_panel((f"{name}-{i}", drawing.where(key)), cell, str(norm), answers))
    return Distances(*key, tuple(panel for panel in panels if panel), tuple(sentences))


def left(answers: Sequence[Answer], budget: float) -> Estimate:
    """The share of images that are judged rightly and take more than the budget to be misjudged.

    Raises:
        Unresolvable: the images come from too few groups.
    """
    holds = [float(answer.attackable and (answer.distance is None or answer.distance > budget * (1 + SAME))) for answer in answers]
    return clustered_rate(holds, [answer.group for answer in answers])


def _sentence(cell: Json, norm: str, answers: Sequence[Answer]) -> str:
    """The quantiles of the distance among the images that were judged rightly."""
    found = sorted(np.inf if answer.distance is None else answer.distance for answer in answers if answer.attackable)
    if not found:
        return f"{wording.attack_name(cell)}: no image was judged rightly when clean."
    half, quarter, most = (_quantile(found, share, norm, cell) for share in (0.5, 0.25, 0.75))
    return f"{wording.attack_name(cell)}: of {wording.counted(len(found), 'image')} that were judged rightly half fall within {half} ({wording.norm_name(norm)}), a quarter within {quarter}, three quarters within {most}."


def _quantile(found: Sequence[float], share: float, norm: str, cell: Json) -> str:
    """The smallest budget within which this share falls."""
    value = found[max(0, int(np.ceil(share * len(found))) - 1)]
    if value == np.inf:
        most = number(cell.get("eps"))
        return "no budget" if most is None else f"no budget up to {wording.radius(most, norm)}"
    return wording.radius(value, norm)


def _panel(name: tuple[str, str], cell: Json, norm: str, answers: Sequence[Answer]) -> Panel | None:
    """None where the images come from too few groups for an interval."""
    budgets = _budgets(cell, norm, answers)
    places = {budget: LEFT + 10 + (RIGHT - LEFT - 20) * budget / budgets[-1] for budget in budgets}
    try:
        points = [_point(left(answers, budget), places[budget], wording.radius(budget, norm) if budget else "unchanged images") for budget in budgets]
    except Unresolvable:
        return None
    steps = drawing.line("attack", str(cell["attack"]), _stairs(points), whiskers=True)
    curve = replace(steps, points=tuple(points))
    level = drawing.line("identity", "unchanged", [points[0], Point(places[budgets[-1]], points[0].y, None, None, "", points[0].words)], band=False, marked=False)
    label = f"{wording.norm_name(norm)} radius"
    title = f"Accuracy under {wording.attack_name(cell)}"
    said = f"Accuracy that is left, against the {label}. {_in_words(points)}"
    ticks = drawing.ticks([(places[budget], wording.radius(budget, norm) if budget else "0") for budget in budgets])
    return Panel(*name, METRIC, title, wording.direction(METRIC), label, ticks, drawing.share_ticks(), drawing.apart([curve, level]), said)


def _stairs(points: Sequence[Point]) -> list[Point]:
    """Points with the corners between them: nothing falls until the next distance is reached."""
    corners = [replace(before, x=after.x) for before, after in pairwise(points)]
    return [points[0], *(point for pair in zip(corners, points[1:], strict=True) for point in pair)]


def _budgets(cell: Json, norm: str, answers: Sequence[Answer]) -> list[float]:
    """0 and the budgets to measure at, rising: the distances themselves, rounded up, or some of them where they are many; the last is all that was tried."""
    found = sorted({_up(answer.distance, norm) for answer in answers if answer.distance})
    if len(found) > MOST:
        found = sorted({found[round(at)] for at in np.linspace(0, len(found) - 1, MOST)})
    most, stands = number(cell.get("eps")), any(answer.attackable and answer.distance is None for answer in answers)
    tried = [most] if most and (stands or not found) and most > max(found, default=0.0) else []
    return [0.0, *found, *tried] if found or tried else [0.0, 1 / 255]


def _up(distance: float, norm: str) -> float:
    """A distance as a budget: whole levels for linf, else three digits, never less than it is."""
    if norm == "linf":
        return round(distance * 255) / 255
    power = 10.0 ** (np.floor(np.log10(distance)) - 2)
    return float(np.ceil(distance / power * (1 - SAME)) * power)


def _point(estimate: Estimate, x: float, name: str) -> Point:
    said = f"{wording.percent(estimate.value, estimate.n)} {wording.interval(METRIC, estimate.low, estimate.high, estimate.n)}"
    return Point(x, drawing.height(estimate.value), drawing.height(estimate.low), drawing.height(estimate.high), "valid", said, f"{name}: {said}, n {estimate.n}")


def _in_words(points: Sequence[Point]) -> str:
    return f"{'; '.join(point.tip for point in points)}."
