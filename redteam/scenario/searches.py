"""`{kind: search, pool: [{ref: jpeg}, {kind: blur, sigma: {sweep: [0.5, 1.0]}}], finish: {ref: pgd}, ...}`: operations are read as the stages of a chain are."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from redteam import registry
from redteam.attacks.compositions import Operation
from redteam.scenario.chains import Stage, distinct, stage
from redteam.scenario.components import Part, build, placed, refuse_unknown
from redteam.scenario.document import Place
from redteam.scenario.model import Variant
from redteam.scenario.reading import Reading
from redteam.scenario.sweeps import Choice, choices, swept_numbers

APART = ("pool", "finish")  # what is read here; sweeps of the other keys make cells, those in here are what the search chooses among
_EXAMPLE = "write pool: [{ref: jpeg}, {kind: blur, sigma: {sweep: [0.5, 1.0]}}]"


def search_variants(reading: Reading, path: Place, entry: dict[str, Any]) -> tuple[Variant, ...]:
    """A search for each setting of its own keys; nothing where a part of it is wrong, which is noted."""
    before = len(reading.problems)
    cls = registry.get("attacks", "search")
    part = refuse_unknown(reading, Part(cls, placed(entry, path, ("id", "kind", *APART)), path, "search", "redteam show attack/search"))
    misspelt = len(reading.problems) > before
    parts = _operations(reading, path, entry)
    if misspelt:
        return ()  # a floor that is misspelt is not missing too
    found = [(choice, build(reading, replace(part, params=choice.params), paths=False)) for choice in choices(reading, part.params)]
    if len(reading.problems) > before or not all(built for _, built in found):
        return ()
    return tuple(variant for choice, built in found if (variant := _whole(reading, part, choice, built, parts)))


def _whole(reading: Reading, part: Part, choice: Choice, built: Any, operations: tuple[Operation | None, ...]) -> Variant | None:
    """The search with its operations, the finish first."""
    try:
        search = replace(built, finish=operations[0], pool=operations[1:])
    except ValueError as error:
        return reading.error("RT105", part.home, str(error), part.hint)
    return Variant({**search.strengths(), **swept_numbers(search, choice)}, search)


def _operations(reading: Reading, path: Place, entry: dict[str, Any]) -> tuple[Operation | None, ...]:
    """The finish, or None, and the operations of the pool, no two of one name."""
    if "pool" not in entry:
        reading.missing((*path, "pool"), f"a search chooses among its operations; {_EXAMPLE}")
        return ()
    if entry["pool"] == []:
        reading.error("RT103", (*path, "pool"), f"a pool must hold at least one operation, got an empty list; {_EXAMPLE}")
    places = [(*path, "pool", i) for i in range(len(reading.sequence((*path, "pool"))))]
    finish = [(*path, "finish")] if entry.get("finish") is not None else []
    stages = [_stage(reading, place, finish=place in finish) for place in (*places, *finish)]
    if not all(stages):
        return ()
    names = distinct(one.name for one in stages)
    made = [Operation(name=name, settings=tuple(attack for _, attack in one.settings)) for name, one in zip(names, stages, strict=True)]
    return (made[-1], *made[:-1]) if finish else (None, *made)


def _stage(reading: Reading, path: Place, *, finish: bool) -> Stage | None:
    """One operation, which must be able to stand where it is written."""
    written = reading.at(path)
    if isinstance(written, dict) and "goal" in written:
        return reading.key_error("RT211", (*path, "goal"), "an operation has no goal of its own; write goal beside pool")
    found = stage(reading, path)
    operation = found and Operation(name=found.name, settings=tuple(attack for _, attack in found.settings))
    if operation and (why := registry.get("attacks", "search").unfit(operation, finish=finish)):
        return reading.error("RT214", path, f"{found.name} {why}")
    return found
