"""Targets that attacks ask instead of the evaluated one: which they are, and what the lock says of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from redteam.attack import Attack
from redteam.scenario.model import Scenario, TargetEntry
from redteam.targets.zoo import ZooTarget


def surrogate_entry(targets: Iterable[TargetEntry], name: str) -> TargetEntry:
    """The scenario's target of that id, or a reference detector of the zoo."""
    return next((entry for entry in targets if entry.id == name), None) or TargetEntry(name, name, ZooTarget(model=name))


def surrogates_of(scenario: Scenario) -> Iterator[tuple[str, TargetEntry, Attack]]:
    """The id of each attack that asks a surrogate, the surrogate, and the attack or stage that asks."""
    for attack in scenario.attacks:
        for variant in attack.variants:
            for stage in getattr(variant.attack, "stages", (variant.attack,)):
                for name in stage.asked_instead():
                    yield attack.id, surrogate_entry(scenario.targets, name), stage


def locked(scenario: Scenario) -> dict[str, Any]:
    """Surrogate -> what it is, for those that are no targets of the scenario themselves."""
    own = {entry.id for entry in scenario.targets}
    others = {entry.id: entry for _, entry, _ in surrogates_of(scenario) if entry.id not in own}
    return {name: {"kind": entry.kind, "fingerprint": entry.spec.fingerprint()} for name, entry in sorted(others.items())}
