"""Gates: what they require and which cells they select."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redteam.record import Cell
from redteam.scenario.gates import parse_requirement, strength_matches
from redteam.scenario.matrix import cells


def cell(**changes: Any) -> Cell:
    return Cell(**{"data": "d", "target": "t", "defense": "none", "attack": "pgd", "goal": "evade", "kind": "pgd", "strength": {"eps": 4 / 255, "steps": 10}, "norm": "linf", "eps": 4 / 255, **changes})


@pytest.mark.parametrize(
    "where",
    [{}, {"attack": "pgd"}, {"data": "d", "target": "t", "defense": "none", "goal": "evade", "norm": "linf", "repeat": 0}, {"eps": 4 / 255}, {"eps": 0.01568627450981}, {"steps": 10.0}],
)
def test_a_cell_is_selected_when_everything_agrees(where: dict[str, Any]) -> None:
    assert strength_matches(where, cell())


@pytest.mark.parametrize("where", [{"attack": "jpeg"}, {"eps": 0.0157}, {"steps": 11}, {"quality": 75}, {"repeat": 1}, {"norm": "l2"}, {"attack": "pgd", "goal": "frame"}])
def test_a_cell_is_not_selected_when_something_differs_or_is_absent(where: dict[str, Any]) -> None:
    assert not strength_matches(where, cell())


def test_a_budget_that_is_no_strength_can_select_too() -> None:
    assert strength_matches({"eps": 4 / 255}, cell(strength={}))


def test_control_cells_are_selected_only_by_name() -> None:
    noise = cell(attack="noise", control=True)
    assert strength_matches({"attack": "noise"}, noise)
    assert not strength_matches({}, noise) and not strength_matches({"eps": 4 / 255}, noise)


@given(st.floats(1e-6, 1e6), st.floats(-1, 1))
def test_numbers_agree_up_to_a_relative_billionth(number: float, part: float) -> None:
    assert strength_matches({"steps": number * (1 + part * 9e-10)}, cell(strength={"steps": number}))
    assert not strength_matches({"steps": number * (1 + 3e-9)}, cell(strength={"steps": number}))


@pytest.mark.parametrize(("text", "require"), [("<= 0.40", ("<=", 0.4)), (">=1/2", (">=", 0.5)), (" < 3 ", ("<", 3.0)), ("> 1e-3", (">", 0.001))])
def test_a_requirement_is_an_operator_and_a_number(text: str, require: tuple[str, float]) -> None:
    assert parse_requirement(text) == require


@pytest.mark.parametrize("text", ["0.4", "== 0.4", "<= ", "<= a", "<= true", "<= .nan", "=< 1", "<= 0.4 or so", 0.4, None])
def test_anything_else_is_no_requirement(text: object) -> None:
    assert parse_requirement(text) is None


def gated(base: str, where: str) -> str:
    return base + f'gates:\n  - {{id: g, metric: auc, where: {where}, require: ">= 0.9", on: ci_lower, min_n: 20}}\n'


def test_a_gate_has_what_the_file_says(read: Callable, base: str) -> None:
    (gate,) = read(gated(base, "{attack: pgd, eps: '4/255'}"))[0].gates
    assert (gate.id, gate.metric, gate.where, gate.require, gate.on, gate.min_n) == ("g", "auc", {"attack": "pgd", "eps": 4 / 255}, (">=", 0.9), "ci_lower", 20)
    assert (gate.mark.line, gate.mark.column) == (11, 5)


@pytest.mark.parametrize(
    ("where", "labels"),
    [
        ("{}", ["pgd eps=0.01569", "jpeg quality=75"]),
        ("{attack: identity}", ["identity"]),
        ("{attack: noise, eps: 4/255}", ["noise eps=0.01569"]),
        ("{quality: 75}", ["jpeg quality=75"]),
        ("{norm: linf}", ["pgd eps=0.01569"]),
        ("{defense: none, data: shelf, target: mine, goal: evade+frame, repeat: 0}", ["pgd eps=0.01569", "jpeg quality=75"]),
    ],
)
def test_a_gate_selects_cells_by_coordinates_and_strengths(read: Callable, base: str, where: str, labels: list[str]) -> None:
    scenario, _ = read(gated(base, where))
    assert [planned.cell.label for planned in cells(scenario) if strength_matches(scenario.gates[0].where, planned.cell)] == labels


@pytest.mark.parametrize(
    ("where", "repair"),
    [
        ("{attack: pgd, eps: 3/255}", "with the rest as it is, eps can be 4/255"),
        ("{attack: jpeg, quality: 80}", "with the rest as it is, quality can be 75"),
        ("{goal: evade}", "with the rest as it is, goal can be evade+frame"),
        ("{attack: pgd, quality: 75}", "with the rest as it is, attack can be jpeg"),
        ("{attack: jpeg, norm: linf}", "with the rest as it is, attack can be pgd"),
        ("{norm: l2, quality: 7, repeat: 3}", "the keys exclude each other, or an exclusion of the matrix leaves nothing; select by fewer"),
    ],
)
def test_a_gate_that_selects_no_cell_says_what_there_is(complaints: Callable[[str], str], base: str, where: str, repair: str) -> None:
    assert complaints(gated(base, where)).split("\n")[0].endswith(f"RT324 gates.0.g.where: a gate must select at least one cell, got none; {repair}")


def test_gates_of_one_id_are_refused(complaints: Callable[[str], str], base: str) -> None:
    text = gated(base, "{}")
    assert "RT107 gates.1.id: an id must be unique in its list, got 'g' again (first at gates.0)" in complaints(text + text.split("gates:\n")[1])
