"""Gates: a requirement on a metric, and which cells it selects."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import Field

from redteam.measure.names import METRICS
from redteam.record import Cell
from redteam.scenario.components import Part, build, placed
from redteam.scenario.document import Place
from redteam.scenario.entries import entry_id
from redteam.scenario.exclusions import SECTIONS, known_ids
from redteam.scenario.matrix import PlannedCell
from redteam.scenario.model import CONTROLS, Gate, On
from redteam.scenario.reading import Reading, repair
from redteam.scenario.scalars import plain, shown

COORDINATES = ("data", "target", "defense", "attack", "goal", "norm", "repeat")
_REQUIREMENT = re.compile(r"\s*(<=|>=|<|>)\s*(\S.*?)\s*")


@dataclass(frozen=True, kw_only=True)
class Form:
    """A gate as it is written."""

    id: Any = None
    metric: str
    where: dict[str, Any] = field(default_factory=dict)
    require: Any
    on: On = "value"
    min_n: Annotated[int, Field(ge=0)] = 0


def strength_matches(where: dict[str, Any], cell: Cell) -> bool:
    """Whether a gate's `where` selects a cell: texts are equal, numbers equal up to a relative 1e-9.

    A control cell is selected only where `where` names an attack.
    """
    if cell.control and "attack" not in where:
        return False
    return all(_agree(wanted, coordinate(cell, name)) for name, wanted in where.items())


def coordinate(cell: Cell, name: str) -> Any:
    """What a cell has under a name that `where` may use: a coordinate or a strength; None where it has none."""
    if name in COORDINATES:
        return getattr(cell, name)
    return cell.strength.get(name, cell.eps if name == "eps" else None)


def parse_requirement(text: object) -> tuple[str, float] | None:
    """Operator and number; None where it is something else.

    >>> parse_requirement("<= 0.40"), parse_requirement("at most 0.4")
    (('<=', 0.4), None)
    """
    match = _REQUIREMENT.fullmatch(text) if isinstance(text, str) else None
    number = match and _number(match[2])
    return (match[1], float(number)) if number is not None else None


def gates(reading: Reading) -> tuple[Gate, ...]:
    """The gates that could be read."""
    if "gates" not in reading.document.data:
        return ()
    taken: dict[str, Place] = {}
    return tuple(gate for i in range(len(reading.sequence(("gates",)))) if (gate := _gate(reading, ("gates", i), taken)))


def _gate(reading: Reading, path: Place, taken: dict[str, Place]) -> Gate | None:
    entry = reading.mapping(path)
    if entry is None:
        return None
    name = entry_id(reading, path, entry, taken)
    form = build(reading, Part(Form, placed(entry, path), path, "a gate"))
    require = "require" in entry and _required(reading, (*path, "require"), entry["require"], entry.get("metric"))
    if isinstance(metric := entry.get("metric"), str) and metric not in METRICS:
        reading.error("RT321", (*path, "metric"), f"unknown metric {metric!r}; {repair(metric, METRICS, 'there are')}")
    where = entry.get("where", {})
    known = [_where_is_known(reading, (*path, "where", key), value) for key, value in where.items()] if isinstance(where, dict) else [False]
    if not (name and form and require and all(known)):
        return None
    return Gate(name, form.metric, {key: wanted(key, value) for key, value in where.items()}, require, form.on, form.min_n, reading.document.mark(path))


def _required(reading: Reading, path: Place, text: object, metric: object) -> tuple[str, float] | None:
    require = parse_requirement(text)
    if require is None:
        return reading.error("RT322", path, f"must be an operator (<=, <, >=, >) and a number, got {shown(text)}; write \"<= 0.40\"")
    if isinstance(metric, str) and metric in METRICS and METRICS[metric].unit == "share" and not 0 <= require[1] <= 1:
        return reading.error("RT322", path, f"{metric} is a share in [0, 1], got {require[1]:g}; write 40% as 0.40")
    return require


def _where_is_known(reading: Reading, path: Place, value: Any) -> bool:
    key = path[-1]
    if not isinstance(value, (str, int, float)) or isinstance(value, bool):
        return bool(reading.error("RT323", path, f"must be one text or one number, got {shown(value)}; write a gate for each"))
    if key not in SECTIONS:
        return True
    known = [*known_ids(reading, key), *(CONTROLS if key == "attack" else ())]
    if value not in known:
        reading.error("RT323", path, f"no {key} {shown(value)}; {repair(str(value), known, 'there are')}")
    return value in known


def check_gates(reading: Reading, found: Sequence[Gate], planned: Sequence[PlannedCell]) -> None:
    """Note gates that select by what no cell has, and gates that select no cell. `found` are all gates of the file."""
    cells = [item.cell for item in planned]
    strengths = dict.fromkeys(name for cell in cells for name in (*cell.strength, *(["eps"] if cell.eps is not None else [])))
    for i, gate in enumerate(found):
        path = ("gates", i, "where")
        unknown = [key for key in gate.where if key not in COORDINATES and key not in strengths]
        for key in unknown:
            reading.key_error("RT323", (*path, key), f"no cell has {key!r}; {repair(key, [*COORDINATES, *strengths], 'cells have')}")
        if not unknown and not any(strength_matches(gate.where, cell) for cell in cells):
            reading.error("RT324", path, f"a gate must select at least one cell, got none; {what_exists(gate.where, cells)}")


def what_exists(where: dict[str, Any], cells: list[Cell]) -> str:
    """The values that one key could have with the rest as written; the last key first, which is mostly the number."""
    for key in reversed(where):
        rest = {name: value for name, value in where.items() if name != key}
        there = [cell for cell in cells if strength_matches(rest, cell)]
        values = [value for cell in there if (value := coordinate(cell, key)) is not None]
        if values:
            distinct = list(dict.fromkeys(map(_said, values)))
            return f"with the rest as it is, {key} can be {', '.join(distinct[:8])}{', ...' if len(distinct) > 8 else ''}"
    return "the keys exclude each other, or an exclusion of the matrix leaves nothing; select by fewer"


def _said(value: Any) -> str:
    if isinstance(value, str):
        return value
    levels = value * 255
    return f"{round(levels)}/255" if 0 < value < 1 and math.isclose(levels, round(levels), rel_tol=1e-9) else f"{value:.6g}"


def _number(value: object) -> float | None:
    """A number, or the number that a text spells."""
    try:
        value = plain(value) if isinstance(value, str) else value
    except ValueError:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return value if isinstance(value, int) else float(value)


def wanted(key: str, value: Any) -> Any:
    """A value of `where` as cells have it: coordinates are text, a strength is a number where it spells one."""
    return value if key in COORDINATES and key != "repeat" else number if (number := _number(value)) is not None else value


def _agree(wanted: Any, value: Any) -> bool:
    both = all(isinstance(side, (int, float)) for side in (wanted, value))
    return math.isclose(wanted, value, rel_tol=1e-9) if both else wanted == value
