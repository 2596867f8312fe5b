"""A run begins once, is planned again from its own copy, and is refused when what it depends on has changed."""

from __future__ import annotations

import json

import pytest

from redteam.run import opening
from redteam.run.errors import Changed, Missing, Refused
from redteam.run.ledger import RunDir

FACTORY = "def build():\n    return lambda x: x.mean((1, 2, 3))\n"


@pytest.fixture
def locked(small) -> RunDir:
    """A run with a Python target that has weights, locked."""
    (small.folder / "mine.py").write_text(FACTORY)
    (small.folder / "w.safetensors").write_bytes(b"weights")
    small.write(targets=[{"id": "mine", "kind": "python", "factory": "mine.py:build", "weights": {"path": "w.safetensors"}, "output": {"type": "logit"}}], gates=[{"id": "g", "metric": "auc", "require": ">= 0.5"}])
    run_dir = small.begin()
    small.plan(run_dir)
    return run_dir


def test_begins_in_an_absent_or_empty_folder_only(small):
    (small.folder / "empty").mkdir()
    small.begin("empty")
    with pytest.raises(Refused, match=r"-o .*/empty: exists and is not empty; `redteam resume .*/empty` goes on with that run"):
        small.begin("empty")
    with pytest.raises(Refused, match=r"-o .*/data: exists and is not empty; give another -o"):
        small.begin("data")


def test_a_folder_that_cannot_be_made_is_a_sentence(small):
    (small.folder / "file").write_text("")
    with pytest.raises(Refused, match=r"-o .*/file/run: cannot be made \(.*Not a directory\); give another -o"):
        small.begin("file/run")


def test_discards_what_it_made_and_nothing_else(small):
    run_dir = small.begin()
    (run_dir.path / "notes.txt").write_text("mine")
    assert opening.discard(run_dir)
    assert [path.name for path in run_dir.path.iterdir()] == ["notes.txt"]


def test_a_locked_run_is_never_discarded(locked):
    assert not opening.discard(locked)
    assert (locked.path / "scenario.yaml").is_file()


def test_a_run_that_was_killed_before_its_lock_is_planned_afresh(small):
    run_dir = small.begin()
    small.write(seed=99)  # the run has its own copy
    assert small.plan(run_dir).scenario.seed == 5


def test_nothing_in_run_json_but_options_and_folder_matters(small):
    run_dir = small.begin()
    plan = small.plan(run_dir)
    run = run_dir.read_json("run.json")
    run_dir.write_json("run.json", {"folder": run["folder"], "options": run["options"]})
    assert [unit.key for unit in small.plan(run_dir).units] == [unit.key for unit in plan.units]


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"folder": "x"}', '{"folder": "x", "options": {"speed": 3}}'])
def test_a_foreign_run_json_is_a_sentence(small, text):
    run_dir = small.begin()
    (run_dir.path / "run.json").write_text(text)
    with pytest.raises(Refused, match="was not written by this version of redteam"):
        opening.reopen(run_dir)


CHANGES = {
    "an image": (lambda lab, run: (lab.folder / "data/real/000.png").write_bytes((lab.folder / "data/real/001.png").read_bytes()), "data.folder (images real/000.png)"),
    "one image more": (lambda lab, run: lab.pictures("real", [90], prefix="new"), "data.folder (images real/new000.png)"),
    "the weights": (lambda lab, run: (lab.folder / "w.safetensors").write_bytes(b"others"), "targets.mine.fingerprint.weights"),
    "the factory": (lambda lab, run: (lab.folder / "mine.py").write_text(FACTORY + "# changed\n"), "targets.mine.fingerprint.factory"),
    "the seed": (lambda lab, run: run.scenario.write_text(run.scenario.read_text().replace("seed: 5", "seed: 6")), "seed"),
    "a gate": (lambda lab, run: run.scenario.write_text(run.scenario.read_text().replace(">= 0.5", ">= 0.4")), "gates.g.require"),
    "an attack": (lambda lab, run: run.scenario.write_text(run.scenario.read_text().replace("steps: 2", "steps: 3")), "cells"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_changed_inputs_are_refused_by_name(small, locked, what):
    change, named = CHANGES[what]
    change(small, locked)
    with pytest.raises(Changed) as stop:
        small.plan(locked)
    assert str(stop.value) == f"inputs changed since the run began: {named}; start a new run, or put back what was there"


def test_changed_code_is_refused(small, locked, monkeypatch):
    monkeypatch.setattr("redteam.scenario.lock.code_digest", lambda: "other")
    with pytest.raises(Changed, match="inputs changed since the run began: redteam's own code;"):
        small.plan(locked)


def test_a_scenario_that_was_broken_after_the_lock_is_a_changed_input(small, locked):
    locked.scenario.write_text(locked.scenario.read_text().replace("kind: pgd", "kind: pdg"))
    with pytest.raises(Changed, match=r"(?s)inputs changed since the run began; .*RT109.*did you mean 'pgd'"):
        small.plan(locked)


def test_absent_weights_are_missing_and_others_than_declared_are_refused(small, locked):
    (small.folder / "w.safetensors").rename(small.folder / "gone")
    with pytest.raises(Missing, match=r"targets.mine: weights: .*w.safetensors does not exist; the path is relative to the scenario"):
        small.plan(locked)
    (small.folder / "gone").rename(small.folder / "w.safetensors")
    small.content["targets"][0]["weights"]["sha256"] = "0" * 64
    with pytest.raises(Refused, match=r"targets.mine: weights: w.safetensors has sha256 \w+, but the scenario declares 0000"):
        opening.plan_of(small.write(), None, {})


def test_the_lock_and_the_plan_hold_no_time_no_host_and_no_path(small, locked):
    import socket

    for name in ("scenario.lock.json", "plan.jsonl"):
        text = (locked.path / name).read_text()
        assert str(small.folder) not in text and socket.gethostname() not in text
    assert set(json.loads((locked.path / "scenario.lock.json").read_text())) >= {"code", "seed", "data", "targets", "cells", "gates", "limits", "environment"}
