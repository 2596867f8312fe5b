"""How components are built from what a scenario writes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from redteam.scenario.load import understood
from redteam.scenario.reading import Reading


def test_the_smallest_scenario_has_its_defaults(read: Callable, base: str, tmp_path: Path) -> None:
    scenario, warnings = read(base)
    assert warnings == []
    assert (scenario.schema_, scenario.name, scenario.seed, scenario.repeats, scenario.folder) == ("redteam/v1", "faces", 0, 1, tmp_path)
    assert [(entry.id, entry.kind) for entry in scenario.defenses] == [("none", "none")]
    assert (scenario.file.format, scenario.limits.sample_timeout_s, scenario.limits.max_error_rate) == ("png", 300, 0.01)
    assert (scenario.exclude, scenario.gates) == ((), ())


def test_an_id_of_data_is_its_kind_unless_it_is_given(read: Callable, base: str) -> None:
    scenario, _ = read(base.replace("{kind: shelf}", "[{kind: shelf}, {id: other, kind: shelf, seed: 2}]"))
    assert [(entry.id, entry.role, entry.kind, entry.corpus.seed) for entry in scenario.data["eval"]] == [("shelf", "eval", "shelf", 1), ("other", "eval", "shelf", 2)]


def test_relative_paths_start_at_the_scenario_at_every_depth(read: Callable, base: str, tmp_path: Path) -> None:
    scenario, _ = read(base.replace("kind: shelf", "kind: shelf, path: a/b, lens: {size: 3, path: ../c}").replace("kind: linear", "kind: linear, weights: /w.bin"))
    corpus = scenario.data["eval"][0].corpus
    assert (corpus.path, corpus.lens.path, scenario.targets[0].spec.weights) == (tmp_path / "a/b", tmp_path / "../c", Path("/w.bin"))


def test_the_scenario_s_folder_does_not_depend_on_where_one_stands(base: str, reading: Callable[[str], Reading], tmp_path: Path) -> None:
    scenario, _ = understood(reading(base))
    assert scenario.targets[0].spec.folder == tmp_path


def test_a_text_field_has_the_text_of_a_ratio_back(read: Callable, base: str) -> None:
    scenario, _ = read(base.replace("kind: linear", "kind: linear, note: 1/2, args: {share: 1/2}"))
    assert (scenario.targets[0].spec.note, scenario.targets[0].spec.args) == ("1/2", {"share": 0.5})


def test_forgeries_are_weights_or_settings(read: Callable, base: str) -> None:
    scenario, _ = read(base.replace("kind: shelf", "kind: shelf, forge: {paste: 2, redraw: {weight: 1/2}}"))
    forge = scenario.data["eval"][0].corpus.forge
    assert {name: type(value).__name__ for name, value in forge.items()} == {"paste": "Paste", "redraw": "Redraw"}
    assert (forge["paste"].weight, forge["redraw"].weight, forge["redraw"].model) == (2, 0.5, "zoo/vae-tiny")


def test_a_zoo_target_is_named_by_its_kind(read: Callable, base: str) -> None:
    scenario, _ = read(base.replace("kind: linear", "kind: zoo/npr-tiny, access: scores").replace("pgd, eps: 4/255", "square"))
    assert (scenario.targets[0].kind, scenario.targets[0].spec.model, scenario.targets[0].spec.access) == ("zoo/npr-tiny", "zoo/npr-tiny", "scores")


def test_a_zoo_target_does_not_say_its_model_twice(complaints: Callable[[str], str], base: str) -> None:
    found = complaints(base.replace("kind: linear", "kind: zoo/npr-tiny, model: zoo/npr-tiny"))
    assert found.startswith("faces.yaml:6:36: RT102 targets.0.mine: unknown key 'model'; kind: zoo/npr-tiny names it already")


@pytest.mark.parametrize("name", ["mine", "zoo/npr-tiny"])
def test_a_surrogate_is_a_target_id_or_a_zoo_name(read: Callable, base: str, name: str) -> None:
    scenario, _ = read(base.replace("{id: jpeg, kind: jpeg}", f"{{id: t, kind: transfer, surrogates: [{name}], after: pgd}}"))
    assert scenario.attacks[1].variants[0].attack.surrogates == (name,)


def test_a_reference_to_an_attack_is_not_one_to_a_target(complaints: Callable[[str], str], base: str) -> None:
    assert "attacks.1.t.after: no attack id, zoo name or file 'mine'" in complaints(base.replace("{id: jpeg, kind: jpeg}", "{id: t, kind: transfer, surrogates: [mine], after: mine}"))


def test_an_integer_is_a_number_and_a_quoted_ratio_is_one(read: Callable, base: str) -> None:
    scenario, _ = read(base.replace("eps: 4/255", "eps: '4/255'") + "limits: {sample_timeout_s: 5}\n")
    assert (scenario.attacks[0].variants[0].attack.eps, scenario.limits.sample_timeout_s) == (4 / 255, 5)


def test_quality_without_a_lossy_format_is_a_warning(read: Callable, base: str) -> None:
    _, warnings = read(base + "file: {format: png, quality: 90}\n")
    assert [str(warning).split("\n")[0] for warning in warnings] == ["faces.yaml:10:21: warning RT307 file.quality: has no effect, since png loses nothing; delete it, or write format: jpeg"]


def test_names_of_a_hostile_file_cannot_leave_their_folder_or_colour_a_terminal(complaints: Callable[[str], str], base: str) -> None:
    found = complaints(base.replace("id: mine", r'id: "\x1b[31m"').replace("name: faces", "name: ..") + '"\\x1b[2J": 1\n')
    assert "\x1b" not in found and "RT106 name:" in found and r"got '\x1b[31m'" in found and r"unknown key '\x1b[2J'" in found


def test_problems_become_json_whatever_the_file_holds(reading: Callable[[str], Reading]) -> None:
    found = reading('name: "\\U0001f600"\ntargets: 3\n')
    with pytest.raises(Exception) as caught:
        understood(found)
    assert [row["code"] for row in json.loads(caught.value.to_json())["problems"]].count("RT101") == 3
