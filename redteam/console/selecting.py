"""--where: which cells of a run a command is about, in the words that a gate's `where` uses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from redteam.record import Cell
from redteam.run.errors import Refused
from redteam.scenario.gates import COORDINATES, strength_matches, wanted, what_exists
from redteam.scenario.reading import repair


def parse_where(pairs: Sequence[str]) -> dict[str, Any]:
    """`attack=pgd` and `eps=4/255` -> what selects those cells. Raises Refused."""
    found: dict[str, Any] = {}
    for pair in pairs:
        key, sign, value = pair.partition("=")
        if not (key and sign and value):
            raise Refused(f"--where {pair}: must be a name, = and a value, such as attack=pgd or eps=4/255")
        if key in found:
            raise Refused(f"--where {pair}: {key} is given twice; a cell has one, so leave one out")
        found[key] = wanted(key, value)
    return found


def check_where(where: dict[str, Any], cells: Sequence[Cell]) -> None:
    """Raise Refused where a key is no cell's, or no cell is selected."""
    strengths = dict.fromkeys(name for cell in cells for name in (*cell.strength, *(["eps"] if cell.eps is not None else [])))
    known = [*COORDINATES, *strengths]
    for key in where:
        if key not in known:
            raise Refused(f"--where {key}: no cell has it; {repair(key, known, 'cells have')}")
    if not any(strength_matches(where, cell) for cell in cells):
        raise Refused(f"--where: must select at least one cell, got none; {what_exists(where, list(cells))}")
