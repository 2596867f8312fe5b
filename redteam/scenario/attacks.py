"""Attacks of a scenario: a kind with its parameters, swept or not, or a chain of stages."""

from __future__ import annotations

from typing import Any

from redteam.attack import Attack
from redteam.scenario.chains import chain_variants
from redteam.scenario.components import Part, build, component, placed, refuse_unknown
from redteam.scenario.document import Place
from redteam.scenario.entries import entry_id, kind_of
from redteam.scenario.model import CONTROLS, AttackEntry, Variant
from redteam.scenario.reading import Reading
from redteam.scenario.sweeps import choices, swept_numbers


def attack_entries(reading: Reading) -> tuple[AttackEntry, ...]:
    """The attacks that could be built."""
    taken: dict[str, Place] = {}
    found = []
    for i in range(len(reading.sequence(("attacks",)))):
        path = ("attacks", i)
        if (entry := reading.mapping(path)) is not None:
            name = entry_id(reading, path, entry, taken, reserved=CONTROLS) or ""
            found.append(AttackEntry(name, "chain" if "chain" in entry else entry.get("kind"), _variants(reading, path, entry)))
    return tuple(entry for entry in found if entry.variants)


def _variants(reading: Reading, path: Place, entry: dict[str, Any]) -> tuple[Variant, ...]:
    if "chain" in entry:
        return chain_variants(reading, path, entry)
    if entry.get("kind") == "chain":
        reading.error("RT211", (*path, "kind"), "a chain is not written as a kind; write {id: ..., chain: [{ref: pgd}, {kind: jpeg, quality: 85}]}")
        return ()
    kind = kind_of(reading, "attacks", path)
    cls = kind and component(reading, "attacks", kind, (*path, "kind"))
    if not cls:
        return ()
    part = refuse_unknown(reading, Part(cls, placed(entry, path, ("id", "kind")), path, kind, f"redteam show attack/{kind}"))
    return tuple(variant for choice in choices(reading, part.params) if (variant := _variant(reading, part, choice)))


def _variant(reading: Reading, part: Part, choice: Any) -> Variant | None:
    attack: Attack | None = build(reading, Part(part.cls, choice.params, part.home, part.name, part.hint), paths=False)
    return attack and Variant({**attack.strengths(), **swept_numbers(attack, choice)}, attack)
