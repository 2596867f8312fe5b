"""The matrix of a scenario: which cells there are, control arms first, and what is left out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from redteam import registry
from redteam.attack import Attack
from redteam.objective import goal_named
from redteam.record import Cell
from redteam.scenario.model import AttackEntry, DataEntry, DefenseEntry, Scenario, TargetEntry
from redteam.seeding import digest

Square = tuple[DataEntry, TargetEntry, DefenseEntry]


@dataclass(frozen=True)
class PlannedCell:
    """A cell as records name it, and the attack that runs in it."""

    cell: Cell
    attack: Attack


def cells(scenario: Scenario) -> list[PlannedCell]:
    """Every cell in the order of the results.

    For each eval corpus, target and defense: the identity arm, one noise arm for each distinct control of the attacks there, and the
    attacks in written order, each with its variants and repeats.
    """
    return [planned for square in squares(scenario) for planned in _cells(scenario, square)]


def squares(scenario: Scenario) -> Iterator[Square]:
    """The combinations of eval corpus, target and defense that are not excluded as a whole."""
    for data in scenario.data.get("eval", ()):
        for target in scenario.targets:
            for defense in scenario.defenses:
                if not is_excluded(scenario.exclude, data=data.id, target=target.id, defense=defense.id):
                    yield data, target, defense


def attacks_in(scenario: Scenario, square: Square) -> list[AttackEntry]:
    """The attacks that are not excluded from a square."""
    data, target, defense = square
    return [attack for attack in scenario.attacks if not is_excluded(scenario.exclude, data=data.id, target=target.id, defense=defense.id, attack=attack.id)]


def is_excluded(rules: Iterable[dict[str, str]], **place: str) -> bool:
    """Whether a rule matches the place in every coordinate that it names.

    A rule that names no attack leaves out the whole square, control arms with it; one that names an attack leaves the control arms.

    >>> is_excluded([{"defense": "jpeg75", "attack": "jpeg"}], data="camera", target="mine", defense="jpeg75")
    False
    """
    return any(all(place.get(name) == wanted for name, wanted in rule.items()) for rule in rules)


def target_kind(entry: TargetEntry) -> str:
    """The kind of target that goals are written for."""
    return getattr(entry.spec, "target_kind", "detector")


def _cells(scenario: Scenario, square: Square) -> Iterator[PlannedCell]:
    place = {name: entry.id for name, entry in zip(("data", "target", "defense"), square, strict=True)}
    kind = target_kind(square[1])
    identity = _planned(registry.get("attacks", "identity")(), place, attack="identity", kind="identity", goal=goal_named(kind, None).name, control=True)
    yield identity
    variants = [(entry, variant, goal_named(kind, variant.attack.goal).name) for entry in attacks_in(scenario, square) for variant in entry.variants]
    noises: dict[str, PlannedCell] = {}
    for _, variant, goal in variants:
        if (control := variant.attack.control()) is not None and (name := _distinct(control, goal)) not in noises:
            noises[name] = _planned(control, place, attack="noise", kind=_kind(control), goal=goal, control=True, strength=dict(control.strengths()), controls=(identity.cell.key,))
            yield noises[name]
    for entry, variant, goal in variants:
        control = variant.attack.control()
        controls = (identity.cell.key, *([noises[_distinct(control, goal)].cell.key] if control is not None else []))
        for repeat in range(scenario.repeats):
            yield _planned(variant.attack, place, attack=entry.id, kind=entry.kind, goal=goal, strength=variant.strength, repeat=repeat, controls=controls)


def _planned(runs: Attack, place: dict[str, str], **coordinates: Any) -> PlannedCell:
    budget = runs.budget()
    limits = {"norm": budget.norm, "eps": budget.eps} if budget else {}
    return PlannedCell(Cell(**place, params=runs.params(), **limits, **coordinates), runs)


def _distinct(control: Attack, goal: str) -> str:
    return digest([type(control).__module__, type(control).__qualname__, control.params(), goal])


def _kind(attack: Attack) -> str:
    """The registered name of an attack's class; the likely one is tried first, since a look imports."""
    likely = type(attack).__name__.lower()
    names = sorted(registry.names("attacks"), key=lambda name: name != likely)
    return next((name for name in names if _is(name, attack)), likely)


def _is(name: str, attack: Attack) -> bool:
    try:
        return registry.get("attacks", name) is type(attack)
    except (ImportError, AttributeError):
        return False
