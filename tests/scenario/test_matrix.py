"""The matrix: control arms first, each distinct control once, exclusions, repeats."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from redteam.record import Cell
from redteam.scenario.matrix import cells
from redteam.scenario.model import Scenario


def laid_out(scenario: Scenario) -> list[str]:
    return [f"{cell.target}/{cell.defense} {cell.label}{f' #{cell.repeat}' if cell.repeat else ''}" for cell in of(scenario)]


def of(scenario: Scenario) -> list[Cell]:
    return [planned.cell for planned in cells(scenario)]


def test_controls_come_first_and_each_cell_names_its_own(read: Callable, base: str) -> None:
    identity, noise, pgd, jpeg = of(read(base)[0])
    assert [cell.attack for cell in (identity, noise, pgd, jpeg)] == ["identity", "noise", "pgd", "jpeg"]
    assert [cell.control for cell in (identity, noise, pgd, jpeg)] == [True, True, False, False]
    assert (identity.controls, noise.controls, pgd.controls, jpeg.controls) == ((), (identity.key,), (identity.key, noise.key), (identity.key,))
    assert {cell.goal for cell in (identity, noise, pgd, jpeg)} == {"evade+frame"}


def test_a_cell_says_what_it_runs(read: Callable, base: str) -> None:
    planned = cells(read(base)[0])
    noise, pgd = planned[1], planned[2]
    assert (pgd.cell.kind, pgd.cell.norm, pgd.cell.eps, pgd.cell.strength) == ("pgd", "linf", 4 / 255, {"eps": 4 / 255})
    assert pgd.cell.params == pgd.attack.params() == {"goal": None, "surrogates": [], "norm": "linf", "eps": 4 / 255, "steps": 20}
    assert (noise.cell.kind, noise.cell.norm, noise.cell.eps, type(noise.attack).__name__) == ("noise", "linf", 4 / 255, "Noise")


def test_attacks_of_one_norm_radius_and_goal_share_a_noise_arm(read: Callable, base: str) -> None:
    scenario, _ = read(base.replace("eps: 4/255}", "eps: 4/255}\n  - {id: longer, kind: pgd, steps: 99}\n  - {id: framed, kind: pgd, goal: frame}\n  - {id: small, kind: pgd, eps: 1/255}"))
    noises = [cell for cell in of(scenario) if cell.attack == "noise"]
    assert [(noise.eps, noise.goal) for noise in noises] == [(4 / 255, "evade+frame"), (4 / 255, "frame"), (1 / 255, "evade+frame")]
    named = {cell.attack: cell.controls[1] for cell in of(scenario) if len(cell.controls) == 2}
    assert named == {"pgd": noises[0].key, "longer": noises[0].key, "framed": noises[1].key, "small": noises[2].key}


def test_the_control_of_a_chain_is_a_chain(read: Callable, base: str) -> None:
    scenario, _ = read(base.replace("{id: pgd, kind: pgd, eps: 4/255}", "{id: both, chain: [{kind: pgd}, {kind: jpeg}]}"))
    noise = of(scenario)[1]
    assert (noise.attack, noise.kind, noise.strength) == ("noise", "chain", {"pgd.eps": 4 / 255, "jpeg.quality": 75})


def test_attack_cells_repeat_and_controls_do_not(read: Callable, base: str) -> None:
    scenario, _ = read(base.replace("name: faces", "name: faces\nrepeats: 2"))
    assert laid_out(scenario) == [
        "mine/none identity", "mine/none noise eps=0.01569", "mine/none pgd eps=0.01569", "mine/none pgd eps=0.01569 #1",
        "mine/none jpeg quality=75", "mine/none jpeg quality=75 #1",
    ]  # fmt: skip
    assert len({cell.key for cell in of(scenario)}) == 6


TWO = "defenses:\n  - {id: none, kind: none}\n  - {id: d, kind: jpeg}\nattacks:"


def test_an_exclusion_leaves_out_the_attack_and_keeps_the_controls(read: Callable, base: str) -> None:
    scenario, warnings = read(base.replace("attacks:", TWO) + "matrix: {exclude: [{defense: d, attack: pgd}]}\n")
    assert warnings == []
    assert [row for row in laid_out(scenario) if "/d" in row] == ["mine/d identity", "mine/d jpeg quality=75"]


def test_an_exclusion_without_an_attack_leaves_out_the_square_with_its_controls(read: Callable, base: str) -> None:
    scenario, _ = read(base.replace("attacks:", TWO) + "matrix: {exclude: [{target: mine, defense: d}]}\n")
    assert {cell.defense for cell in of(scenario)} == {"none"}


def test_an_exclusion_that_those_before_cover_is_a_warning(read: Callable, base: str) -> None:
    _, warnings = read(base.replace("attacks:", TWO) + "matrix:\n  exclude:\n    - {defense: d}\n    - {defense: d, attack: pgd}\n")
    assert [str(warning).split("\n")[0] for warning in warnings] == ["faces.yaml:16:7: warning RT313 matrix.exclude.1: this exclusion excludes nothing that those before it leave; delete it"]


def test_the_default_defense_can_be_named(read: Callable, base: str) -> None:
    scenario, _ = read(base + "matrix: {exclude: [{defense: none, attack: jpeg}]}\n")
    assert [cell.attack for cell in of(scenario)] == ["identity", "noise", "pgd"]


def test_an_attack_that_needs_too_much_is_allowed_where_it_does_not_meet_the_target(read: Callable, base: str) -> None:
    weak = base.replace("kind: linear}", "kind: linear}\n  - {id: remote, kind: linear, access: decisions}")
    scenario, _ = read(weak + "matrix: {exclude: [{target: remote, attack: pgd}]}\n")
    assert laid_out(scenario)[-2:] == ["remote/none identity", "remote/none jpeg quality=75"]


def test_masks_are_asked_for_only_where_the_attack_runs(read: Callable, base: str) -> None:
    text = base.replace("{kind: shelf}", "[{kind: shelf}, {kind: bare}]").replace("kind: jpeg", "kind: region")
    scenario, _ = read(text + "matrix: {exclude: [{data: bare, attack: jpeg}]}\n")
    assert [(cell.data, cell.attack) for cell in of(scenario)][-1] == ("bare", "pgd")


def test_a_scenario_of_control_arms_alone_is_a_clean_measurement(read: Callable) -> None:
    scenario, _ = read("schema: redteam/v1\nname: clean\ndata: {eval: {kind: shelf}}\ntargets: [{id: mine, kind: linear}]\nattacks: []\n")
    assert laid_out(scenario) == ["mine/none identity"]


@pytest.mark.parametrize(
    ("role", "warned"),
    [
        ("calib: {kind: shelf, seed: 2}", "data.calib: nothing uses this role; a threshold {at_fpr: 0.01, on: calib} would, or delete it"),
        ("train: {kind: shelf, seed: 2}", "data.train: nothing uses this role; no attack or defense here learns, delete it"),
    ],
)
def test_a_role_that_nothing_uses_is_a_warning(read: Callable, base: str, role: str, warned: str) -> None:
    _, warnings = read(base.replace("targets:", f"  {role}\ntargets:"))
    assert [f"{warning.path}: {warning.message}" for warning in warnings] == [warned]


def test_roles_that_are_used_are_no_warning(read: Callable, base: str) -> None:
    text = base.replace("targets:", "  calib: {kind: shelf, seed: 2}\n  train: {kind: shelf, seed: 3}\ntargets:")
    _, warnings = read(text.replace("kind: linear", "kind: linear, threshold: {at_fpr: 0.01}").replace("kind: jpeg", "kind: learned"))
    assert warnings == []


def test_an_image_of_calib_that_is_evaluated_is_an_error_when_data_are_read(read: Callable, complaints: Callable[..., str], base: str) -> None:
    text = base.replace("targets:", "  calib: {kind: shelf, limit: 2}\ntargets:").replace("kind: linear", "kind: linear, threshold: {at_fpr: 0.01}")
    read(text)
    assert complaints(text, read_data=True).split("\n")[0] == "faces.yaml:5:3: RT331 data.calib: must share no image with eval, got 2 that are in both (first: shelf s0 = shelf s0); split the data"
    read(text.replace("limit: 2", "seed: 2"), read_data=True)


def test_a_corpus_that_cannot_be_listed_is_an_error_when_data_are_read(complaints: Callable[..., str], base: str) -> None:
    found = complaints(base.replace("kind: shelf", "kind: shelf, path: gone"), read_data=True)
    assert found.split("\n")[0] == "faces.yaml:4:3: RT332 data.eval: gone: there is no such shelf; name another"
