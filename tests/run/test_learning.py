"""An attack that learns, through the engine: from the train role, once for a cell, kept and read again, of both classes where it must."""

from __future__ import annotations

import json

import pytest
from safetensors.torch import load_file, save_file

from redteam.run.executing import Executor
from redteam.run.finalising import finalise
from redteam.scenario.errors import ScenarioError
from redteam.scenario.load import load


@pytest.fixture
def school(lab):
    """Evaluation images, and other ones to learn from."""
    lab.both(3)
    data = lab.folder / "data"
    data.rename(lab.folder / "eval")
    lab.pictures("real", [90 + 2 * i for i in range(4)])
    lab.pictures("fake", [150 + 2 * i for i in range(4)])
    data.rename(lab.folder / "train")
    lab.content["data"] = {"eval": {"kind": "folder", "path": "eval"}, "train": {"kind": "folder", "path": "train"}}
    return lab


def rows(run_dir, attack):
    return [row for row in map(json.loads, run_dir.results.read_text().splitlines()) if row["attack"] == attack]


LEARNERS = [
    {"id": "it", "kind": "spectrum_match"},
    {"id": "it", "kind": "statistics_match", "trials": 3},
    {"id": "it", "kind": "statistics_match", "trials": 3, "ask": True, "goal": "evade"},
    {"id": "it", "kind": "prnu_copy", "camera": "real/*"},
    {"id": "it", "kind": "master_image", "steps": 4, "area": {"sweep": [0.2, 1.0]}},
    {"id": "it", "chain": [{"kind": "blur"}, {"kind": "spectrum_match"}, {"kind": "jpeg", "quality": 90}]},
]


@pytest.mark.parametrize("attack", LEARNERS, ids=lambda attack: attack.get("kind", "chain"))
def test_it_learns_runs_and_its_control_beside_it(school, attack):
    school.content["attacks"] = [attack]
    run_dir, closing = school.inline()
    found = rows(run_dir, "it")
    assert closing.summary["status"] == "complete"
    assert len(found) == (3 if "goal" in attack else 12 if "area" in attack else 6)
    assert all((row["status"], row["valid"]) == ("ok", True) for row in found + rows(run_dir, "noise"))
    assert any(row["quality"].get("psnr_db") is not None or not row["quality"] for row in found)
    assert list((run_dir.path / "artifacts").glob("state-*.safetensors"))
    arms = {cell["arm"] for cell in closing.summary["cells"] if cell["attack"] == "noise"}
    assert arms == {"random picture" if attack.get("kind") == "master_image" else "scattered"}


def test_what_was_learned_is_kept_and_read_again_after_a_restart(school):
    school.content["attacks"] = [{"id": "it", "kind": "spectrum_match"}]
    run_dir, _ = school.inline()
    before = run_dir.results.read_text()
    (kept,) = (run_dir.path / "artifacts").glob("state-*.safetensors")  # the control arm shares it
    assert load_file(kept).keys() == {"0", "1"}
    plan = school.plan(run_dir)
    units = [unit for unit in plan.units if unit.cell is not None and plan.cells[unit.cell].cell.attack in ("it", "noise")]
    for unit in units:
        run_dir.unit_path(unit.key).unlink()
    again = Executor(plan, run_dir)
    for unit in units:
        again.run(unit)
    finalise(plan, run_dir)
    assert run_dir.results.read_text() == before
    changed = {label: tensor - 2 * (label == "0") for label, tensor in load_file(kept).items()}  # it is the file that is read: another one attacks otherwise
    changed["0"][:, 8:24] += 5
    save_file(changed, kept)
    for unit in units:
        run_dir.unit_path(unit.key).unlink()
    other = Executor(plan, run_dir)
    for unit in units:
        other.run(unit)
    finalise(plan, run_dir)
    assert run_dir.results.read_text() != before


def test_questions_while_learning_are_not_billed_to_images_that_are_evaluated(school):
    school.content["attacks"] = [{"id": "it", "kind": "master_image", "steps": 4}]
    run_dir, _ = school.inline()
    assert all(row["cost"]["queries"] == 0 for row in rows(run_dir, "it"))


def test_a_master_image_is_learned_on_surrogates(school):
    school.content["targets"] = [{"id": "closed", "kind": "brightness", "scale": 50, "access": "decisions"}, {"id": "sure", "kind": "brightness", "scale": 100}]
    school.content["attacks"] = [{"id": "it", "kind": "master_image", "steps": 40, "views": ["plain", "jpeg"], "surrogates": ["sure"]}]
    school.content["matrix"] = {"exclude": [{"target": "sure"}]}
    run_dir, _ = school.inline()
    assert all(row["outcome"]["success"] for row in rows(run_dir, "it"))


def test_an_attack_that_cannot_learn_loses_its_rows_with_the_reason(school):
    school.content["attacks"] = [{"id": "it", "kind": "prnu_remove", "camera": "nikon/*"}]
    run_dir, _ = school.inline()
    said = {row["reason"] for row in rows(run_dir, "it")}
    assert said == {"ValueError: no training image is called 'nikon/*'; camera is a glob over their ids, and data.train must hold images of that camera"}


@pytest.mark.parametrize("attack", [{"id": "it", "kind": "spectrum_match"}, {"id": "it", "chain": [{"kind": "spectrum_match"}, {"kind": "jpeg"}]}])
def test_without_training_images_a_scenario_is_refused(school, attack):
    del school.content["data"]["train"]
    school.content["attacks"] = [attack]
    with pytest.raises(ScenarioError) as refused:
        load(school.write())
    assert "RT309 attacks.0" in str(refused.value)
    assert "it learns before it attacks and needs training images, got no data.train; add it, with other images than data.eval" in str(refused.value)


def test_a_control_that_must_lie_where_the_attack_does_draws_the_same_numbers(lab):
    lab.both(3)
    lab.content["attacks"] = [{"id": "it", "kind": "typographic"}, {"id": "both", "chain": [{"kind": "typographic"}, {"kind": "jpeg"}]}]
    run_dir, closing = lab.inline()
    for attack in ("it", "both"):
        cell = next(cell for cell in closing.summary["cells"] if cell["attack"] == attack)
        control = next(other for other in closing.summary["cells"] if other["key"] in cell["controls"] and other["attack"] == "noise")
        assert control["arm"] == "blank sticker"
        drawn = [[row["determinism"]["seed"] for row in rows(run_dir, one["attack"]) if row["cell"] == one["key"]] for one in (cell, control)]
        assert drawn[0] == drawn[1] and len(set(drawn[0])) == 6


def test_one_picture_for_all_images_is_one_observation_and_no_worst_case(school):
    school.content["attacks"] = [{"id": "it", "kind": "master_image", "steps": 40, "views": ["plain"]}, {"id": "blur", "kind": "blur"}]
    run_dir, closing = school.inline()
    cell = next(cell for cell in closing.summary["cells"] if cell["attack"] == "it")
    assert cell["verdict"] == "unresolvable"
    assert {name: group["robust_accuracy"]["value"] for name, group in cell["by_group"].items()} == {"the picture for label 0": 0.0, "the picture for label 1": 0.0}
    assert [worst["attacks"] for worst in closing.summary["worst_case"]] == [["blur sigma=1"]]
