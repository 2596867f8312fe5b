"""`chain: [{ref: pgd, eps: 4/255}, {kind: jpeg, quality: 85}]`: stages by reference or by kind, with sweeps of their own."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from redteam import registry
from redteam.attack import Attack
from redteam.scenario.components import Part, build, component, placed, refuse_unknown
from redteam.scenario.document import Place
from redteam.scenario.model import Variant
from redteam.scenario.reading import Reading, repair
from redteam.scenario.scalars import shown
from redteam.scenario.sweeps import MOST, choices, swept_numbers

_EXAMPLE = "write {ref: pgd} or {kind: jpeg, quality: 85}"


@dataclass(frozen=True)
class Stage:
    """One stage with all its settings: strength by parameter, and the attack."""

    name: str
    settings: tuple[tuple[dict[str, float], Attack], ...]


def chain_variants(reading: Reading, path: Place, entry: dict[str, Any]) -> tuple[Variant, ...]:
    """The product of the stages' settings, each a chain; nothing where a stage is wrong, which is noted."""
    for key in entry.keys() - {"id", "chain", "goal"}:
        reading.key_error("RT102", (*path, key), f"unknown key {key!r}; a chain takes id, chain, goal, and its stages take the rest")
    goal = entry.get("goal")
    if goal is not None and not isinstance(goal, str):
        reading.error("RT103", (*path, "goal"), f"must be text, got {shown(goal)}")
    place = (*path, "chain")
    if entry["chain"] == []:
        reading.error("RT211", place, f"a chain must have at least one stage, got an empty list; {_EXAMPLE}")
    stages = [_stage(reading, (*place, i)) for i in range(len(reading.sequence(place)))]
    if not stages or not all(stages):
        return ()
    if (total := math.prod(len(stage.settings) for stage in stages)) > MOST:
        reading.error("RT204", path, f"sweeps must multiply to at most {MOST} variants, got {total}; sweep less")
        return ()
    names = distinct(stage.name for stage in stages)
    chain = registry.get("attacks", "chain")
    return tuple(_variant(chain, names, combination, goal) for combination in itertools.product(*(stage.settings for stage in stages)))


def distinct(names: Iterable[str]) -> tuple[str, ...]:
    """Names of stages, numbered where one comes again.

    >>> distinct(["pgd", "jpeg", "pgd"])
    ('pgd', 'jpeg', 'pgd2')
    """
    wanted = list(names)
    found: list[str] = []
    for name in wanted:
        candidates = itertools.chain([name], (f"{name}{i}" for i in itertools.count(2)))
        found.append(next(c for c in candidates if c not in found and (c == name or c not in wanted)))
    return tuple(found)


def _variant(chain: type, names: tuple[str, ...], combination: tuple[tuple[dict[str, float], Attack], ...], goal: str | None) -> Variant:
    strength = {f"{name}.{key}": value for name, (strengths, _) in zip(names, combination, strict=True) for key, value in strengths.items()}
    return Variant(strength, chain(stages=tuple(attack for _, attack in combination), names=names, goal=goal))


def _stage(reading: Reading, path: Place) -> Stage | None:
    entry = reading.at(path)
    if not isinstance(entry, dict):
        return reading.error("RT211", path, f"a stage must be a mapping, got {shown(entry)}; {_EXAMPLE}")
    if "chain" in entry or entry.get("kind") == "chain":
        return reading.error("RT212", path, "a stage must not be another chain; write its stages here")
    if "goal" in entry:
        return reading.key_error("RT211", (*path, "goal"), "a stage has no goal of its own; write goal beside chain")
    if ("ref" in entry) == ("kind" in entry):
        return reading.error("RT211", path, f"a stage must have one of ref and kind, got {'both' if 'ref' in entry else 'neither'}; {_EXAMPLE}")
    return _referred(reading, path, entry) if "ref" in entry else _inline(reading, path, entry)


def _inline(reading: Reading, path: Place, entry: dict[str, Any]) -> Stage | None:
    cls = component(reading, "attacks", entry["kind"], (*path, "kind"))
    return cls and _built(reading, Part(cls, placed(entry, path, ("kind",)), path, entry["kind"], f"redteam show attack/{entry['kind']}"), entry["kind"])


def _referred(reading: Reading, path: Place, entry: dict[str, Any]) -> Stage | None:
    """The attack that `ref` names, with the stage's own keys over it."""
    ref, known = entry["ref"], reading.ids("attacks")
    if not isinstance(ref, str) or ref not in known:
        single = [name for name, place in known.items() if "chain" not in reading.at(place)]
        return reading.error("RT213", (*path, "ref"), f"no attack {shown(ref)}; {repair(str(ref), single, 'there are')}")
    origin = reading.at(known[ref])
    if "chain" in origin:
        return reading.error("RT212", (*path, "ref"), f"a stage must not be another chain, got {ref!r}; write its stages here")
    kind = origin.get("kind")
    if not isinstance(kind, str) or kind not in registry.names("attacks"):
        return None  # an error of the attack itself
    cls = component(reading, "attacks", kind, (*known[ref], "kind"))
    params = placed(origin, known[ref], ("id", "kind", "goal")) | placed(entry, path, ("ref",))
    return cls and _built(reading, Part(cls, params, path, kind, f"redteam show attack/{kind}"), ref)


def _built(reading: Reading, part: Part, name: str) -> Stage | None:
    before = len(reading.problems)
    part = refuse_unknown(reading, part)
    found = [(choice, build(reading, Part(part.cls, choice.params, part.home, part.name, part.hint), paths=False)) for choice in choices(reading, part.params)]
    if len(reading.problems) > before or not found or not all(attack for _, attack in found):
        return None
    return Stage(name, tuple(({**attack.strengths(), **swept_numbers(attack, choice)}, attack) for choice, attack in found))
