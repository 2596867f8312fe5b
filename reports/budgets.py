"""What is left of the accuracy within a budget: the worst case per image beside the best single attack, noise, and clean images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from redteam.reports import drawing, tables, wording
from redteam.reports.drawing import LEFT, RIGHT, Line, Panel, Point
from redteam.reports.tables import value_of
from redteam.reports.wording import number

METRIC = "robust_accuracy"
SAME = 0.05  # points whose x differs by less lie on one tick

Json = Mapping[str, Any]


@dataclass(frozen=True)
class Budgets:
    """One corpus, target and defense.

    panels: one for each norm and goal
    notes:  what the drawings leave out
    """

    data: str
    target: str
    defense: str
    panels: tuple[Panel, ...]
    notes: tuple[str, ...]


def budgets(summary: Json) -> list[Budgets]:
    """The worst cases of each block that has some within a budget, in the order of the summary."""
    found = (_budgets(f"{drawing.slug(i, key)}-worst", summary, key, cells) for i, (key, cells) in enumerate(tables.grouped(summary).items(), 1))
    return [block for block in found if block.panels]


def _budgets(name: str, summary: Json, key: tables.Key, cells: list[Json]) -> Budgets:
    entries = tables.worst_cases(summary, key)
    families: dict[tuple[str, str], list[Json]] = {}
    for entry in entries:
        if number(entry.get("eps")) and entry.get("norm") != "unbounded" and value_of(entry, METRIC) is not None:
            families.setdefault((str(entry.get("norm")), str(entry.get("goal"))), []).append(entry)
    goals = {goal for _, goal in families}
    place = drawing.where(key)
    panels = [_panel((f"{name}-{i}", place), norm, goal if len(goals) > 1 else "", members, cells) for i, ((norm, goal), members) in enumerate(families.items(), 1)]
    return Budgets(*key, tuple(panels), tuple(_unbounded(entries, cells)))


def _unbounded(entries: Sequence[Json], cells: Sequence[Json]) -> Iterator[str]:
    for entry in entries:
        if entry.get("norm") == "unbounded" and value_of(entry, METRIC) is not None:
            found = tables.shown(entry, METRIC, tables.Notes())
            over = wording.listed(tables.members_in_words(entry, cells), 6)
            yield f"Without a budget, over {over}: {found.text} {found.interval}".rstrip() + "."


def _panel(name: tuple[str, str], norm: str, goal: str, entries: list[Json], cells: list[Json]) -> Panel:
    largest = max(number(entry.get("eps")) or 0.0 for entry in entries)

    def place(eps: float) -> float:
        return LEFT + 10 + (RIGHT - LEFT - 20) * eps / largest

    lines = list(_lines(norm, entries, cells, place))
    labels = [(place(eps), wording.radius(eps, norm)) for entry in entries if (eps := number(entry.get("eps")))]
    label = f"{wording.norm_name(norm)} radius{f', goal {wording.plain(goal)}' if goal else ''}"
    said = f"Accuracy that is left, against the {label} of the budget. {' '.join(_in_words(line, [*labels, (place(0.0), 'unchanged')]) for line in lines)}"
    ticks = drawing.ticks([(place(0.0), "0"), *labels])
    title = f"Accuracy within an {wording.norm_name(norm)} budget"
    return Panel(*name, METRIC, title, wording.direction(METRIC), label, ticks, drawing.share_ticks(), drawing.apart(lines), said)


def _lines(norm: str, entries: list[Json], cells: list[Json], place: Any) -> Iterator[Line]:
    """The worst case from the clean images on, then what it is to be compared with, as far as that was measured."""
    identity = tables.identity_of(cells)
    start = drawing.point(identity, METRIC, place(0.0), "unchanged images") if identity else None
    eps_of = [number(entry.get("eps")) or 0.0 for entry in entries]
    judged = [entry | {"verdict": tables.worst_verdict(entry, cells)} for entry in entries]
    worst = [drawing.point(entry, METRIC, place(eps), tables.budget(entry)) for entry, eps in zip(judged, eps_of, strict=True)]
    yield drawing.line("attack", "worst case", [*([start] if start else []), *worst], whiskers=True)
    tops = [_best_single(entry, cells) for entry in entries]
    single = [drawing.point(cell, METRIC, place(eps), f"best single attack, {wording.attack_name(cell)}") if cell else None for cell, eps in zip(tops, eps_of, strict=True)]
    if any(_differ(one, other) for one, other in zip(single, worst, strict=True)):
        yield drawing.line("single", "best single", single, band=False)
    noise = [_noise(norm, eps, cells) for eps in eps_of]
    if any(noise):
        arms = [drawing.point(cell, METRIC, place(eps), wording.attack_name(cell)) if cell else None for cell, eps in zip(noise, eps_of, strict=True)]
        yield drawing.line("noise", "noise", [*([start] if start else []), *arms], band=False)
    if start:
        level = drawing.line("identity", "unchanged", [start, replace(start, x=place(max(eps_of)))], band=False)
        yield replace(level, marked=False)


def _best_single(entry: Json, cells: Sequence[Json]) -> Json | None:
    """The attack that alone leaves least."""
    rated = [cell for cell in tables.members(entry, cells) if value_of(cell, METRIC) is not None]
    return min(rated, key=lambda cell: value_of(cell, METRIC) or 0.0, default=None)


def _noise(norm: str, eps: float, cells: Sequence[Json]) -> Json | None:
    """The noise arm of this norm and size."""
    arms = (cell for cell in cells if cell["attack"] == "noise" and cell.get("norm") == norm and value_of(cell, METRIC) is not None)
    return next((cell for cell in arms if abs((number(cell.get("eps")) or 0.0) - eps) <= 1e-9 * eps), None)


def _differ(one: Point | None, other: Point | None) -> bool:
    return one is not None and other is not None and abs(one.y - other.y) > SAME


def _in_words(line: Line, labels: Sequence[tuple[float, str]]) -> str:
    """A line of the drawing as a sentence."""
    if line.role == "identity":
        return f"{line.name}: {line.points[0].words}."
    at = dict(reversed(labels))
    return f"{line.name}: {'; '.join(f'{at[point.x]}: {point.words}' for point in line.points)}."
