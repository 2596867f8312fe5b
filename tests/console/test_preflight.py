"""validate --deep as a person and as a program see it."""

from __future__ import annotations

import json
import re

import pytest

from redteam.run import examiner, preflight
from redteam.run.session import go


@pytest.fixture
def deep(quick, monkeypatch):
    """`redteam validate s.yaml --deep` with forked examiners."""
    monkeypatch.setattr("redteam.run.worker.main", examiner.main)
    monkeypatch.setattr(preflight, "_Examiner", go.__defaults__[1])

    def call(*arguments, targets=None):
        return quick.call("validate", quick.scenario(**({"targets": targets} if targets else {})), "--deep", *arguments)

    return call


TEXT = r"""mine  python  ready
  access          scores
  threshold       0 log-odds, even odds
  on folder       24 images, 12 of them fake
    AUC           1\.000  \[0\.541, 1\.000\]
    fakes found   100 %  \[76, 100\]
    reals left    100 %  \[76, 100\]
    scores        -4\.\d+ to 3\.\d+, median -?0\.\d+; 24 distinct
    asked again   the same scores, 0 of 24 decisions changed
    time          [\d.]+ ms a score, for each image
    files         do not tell the classes apart
s\.yaml: 1 ready
"""


def test_a_person_reads_figures_and_a_verdict(deep):
    result = deep()
    assert result.exit_code == 0, result.output
    assert re.fullmatch(TEXT.replace("s\\.yaml", r".*s\.yaml"), result.stdout), result.stdout
    assert result.stderr == ""


def test_what_is_refused_is_status_2_with_the_line_that_it_is_about(deep):
    result = deep(targets=[{"id": "odd", "kind": "broken", "fault": "polarity"}, {"id": "fine", "kind": "brightness"}])
    assert result.exit_code == 2
    assert result.stdout.splitlines()[0] == "odd  broken  refused" and result.stdout.endswith("s.yaml: 1 ready, 1 refused; repair what is refused before you run\n")
    assert re.search(r"s\.yaml:\d+:3: RT402 targets\.0: On clean images real ones score above fake ones", result.stderr)
    assert "| - id: odd" in result.stderr


def test_a_program_reads_strict_json(deep):
    result = deep("--json", targets=[{"id": "odd", "kind": "broken", "fault": "nan"}, {"id": "fine", "kind": "brightness"}])
    found = json.loads(result.stdout, parse_constant=pytest.fail)
    assert result.exit_code == 2 and result.stderr == ""
    assert (found["schema"], found["scenario"], found["ready"]) == ("redteam.preflight/1", "desk", False)
    assert [(report["id"], report["verdict"]) for report in found["targets"]] == [("odd", "refused"), ("fine", "ready")]
    assert [(problem["code"], problem["path"], problem["severity"]) for problem in found["problems"]] == [("RT404", "targets.0", "error")]
    assert found["targets"][1]["data"][0]["metrics"]["auc"]["value"] == 1.0


def test_what_is_not_there_is_status_5(deep, quick):
    (quick.folder / "mine.py").write_text("def build():\n    open('w.bin')\n")
    result = deep()
    assert result.exit_code == 5
    assert result.stdout.startswith("mine  python  missing\n") and "No such file or directory: 'w.bin'" in result.stderr


def test_mistakes_come_before_any_target_is_loaded(deep, quick):
    (quick.folder / "mine.py").write_text("open('loaded', 'w').close()\n")
    quick.content["attacks"] = [{"id": "jpeg", "kind": "jpg"}]
    for flags in ((), ("--json",)):
        result = deep(*flags)
        assert result.exit_code == 2 and "RT109" in (result.stdout if flags else result.stderr)
    assert not (quick.folder / "loaded").exists()


def test_a_device_goes_with_deep_and_must_exist(quick, deep):
    result = quick.call("validate", quick.scenario(), "--device", "cpu")
    assert (result.exit_code, result.stderr.splitlines()[-1]) == (2, "Error: --device goes with --deep; without it no target is loaded")
    result = deep("--device", "abacus")
    assert result.exit_code == 2 and result.stderr.startswith("--device abacus: torch knows no such device")


def test_values_set_on_the_command_line_are_looked_at(deep):
    assert deep("--set", "targets.odd.fault=polarity", targets=[{"id": "odd", "kind": "broken", "fault": "none"}]).exit_code == 2
