"""The transfer matrix: attacks made on surrogates, shown to targets that were never asked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from redteam.reports import tables, wording
from redteam.reports.tables import Notes, Shown, value_of

NO_CELL = "not part of this scenario"

Json = Mapping[str, Any]


@dataclass(frozen=True)
class Column:
    """A target that the attacks are shown to, behind a defense or behind none."""

    target: str
    defense: str
    defended: bool


@dataclass(frozen=True)
class Entry:
    """What one attack does to one target.

    shown: the figure, with the noise of the same size as its mark
    own:   whether the target was a surrogate itself, so that nothing had to carry over but through a defense
    """

    shown: Shown
    verdict: str
    own: bool


@dataclass(frozen=True)
class Line:
    """One attack against all targets.

    detail:    its method, and whether that resamples
    """

    label: str
    detail: str
    entries: tuple[Entry, ...]


@dataclass(frozen=True)
class Matrix:
    """One corpus and metric.

    groups: (the surrogates in words, the attacks that were made on them), then the noise of the same sizes
    notes:  reasons of absent figures
    """

    data: str
    metric: str
    columns: tuple[Column, ...]
    groups: tuple[tuple[str, tuple[Line, ...]], ...]
    notes: tuple[str, ...]


def matrices(summary: Json) -> list[Matrix]:
    """A matrix for each corpus and direction of harm where some attack was made on surrogates, in the order of the summary."""
    found = []
    for data in dict.fromkeys(str(cell["data"]) for cell in summary["cells"]):
        cells = [cell for cell in summary["cells"] if str(cell["data"]) == data]
        if any(cell.get("surrogates") for cell in cells):
            found += [matrix for metric in tables.BARS if (matrix := _matrix(summary, data, metric, cells))]
    return found


def _matrix(summary: Json, data: str, metric: str, cells: Sequence[Json]) -> Matrix | None:
    """None where no attack has the metric."""
    moved = [cell for cell in cells if cell.get("surrogates")]
    if all(value_of(cell, metric) is None for cell in moved):
        return None
    places = list(dict.fromkeys(tables.key_of(cell)[1:] for cell in cells))
    columns = tuple(Column(*place, not tables.undefended(summary, place[1])) for place in places)
    notes = Notes()
    groups = []
    for asked in dict.fromkeys(tuple(cell["surrogates"]) for cell in moved):
        families = _families([cell for cell in moved if tuple(cell["surrogates"]) == asked])
        groups.append((f"Made on {' and '.join(wording.plain(name) for name in asked)}", tuple(_line(family, cells, columns, metric, notes) for family in families)))
    arms = [arm for cell in moved if (arm := tables.noise_of(cell, cells))]
    if arms:
        groups.append(("Random noise of the same size: nobody attacks here", tuple(_line(family, cells, columns, metric, notes) for family in _families(arms))))
    return Matrix(data, metric, columns, tuple(groups), tuple(notes.reasons))


def _families(cells: Sequence[Json]) -> Iterator[list[Json]]:
    """Cells of one attack at one strength, whatever they are shown to."""
    found: dict[str, list[Json]] = {}
    for cell in cells:
        found.setdefault(wording.attack_name(cell), []).append(cell)
    for family in found.values():
        yield list({str(cell.get("key")): cell for cell in family}.values())


def _line(family: Sequence[Json], cells: Sequence[Json], columns: Sequence[Column], metric: str, notes: Notes) -> Line:
    first = family[0]
    at = {tables.key_of(cell)[1:]: cell for cell in family}
    entries = tuple(_entry(at.get((column.target, column.defense)), cells, column, metric, notes) for column in columns)
    if first.get("control"):
        return Line(wording.attack_name(first), "", entries)
    return Line(wording.attack_name(first), f"{wording.plain(first.get('kind'))}{', resamples' if first.get('resamples') else ''}", entries)


def _entry(cell: Json | None, cells: Sequence[Json], column: Column, metric: str, notes: Notes) -> Entry:
    if cell is None:
        return Entry(Shown(metric, wording.DASH, reason=NO_CELL, note=notes(NO_CELL)), "", False)
    mark = value_of(tables.noise_of(cell, cells), metric)
    return Entry(tables.shown(cell, metric, notes, mark=mark), str(cell.get("verdict", "")), column.target in (cell.get("surrogates") or ()))
