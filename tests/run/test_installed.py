"""What doctor says of what is installed: each break is made here, and named with its repair."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from redteam import registry
from redteam.run import installed
from redteam.run.machine import Finding


@pytest.fixture
def stranger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Lines of entry_points.txt -> a distribution `stranger` that declares them."""

    def install(lines: str) -> None:
        info = tmp_path / "site" / "stranger-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: stranger\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(lines)
        (tmp_path / "site" / "stranger_plugin.py").write_text("import a_module_that_is_not_there\n")
        monkeypatch.syspath_prepend(tmp_path / "site")

    return install


def about(name: str) -> list[Finding]:
    return [finding for finding in installed.plugins() if finding.name == name]


def test_a_plugin_that_breaks_is_a_warning_with_its_distribution_and_its_error(stranger):
    stranger("[redteam.attacks]\nsmear = stranger_plugin:Smear\n")
    assert about("attacks/smear") == [
        Finding("attacks/smear", "warning", "of stranger cannot be imported: ModuleNotFoundError: No module named 'a_module_that_is_not_there'", "ask stranger for a version that fits, or pip uninstall it")
    ]


def test_a_name_that_two_distributions_declare_is_a_warning(stranger):
    stranger("[redteam.attacks]\npgd = redteam.attacks.fgsm:FGSM\n")
    assert about("attacks/pgd") == [Finding("attacks/pgd", "warning", "is declared by redteam and by stranger; only one of them can be used", "pip uninstall one of redteam, stranger")]


def test_a_component_of_our_own_that_breaks_is_a_problem(monkeypatch):
    entry = next(entry for entry in installed.entry_points(group="redteam.attacks") if entry.name == "pgd")
    moved = type(entry)("pgd", "redteam.attacks.gone:PGD", "redteam.attacks")._for(entry.dist)
    monkeypatch.setattr(installed, "entry_points", lambda group: [moved] if group == "redteam.attacks" else [])
    monkeypatch.setattr(installed, "undeclared", lambda pyproject: [])
    assert list(installed.plugins()) == [Finding("attacks/pgd", "problem", "of redteam cannot be imported: ModuleNotFoundError: No module named 'redteam.attacks.gone'", "pip install -e .")]


def test_entry_points_that_the_metadata_lack_are_named(tmp_path, monkeypatch):
    path = tmp_path / "pyproject.toml"
    path.write_text('[project]\nname = "redteam"\n[project.entry-points."redteam.attacks"]\npgd = "redteam.attacks.pgd:PGD"\nsmear = "redteam.attacks.smear:Smear"\n[project.entry-points."redteam.defenses"]\njpeg = "elsewhere:JPEG"\n')
    assert installed.undeclared(path) == ["attacks/smear", "defenses/jpeg"]
    assert installed.undeclared(tmp_path / "absent.toml") == []
    monkeypatch.setattr(installed, "PYPROJECT", path)
    assert about("entry points") == [Finding("entry points", "problem", "pyproject.toml declares attacks/smear, defenses/jpeg, the installed metadata do not", "pip install -e .")]


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """npr-tiny with its files in a folder that a test may change."""
    original = registry.get("models", "npr-tiny")
    weights, card = tmp_path / "w.safetensors", tmp_path / "npr-tiny.md"
    shutil.copy(original.weights(), weights)
    shutil.copy(original.card().with_suffix(".json"), card.with_suffix(".json"))
    monkeypatch.setattr(original, "weights", lambda: weights)
    monkeypatch.setattr(original, "card", lambda: card)
    return weights, card.with_suffix(".json")


def npr() -> Finding:
    return next(finding for finding in installed.weights() if finding.name == "zoo/npr-tiny")


def test_weights_are_held_against_their_card(model):
    weights, card = model
    assert npr().state == "ok"
    weights.write_bytes(weights.read_bytes() + b"x")
    assert (npr().state, npr().repair) == ("problem", "install redteam again")
    card.write_text(json.dumps({}))
    assert npr() == Finding("zoo/npr-tiny", "warning", "no card says which weights these are", "redteam train zoo/npr-tiny --evaluate")
    weights.unlink()
    assert npr() == Finding("zoo/npr-tiny", "problem", "its weights w.safetensors are not there", "redteam train zoo/npr-tiny")


class Wheel:
    """Stands in for the installed torchattacks."""

    version = "3.5.1"
    files = ("torchattacks/__init__.py", "robustbench/data.py")


@pytest.mark.parametrize(
    ("others", "state", "said"),
    [
        ({"requests": "2.32.5"}, "ok", "3.5.1, requests 2.32.5"),
        ({}, "ok", "3.5.1, requests not installed"),
        ({"requests": "2.25.1"}, "warning", "3.5.1 holds requests at 2.25.1, which other packages refuse"),
        ({"requests": "2.25.1", "robustbench": "1.1"}, "warning", "3.5.1 and robustbench 1.1 write the same folder robustbench/, and one has overwritten the other"),
    ],
)
def test_what_the_wheel_of_torchattacks_does_to_its_neighbours_is_said(monkeypatch, others, state, said):
    monkeypatch.setattr(installed, "distribution", lambda name: Wheel)
    monkeypatch.setattr(installed, "_version", others.get)
    assert (installed.torchattacks().state, installed.torchattacks().detail) == (state, said)


def test_torchattacks_may_be_absent(monkeypatch):
    def absent(name: str) -> None:
        raise installed.PackageNotFoundError(name)

    monkeypatch.setattr(installed, "distribution", absent)
    assert installed.torchattacks().state == "ok" and "optional" in installed.torchattacks().detail


def test_a_library_that_cannot_be_imported_is_a_problem(monkeypatch):
    monkeypatch.setattr(installed, "DEPENDENCIES", {"a_module_that_is_not_there": "x", "numpy": "numpy"})
    assert installed.dependencies().state == "problem" and "a_module_that_is_not_there (ModuleNotFoundError: No module named" in installed.dependencies().detail
    monkeypatch.setattr(installed, "DEPENDENCIES", {"numpy": "numpy"})
    assert installed.dependencies().state == "ok"


def test_what_a_scenario_needs_is_looked_for(small):
    (small.folder / "mine.py").write_text("def build():\n    return None\n")
    small.write(targets=[{"id": "mine", "kind": "python", "factory": "mine.py:build", "weights": {"path": "w.safetensors"}, "output": {"type": "logit"}}])
    path = small.folder / "s.yaml"
    found = {finding.name: finding for finding in installed.needs(path)}
    assert found["scenario"].state == "ok" and found["data.eval.folder"].detail == "5 images of label 0, 5 of label 1"
    assert found["targets.mine"].state == "problem" and "w.safetensors does not exist" in found["targets.mine"].detail
    small.write(data={"eval": {"kind": "folder", "path": "nowhere"}})
    assert {finding.name: finding.state for finding in installed.needs(path)}["data.eval.folder"] == "problem"
    small.write(seed=-1, name=3)
    assert list(installed.needs(path)) == [Finding("scenario", "problem", f"{path} has 2 mistakes", f"redteam validate {path}")]
