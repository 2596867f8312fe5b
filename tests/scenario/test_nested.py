"""`kind: minimum`: the attack inside is read as a stage is, and every mistake is pointed at."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import EntryPoint

import pytest

from redteam import registry
from redteam.attacks.minimum import Minimum
from redteam.attacks.pgd import PGD


@pytest.fixture(autouse=True)
def with_minimum(registered: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The small components, and the search for the smallest budget with the real PGD."""
    others = registry._entries
    real = {name: EntryPoint(name, value, "redteam.attacks") for name, value in (("minimum", "redteam.attacks.minimum:Minimum"), ("descent", "redteam.attacks.pgd:PGD"), ("real-jpeg", "redteam.attacks.jpeg:JPEG"))}
    monkeypatch.setattr(registry, "_entries", lambda group: {**others(group), **(real if group == "attacks" else {})})
    registry.names.cache_clear()


@pytest.fixture
def variants(read: Callable, base: str) -> Callable:
    """The variants of an attack beside those of the base scenario."""
    return lambda written, more="": read(f"{base}{more}  - {written}\n")[0].attacks[-1].variants


def test_the_attack_inside_is_referred_to_or_written_in_place(variants: Callable) -> None:
    (found,) = variants("{id: least, kind: minimum, attack: {ref: own, steps: 7}, eps: 8/255}", more="  - {id: own, kind: descent, eps: 2/255, norm: l2}\n")
    assert isinstance(found.attack, Minimum)
    assert (found.attack.attack, found.attack.eps * 255, found.strength) == (PGD(eps=2 / 255, norm="l2", steps=7), 8.0, {"eps": 8 / 255})
    (found,) = variants("{id: least, kind: minimum, attack: {kind: descent, steps: 3}}")
    assert found.attack.attack == PGD(steps=3)


def test_without_one_it_is_pgd(variants: Callable) -> None:
    assert variants("{id: least, kind: minimum}")[0].attack == Minimum()


def test_sweeps_inside_and_outside_multiply_and_are_told_apart(variants: Callable) -> None:
    found = variants("{id: least, kind: minimum, attack: {kind: descent, steps: {sweep: [2, 4]}}, parts: {sweep: [8, 16]}}")
    assert [variant.strength for variant in found] == [{"eps": 16 / 255, "parts": parts, "attack.steps": steps} for parts in (8, 16) for steps in (2, 4)]
    assert [(variant.attack.parts, variant.attack.attack.steps) for variant in found] == [(8, 2), (8, 4), (16, 2), (16, 4)]


CASES = [
    ("attack: {kind: real-jpeg}", "RT105 attacks.2.least.attack: attack must have a budget eps that can be made smaller; take pgd, apgd or another bounded attack"),
    ("attack: {ref: nothing}", "RT213 attacks.2.least.attack.ref: no attack 'nothing'; there are pgd, jpeg, least"),
    ("attack: {kind: descent, step: 3, stps: 2}", "RT102 attacks.2.least.attack: unknown key 'stps'; did you mean 'steps'?"),
    ("attak: {kind: descent}", "RT102 attacks.2.least: unknown key 'attak'; did you mean 'attack'?"),
    ("attack: {kind: minimum}", "RT214 attacks.2.least.attack: a stage must not be made of attacks itself, got minimum; let it attack by itself"),
    ("attack: descent", "RT211 attacks.2.least.attack: a stage must be a mapping, got 'descent'; write {ref: pgd} or {kind: jpeg, quality: 85}"),
    ("attack: {kind: descent}, eps: -1", "RT104 attacks.2.least.eps: must lie in [0, inf), got -1"),
]


@pytest.mark.parametrize(("written", "said"), CASES)
def test_every_mistake_is_pointed_at(written: str, said: str, complaints: Callable, base: str) -> None:
    found = complaints(f"{base}  - {{id: least, kind: minimum, {written}}}\n")
    assert said in found
