"""`matrix: {exclude: [...]}`: what is left out, and whether that makes sense."""

from __future__ import annotations

from typing import Any

from redteam.scenario.document import Place
from redteam.scenario.matrix import attacks_in, is_excluded, squares
from redteam.scenario.model import CONTROLS, Scenario
from redteam.scenario.reading import Reading, repair
from redteam.scenario.scalars import shown

SECTIONS = {"data": "data", "target": "targets", "defense": "defenses", "attack": "attacks"}
_RULES = ("matrix", "exclude")


def exclusions(reading: Reading) -> tuple[dict[str, str], ...]:
    """The rules of the scenario, those that could be read."""
    if "matrix" not in reading.document.data:
        return ()
    matrix = reading.mapping(("matrix",)) or {}
    for key in matrix.keys() - {"exclude"}:
        reading.unknown(("matrix", key), ["exclude"], "matrix takes")
    rules = reading.sequence(_RULES) if "exclude" in matrix else []
    return tuple(rule for i in range(len(rules)) if (rule := _rule(reading, (*_RULES, i))))


def _rule(reading: Reading, path: Place) -> dict[str, str] | None:
    entry = reading.mapping(path)
    if entry == {}:
        reading.error("RT311", path, "an exclusion must name at least one of data, target, defense, attack, got none; write {defense: ..., attack: ...}")
    return {name: value for name, value in (entry or {}).items() if _is_known(reading, (*path, name), value)} or None


def _is_known(reading: Reading, path: Place, value: Any) -> bool:
    name = path[-1]
    if name not in SECTIONS:
        reading.unknown(path, SECTIONS, "an exclusion takes")
        return False
    if name == "attack" and value in CONTROLS:
        reading.error("RT312", path, f"a control arm cannot be excluded, got {value!r}; leave attack out to exclude all that runs there")
        return False
    known = known_ids(reading, name)
    if value not in known:
        reading.error("RT311", path, f"no {name} {shown(value)}; {repair(str(value), known, 'there are')}")
    return value in known


def known_ids(reading: Reading, coordinate: str) -> list[str]:
    """The ids that a coordinate of the matrix can have; a scenario without defenses has the one called none."""
    if coordinate == "defense" and "defenses" not in reading.document.data:
        return ["none"]
    return list(reading.ids(SECTIONS[coordinate]))


def check_exclusions(reading: Reading, scenario: Scenario) -> None:
    """Note rules that exclude nothing more, and a matrix that they leave empty."""
    for i, rule in enumerate(scenario.exclude):
        if not any(is_excluded([rule], **place) and not is_excluded(scenario.exclude[:i], **place) for place in _places(scenario)):
            reading.warning("RT313", (*_RULES, i), "this exclusion excludes nothing that those before it leave; delete it")
    if scenario.exclude and scenario.attacks and not any(attacks_in(scenario, square) for square in squares(scenario)):
        reading.error("RT314", _RULES, "exclusions must leave at least one cell, got none left; delete one")


def _places(scenario: Scenario) -> list[dict[str, str]]:
    combinations = [{"data": d.id, "target": t.id, "defense": f.id} for d in scenario.data["eval"] for t in scenario.targets for f in scenario.defenses]
    return [place | attack for place in combinations for attack in [{}, *({"attack": a.id} for a in scenario.attacks)]]
