"""Sweeps multiply, chains refer; what comes out are attacks with their strengths."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from redteam.scenario.model import AttackEntry


@pytest.fixture
def attacks(read: Callable, base: str) -> Callable[[str], dict[str, AttackEntry]]:
    """The attacks of the base scenario, the second one written anew."""
    return lambda written, first="eps: 4/255": {entry.id: entry for entry in read(base.replace("{id: jpeg, kind: jpeg}", written).replace("eps: 4/255", first))[0].attacks}


def strengths(entry: AttackEntry) -> list[dict[str, float]]:
    return [variant.strength for variant in entry.variants]


def test_a_sweep_gives_one_variant_for_each_value_in_written_order(attacks: Callable) -> None:
    entry = attacks("{id: q, kind: jpeg, quality: {sweep: [95, 60, 75]}}")["q"]
    assert [variant.attack.quality for variant in entry.variants] == [95, 60, 75]
    assert strengths(entry) == [{"quality": 95}, {"quality": 60}, {"quality": 75}]


def test_several_sweeps_give_their_product_the_last_turning_fastest(attacks: Callable) -> None:
    entry = attacks("{id: p, kind: pgd, steps: {sweep: [1, 2]}, eps: {sweep: [1/255, 2/255]}}")["p"]
    assert [(v.attack.steps, v.attack.eps * 255) for v in entry.variants] == [(1, 1), (1, 2), (2, 1), (2, 2)]
    assert strengths(entry)[1] == {"eps": 2 / 255, "steps": 1}


def test_an_attack_without_a_sweep_has_one_variant_with_its_own_strength(attacks: Callable) -> None:
    assert strengths(attacks("{id: q, kind: jpeg}")["q"]) == [{"quality": 75}]


def test_a_sweep_over_words_makes_variants_and_no_strength(attacks: Callable) -> None:
    entry = attacks("{id: p, kind: pgd, norm: {sweep: [linf, l2]}}")["p"]
    assert [v.attack.norm for v in entry.variants] == ["linf", "l2"] and strengths(entry) == [{"eps": 4 / 255}] * 2


def test_goals_can_be_swept(attacks: Callable) -> None:
    assert [v.attack.goal for v in attacks("{id: p, kind: pgd, goal: {sweep: [evade, frame]}}")["p"].variants] == ["evade", "frame"]


def test_a_wrong_goal_in_a_sweep_is_pointed_at(complaints: Callable[[str], str], base: str) -> None:
    assert complaints(base.replace("eps: 4/255", "goal: {sweep: [evade, fame]}")).startswith("faces.yaml:8:48: RT302 attacks.0.pgd.goal.sweep.1: goal must be one of")


def test_a_stage_takes_the_referenced_attack_s_keys_and_its_own_win(attacks: Callable) -> None:
    entry = attacks("{id: both, chain: [{ref: pgd, steps: 7}, {kind: jpeg, quality: 85}]}", first="eps: 2/255, steps: 3")["both"]
    chain = entry.variants[0].attack
    assert entry.kind == "chain" and chain.names == ("pgd", "jpeg")
    assert [(stage.eps * 255, stage.steps) if i == 0 else stage.quality for i, stage in enumerate(chain.stages)] == [(2, 7), 85]
    assert strengths(entry) == [{"pgd.eps": 2 / 255, "jpeg.quality": 85}]


def test_sweeps_of_stages_multiply_and_a_stage_can_overrule_an_inherited_one(attacks: Callable) -> None:
    swept = "eps: {sweep: [1/255, 2/255]}"
    entry = attacks("{id: both, chain: [{ref: pgd}, {kind: jpeg, quality: {sweep: [90, 80]}}]}", first=swept)["both"]
    assert [(s["pgd.eps"] * 255, s["jpeg.quality"]) for s in strengths(entry)] == [(1, 90), (1, 80), (2, 90), (2, 80)]
    fixed = attacks("{id: both, chain: [{ref: pgd, eps: 3/255}]}", first=swept)["both"]
    assert strengths(fixed) == [{"pgd.eps": 3 / 255}]


def test_a_chain_may_refer_to_an_attack_that_comes_later(read: Callable, base: str) -> None:
    scenario, _ = read(base.replace("attacks:\n", "attacks:\n  - {id: both, chain: [{ref: jpeg, quality: 50}]}\n"))
    assert scenario.attacks[0].variants[0].attack.stages[0].quality == 50


def test_stages_of_one_name_are_numbered(attacks: Callable) -> None:
    entry = attacks("{id: thrice, chain: [{kind: jpeg, quality: 90}, {kind: jpeg}, {kind: jpeg, quality: 60}]}")["thrice"]
    assert strengths(entry) == [{"jpeg.quality": 90, "jpeg2.quality": 75, "jpeg3.quality": 60}]


def test_the_goal_stands_beside_the_chain_and_none_is_inherited(attacks: Callable) -> None:
    chain = attacks("{id: both, goal: frame, chain: [{ref: pgd}]}", first="goal: evade")["both"].variants[0].attack
    assert chain.goal == "frame" and chain.stages[0].goal is None


def test_an_error_in_a_referenced_attack_is_said_once_at_the_attack(complaints: Callable[[str], str], base: str) -> None:
    found = complaints(base.replace("eps: 4/255", "eps: -1").replace("{id: jpeg, kind: jpeg}", "{id: both, chain: [{ref: pgd}]}"))
    assert found.count("RT") == 1 and "attacks.0.pgd.eps" in found


def test_a_chain_needs_what_its_neediest_stage_needs(complaints: Callable[[str], str], base: str) -> None:
    found = complaints(base.replace("kind: linear", "kind: linear, access: scores").replace("{id: pgd, kind: pgd, eps: 4/255}", "{id: both, chain: [{kind: jpeg}, {kind: pgd}]}"))
    assert "RT301 attacks.0: both needs gradients but target 'mine' gives scores" in found


def test_sweeps_that_multiply_to_thousands_are_taken_for_a_slip(complaints: Callable[[str], str], base: str) -> None:
    numbers = ", ".join(map(str, range(1, 41)))
    found = complaints(base.replace("eps: 4/255", f"eps: {{sweep: [{numbers}]}}, steps: {{sweep: [{numbers}]}}"))
    assert found.startswith("faces.yaml:8:5: RT204 attacks.0: sweeps must multiply to at most 1000 variants, got 1600; split the attack or sweep less\n")
