"""Sentinel cells: further attacks on a few images of each square that check the evaluation itself, planned by the engine and bounded in cost.

Source: which checks there are is that of Carlini et al., "On Evaluating Adversarial Robustness", 2019, arXiv:1902.06705, sections 4 and 5.
"""

from __future__ import annotations

import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from redteam import registry
from redteam.attack import Attack
from redteam.data.corpus import Sample
from redteam.record import Cell
from redteam.scenario.matrix import Check, PlannedCell, kind_of, planned_cell
from redteam.scenario.model import Scenario
from redteam.target import Access

FEWEST = 4  # images that a check says anything from
FREE_STEPS = (10, 20)  # of the attack without a budget, at least and at most: with all of the image to change, few are enough
LEAST_QUERIES = {"scores": 60, "draws": 16}
FORWARDS = 3  # answers that cost about as much as one gradient

Place = tuple[str, str, str]


@dataclass(frozen=True)
class Guard:
    """The checks of one square, and the cell whose attack they check."""

    checked: PlannedCell
    attacks: dict[str, Attack]

    @property
    def work(self) -> float:
        """What they cost for each image at most, in gradients."""
        return sum(map(_work, self.attacks.values()))


def with_sentinels(scenario: Scenario, planned: Sequence[PlannedCell], images: Mapping[str, int]) -> tuple[PlannedCell, ...]:
    """The planned cells, those of each square followed by its sentinels; `images` are how many evaluation images each corpus has."""
    squares: dict[Place, list[PlannedCell]] = {}
    for item in planned:
        squares.setdefault(_place(item.cell), []).append(item)
    guards = {place: guard for place, items in squares.items() if scenario.sentinels and (guard := _guard(scenario, items))}
    sample = _affordable(scenario, planned, images, sum(guard.work for guard in guards.values())) if guards else 0
    return tuple(item for place, items in squares.items() for item in (*items, *(_cells(guards[place], items, sample) if sample and place in guards else ())))


def sampled(samples: Sequence[Sample], n: int) -> list[Sample]:
    """At most n samples in their order, both labels alike where both are there, evenly spaced in each."""
    by_label = [[i for i, sample in enumerate(samples) if sample.label == label] for label in (1, 0)]
    half = min(len(by_label[0]), max(n // 2, n - len(by_label[1])))
    chosen = [places[k * len(places) // most] for places, most in zip(by_label, (half, min(n - half, len(by_label[1]))), strict=True) for k in range(most)]
    return [samples[i] for i in sorted(chosen)]


def _affordable(scenario: Scenario, planned: Sequence[PlannedCell], images: Mapping[str, int], work: float) -> int:
    """How many images of each square the sentinels may have: an even number, 0 where that would be too few."""
    gradients = sum(images[item.cell.data] * item.attack.gradients() for item in planned)
    most = min(scenario.sentinels.sample, int(scenario.sentinels.share * gradients / work))
    return most - most % 2 if most >= FEWEST else 0


def _guard(scenario: Scenario, items: Sequence[PlannedCell]) -> Guard | None:
    """The checks of a square; None where no gradient attack within a budget runs there."""
    candidates = [item for item in items if not item.cell.control and item.cell.repeat == 0 and item.attack.access() is Access.GRADIENTS and _has(item.attack, "eps") and item.cell.norm]
    if not candidates:
        return None
    strongest = max(candidates, key=lambda item: (item.cell.norm == "linf", item.cell.eps, item.attack.gradients()))
    return Guard(strongest, dict(_checks(scenario, items, strongest)))


def _checks(scenario: Scenario, items: Sequence[PlannedCell], strongest: PlannedCell) -> Iterator[tuple[str, Attack]]:
    attack, cell = strongest.attack, strongest.cell
    if _has(attack, "steps"):
        yield "longer", replace(attack, steps=2 * attack.steps)
        yield "unbounded", _unbounded(attack)
    answers = int(FORWARDS * attack.gradients())
    if not any(_reads_scores(item, cell) for item in items):
        yield "scores", registry.get("attacks", "square")(norm=cell.norm, eps=cell.eps, goal=attack.goal, queries=max(LEAST_QUERIES["scores"], answers))
    yield "draws", registry.get("attacks", "draws")(norm=cell.norm, eps=cell.eps, goal=attack.goal, queries=max(LEAST_QUERIES["draws"], answers // FORWARDS))
    defended = next(entry for entry in scenario.defenses if entry.id == cell.defense).kind != "none"
    if defended and _has(attack, "surrogates"):
        yield "twin", replace(attack, surrogates=(cell.target,))


def _unbounded(attack: Attack) -> Attack:
    """The same attack with all of [0, 1] to move in: in L-infinity where it can, else as far as any image has room."""
    free: dict[str, Any] = {"eps": 1.0, "steps": min(max(attack.steps, FREE_STEPS[0]), FREE_STEPS[1])}
    if getattr(attack, "norm", "linf") != "linf":
        free |= {"norm": "linf"} if "linf" in _choices(attack, "norm") else {"eps": 1000.0}
    modest = {"step": None, "restarts": 1, "queries": LEAST_QUERIES["scores"]}
    return replace(attack, **free, **{name: value for name, value in modest.items() if _has(attack, name)})


def _choices(attack: Attack, name: str) -> tuple[Any, ...]:
    hint = typing.get_type_hints(type(attack))[name]
    return typing.get_args(hint) if typing.get_origin(hint) is Literal else ()


def _reads_scores(item: PlannedCell, cell: Cell) -> bool:
    """Whether a cell already shows what an attack without gradients does within that budget."""
    own = item.cell
    return not own.control and item.attack.access() in (Access.SCORES, Access.DECISIONS) and (own.norm, own.eps, own.goal) == (cell.norm, cell.eps, cell.goal)


def _cells(guard: Guard, items: Sequence[PlannedCell], sample: int) -> Iterator[PlannedCell]:
    checked, identity = guard.checked, items[0].cell
    place = {name: getattr(identity, name) for name in ("data", "target", "defense")}
    for name, attack in guard.attacks.items():
        check = Check(name, checked.cell.key, sample)
        yield planned_cell(attack, place, attack=f"sentinel-{name}", kind=kind_of(attack), goal=checked.cell.goal, control=True, strength=dict(attack.strengths()), controls=(identity.key,), check=check)


def _work(attack: Attack) -> float:
    """What it costs for each image at most, in gradients."""
    return attack.gradients() + getattr(attack, "queries", 0) / FORWARDS


def _has(attack: Attack, name: str) -> bool:
    return any(field.name == name for field in fields(attack))


def _place(cell: Cell) -> Place:
    return cell.data, cell.target, cell.defense
