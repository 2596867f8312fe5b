"""What a scenario means as a whole: access, goals, masks, thresholds, roles, and data that is used twice."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from redteam import registry
from redteam.attack import Attack
from redteam.data.containers import survey_of
from redteam.data.corpus import NOT_CONTENT, CorpusError, Sample
from redteam.defense import Defense
from redteam.objective import GOALS
from redteam.scenario.document import Place
from redteam.scenario.errors import Problem
from redteam.scenario.matrix import attacks_in, squares, target_kind
from redteam.scenario.model import CONTROLS, AttackEntry, DataEntry, Scenario, TargetEntry
from redteam.scenario.reading import Reading, nearest
from redteam.scenario.surrogates import surrogates_of
from redteam.target import Access


def check_meaning(reading: Reading, scenario: Scenario) -> None:
    """Note all that types cannot see. Entries that could not be built are not in the scenario and are passed over."""
    for data, target, attack in _met(scenario):
        _check_access(reading, attack, target)
        _check_goal(reading, attack, target)
        _check_masks(reading, attack, data)
    _check_thresholds(reading, scenario)
    _check_surrogates(reading, scenario)


def _met(scenario: Scenario) -> Iterator[tuple[DataEntry, TargetEntry, AttackEntry]]:
    """Every attack with the data and the targets that it meets in some cell."""
    for square in squares(scenario):
        for attack in attacks_in(scenario, square):
            yield square[0], square[1], attack


def stages(attack: Attack) -> tuple[Attack, ...]:
    """The attack itself, or the stages of a chain."""
    return getattr(attack, "stages", (attack,))


def _path(reading: Reading, section: str, name: str) -> Place:
    return reading.ids(section).get(name, (section,))


def _check_access(reading: Reading, attack: AttackEntry, target: TargetEntry) -> None:
    needs, gives = max(variant.attack.access() for variant in attack.variants), target.spec.gives()
    if needs > gives:
        others = _weaker_attacks(gives)
        repair = f"use {others}, or a target with more access" if others else "use a target with more access"
        reading.error("RT301", _path(reading, "attacks", attack.id), f"{attack.id} needs {needs.word} but target {target.id!r} gives {gives.word}; {repair}")


def _weaker_attacks(gives: Access) -> str:
    """Registered attacks that an access level carries, those that use most of it first."""
    found = []
    for name in registry.names("attacks"):
        try:
            needs = registry.get("attacks", name).needs
        except (ImportError, AttributeError):
            continue
        if isinstance(needs, Access) and needs <= gives and name not in CONTROLS:  # a chain's needs are its stages'
            found.append((-needs, name))
    names = [name for _, name in sorted(found)][:6]
    return " or ".join(part for part in (", ".join(names[:-1]), *names[-1:]) if part)


def _check_goal(reading: Reading, attack: AttackEntry, target: TargetEntry) -> None:
    kind, place = target_kind(target), (*_path(reading, "attacks", attack.id), "goal")
    for variant in attack.variants:
        goal = variant.attack.goal
        if goal is None:
            continue
        if variant.attack.needs is Access.NONE:
            reading.error("RT303", place, f"{attack.id} asks the target nothing, treats both classes alike and takes no goal, got {goal!r}; delete it")
        elif goal not in (known := [choice.name for choice in GOALS[kind]]):
            found = nearest(goal, known)
            reading.error("RT302", _chosen(reading, place, goal), f"goal must be one of {', '.join(known)} for a {kind}, got {goal!r}{f'; did you mean {found!r}?' if found else ''}")


def _chosen(reading: Reading, place: Place, goal: str) -> Place:
    """Where a goal stands, inside its sweep if it has one."""
    swept = reading.at((*place, "sweep"))
    return (*place, "sweep", swept.index(goal)) if isinstance(swept, list) else place


def _check_masks(reading: Reading, attack: AttackEntry, data: DataEntry) -> None:
    wants = any(getattr(stage, "needs_masks", False) for variant in attack.variants for stage in stages(variant.attack))
    if wants and not data.corpus.has_masks():
        reading.error("RT304", _path(reading, "attacks", attack.id), f"{attack.id} needs masks but data {data.id!r} ({data.kind}) has none; use a manifest that names masks, or exclude the two from each other")


def _check_thresholds(reading: Reading, scenario: Scenario) -> None:
    for target in scenario.targets:
        threshold = getattr(target.spec, "threshold", None)
        if threshold is not None and threshold.at_fpr is not None and "calib" not in _roles(reading):
            message = "a threshold at a false-positive rate needs calibration data, got no data.calib; add it, or write {fixed: 0.5}"
            reading.error("RT305", (*_path(reading, "targets", target.id), "threshold"), message)


def _check_surrogates(reading: Reading, scenario: Scenario) -> None:
    for attack, surrogate, stage in {(attack, surrogate.id, stage.needs): (attack, surrogate, stage) for attack, surrogate, stage in surrogates_of(scenario)}.values():
        place, role = (*_path(reading, "attacks", attack), "surrogates"), _zoo_role(surrogate)
        if role != "detector":
            reading.error("RT308", place, f"a surrogate must be a target, got {surrogate.id}, which is an {role}; name a detector")
        elif stage.needs > surrogate.spec.gives():
            reading.error("RT308", place, f"{attack} needs {stage.needs.word} of its surrogate but {surrogate.id!r} gives {surrogate.spec.gives().word}; name one that gives more")


def _zoo_role(entry: TargetEntry) -> str:
    model = getattr(entry.spec, "model", None)
    return registry.get("models", model.removeprefix("zoo/")).role if model else "detector"


def check_roles(reading: Reading, scenario: Scenario) -> None:
    """Warn of roles that nothing uses; the scenario must be whole."""
    calibrated = any(getattr(target.spec, "threshold", None) and target.spec.threshold.at_fpr is not None for target in scenario.targets)
    attacks = (stage for entry in scenario.attacks for variant in entry.variants for stage in stages(variant.attack))
    trains = any(type(attack).fit is not Attack.fit for attack in attacks) or any(type(entry.defense).retrain is not Defense.retrain for entry in scenario.defenses)
    if "calib" in _roles(reading) and not calibrated:
        reading.warning("RT306", ("data", "calib"), "nothing uses this role; a threshold {at_fpr: 0.01, on: calib} would, or delete it")
    if "train" in _roles(reading) and not trains:
        reading.warning("RT306", ("data", "train"), "nothing uses this role; no attack or defense here learns, delete it")


def _roles(reading: Reading) -> Iterable[str]:
    return roles if isinstance(roles := reading.at(("data",)), dict) else ()


def check_data(reading: Reading, scenario: Scenario) -> None:
    """Note images of calib or train that are also evaluated, corpora that cannot be listed, and those whose files alone tell the classes apart. Reads the data."""
    listed: dict[str, list[tuple[DataEntry, tuple[Sample, ...]]]] = {}
    for role, entries in scenario.data.items():
        try:
            listed[role] = [(entry, tuple(entry.corpus.samples())) for entry in entries]
        except CorpusError as error:
            _role_error(reading, "RT332", role, str(error))
            return
    evaluated = {sample.content: f"{entry.id} {sample.id}" for entry, samples in listed["eval"] for sample in samples if sample.content not in NOT_CONTENT}
    for role, corpora in listed.items():
        shared = [(f"{entry.id} {sample.id}", evaluated[sample.content]) for entry, samples in corpora for sample in samples if role != "eval" and sample.content in evaluated]
        if shared:
            _role_error(reading, "RT331", role, f"must share no image with eval, got {len(shared)} that {'is' if len(shared) == 1 else 'are'} in both (first: {shared[0][0]} = {shared[0][1]}); split the data")
        for entry, samples in corpora:
            if why := survey_of(samples).sentence():
                reading.warning("RT333", ("data", role), f"{entry.id}: {why}")


def _role_error(reading: Reading, code: str, role: str, message: str) -> None:
    problem = Problem(code, f"data.{role}", reading.document.mark(("data", role), key=True), message)
    reading.problems.append(reading.document.pointed(problem))
