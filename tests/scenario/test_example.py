"""The example of the design document with the project's real components, and scenarios broken at random."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import redteam
from redteam import registry
from redteam.scenario.document import Document
from redteam.scenario.errors import CODES, ScenarioError
from redteam.scenario.load import understood
from redteam.scenario.matrix import cells
from redteam.scenario.reading import Reading

EXAMPLE = """\
schema: redteam/v1
name: my-detector
seed: 20261120
data:
  eval:  {kind: manifest, path: data/test.jsonl}
  calib: {kind: folder, path: data/calib}             # real/ and fake/ inside
targets:
  - id: mine
    kind: python
    factory: my_package.models:build                   # or my_file.py:build, relative to this file; returns a module or a callable
    args: {}
    weights: {path: weights/mine.safetensors, sha256: 9f2c9f2c9f2c9f2c9f2c9f2c9f2c9f2c9f2c9f2c9f2c9f2c9f2c9f2c9f2c9f2c}      # loaded strictly into what build returns
    input: {range: [0, 1], channels: rgb, mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5], resize: {size: 256, kernel: bilinear, antialias: true}, crop: 224, layout: nchw}
    output: {type: logit, positive: fake}
    threshold: {at_fpr: 0.01, on: calib}
    access: gradients
  - {id: npr, kind: zoo/npr-tiny}
defenses:
  - {id: none, kind: none}
  - {id: jpeg75, kind: jpeg, quality: 75}
attacks:
  - {id: pgd, kind: pgd, norm: linf, eps: {sweep: [1/255, 2/255, 4/255]}, steps: 40}
  - {id: jpeg, kind: jpeg, quality: {sweep: [95, 85, 75, 60]}}
  - {id: pgd-then-jpeg, chain: [{ref: pgd, eps: 4/255}, {ref: jpeg, quality: 85}]}
file: {format: png}
matrix: {exclude: [{defense: jpeg75, attack: jpeg}]}
limits: {sample_timeout_s: 300, max_error_rate: 0.01}
gates:
  - {id: linf4, metric: attack_success_rate, where: {attack: pgd, eps: 4/255}, require: "<= 0.40", on: ci_upper, min_n: 200}
"""


@pytest.fixture
def real(registered: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The components that pyproject.toml declares, whatever is installed."""
    declared = tomllib.loads((Path(redteam.__file__).parent.parent / "pyproject.toml").read_text())["project"]["entry-points"]
    monkeypatch.setattr(registry, "_entries", lambda group: {name: EntryPoint(name, value, group) for name, value in declared[f"redteam.{group}"].items()})
    registry.names.cache_clear()


def test_the_example_of_the_design_is_valid(real: None, read: Callable, tmp_path: Path) -> None:
    scenario, warnings = read(EXAMPLE)
    assert warnings == []
    corpora = {role: [(entry.id, entry.corpus.path) for entry in entries] for role, entries in scenario.data.items()}
    assert corpora == {"eval": [("manifest", tmp_path / "data/test.jsonl")], "calib": [("folder", tmp_path / "data/calib")]}
    mine = scenario.targets[0].spec
    assert (mine.folder, mine.weights.path, mine.threshold.at_fpr) == (tmp_path, tmp_path / "weights/mine.safetensors", 0.01)
    assert [len(entry.variants) for entry in scenario.attacks] == [3, 4, 1]
    planned = cells(scenario)
    per_square = [1 + 3 + 1 + 3 + 4 + 1, 1 + 3 + 1 + 3 + 1]  # identity, noises of pgd and of the chain, pgd, jpeg, chain
    assert len(planned) == 2 * sum(per_square) == len({item.cell.key for item in planned})
    assert {item.cell.kind for item in planned} == {"identity", "noise", "chain", "pgd", "jpeg"}


def test_the_built_in_corpora_take_forgeries(real: None, read: Callable) -> None:
    scenario, _ = read(EXAMPLE.replace("{kind: manifest, path: data/test.jsonl}", "{kind: photos, size: 128, limit: 96, forge: {splice: 1, regenerate: {model: zoo/vae-tiny}}}"))
    forge = scenario.data["eval"][0].corpus.forge
    assert {name: value.weight for name, value in forge.items()} == {"splice": 1, "regenerate": 1}


def test_every_key_of_the_example_is_checked(real: None, complaints: Callable[[str], str]) -> None:
    found = complaints(EXAMPLE.replace("channels: rgb", "chanels: rgb").replace("sha256", "sha").replace("steps: 40", "steps: 0").replace("at_fpr: 0.01", "at_fpr: 1%"))
    assert [line.split(" ")[1:3] for line in found.split("\n") if line.startswith("faces")] == [
        ["RT102", "targets.0.mine.weights:"], ["RT102", "targets.0.mine.input:"], ["RT103", "targets.0.mine.threshold.at_fpr:"], ["RT104", "attacks.0.pgd.steps:"],
    ]  # fmt: skip


TOKENS = st.sampled_from(["", "null", "[]", "{}", "1e9", "-1", "yes", "true", "'", "[", "{a: b}", "&a", "*a", "!!x", "010", "{sweep: [1]}", "<<", "- ", "\n", "eval", "pgd", "chain", "ref", ".inf", "é"])


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(edits=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 12), TOKENS), min_size=1, max_size=3))
def test_a_scenario_broken_at_random_is_valid_or_says_what_is_wrong(edits: list[tuple[int, int, str]], base: str, tmp_path: Path) -> None:
    text = base + 'defenses: [{id: d, kind: jpeg, quality: 7}]\nmatrix: {exclude: [{attack: jpeg}]}\ngates:\n  - {id: g, metric: auc, where: {attack: pgd, eps: 4/255}, require: ">= 0.9"}\n'
    for position, length, token in edits:
        text = text[:position] + token + text[position + length :]
    try:
        understood(Reading(Document.parse(text, "faces.yaml"), tmp_path))
    except ScenarioError as error:
        assert error.problems and all(problem.code in CODES and str(problem) for problem in error.problems)
