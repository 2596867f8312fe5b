"""doctor prints one line for each thing and ends with 5 where something needed is missing."""

from __future__ import annotations

import json
import sys

import pytest

from redteam.run import installed, machine
from redteam.run.machine import Finding

FINE, LAME, GONE = Finding("a", "ok", "is there"), Finding("b", "warning", "is slow", "wait"), Finding("c", "problem", "is gone", "bring it back")


@pytest.fixture
def findings(monkeypatch: pytest.MonkeyPatch):
    """What is found, instead of what there is."""

    def given(*rows: Finding) -> None:
        monkeypatch.setattr(machine, "machine", lambda folder: iter(rows))
        monkeypatch.setattr(machine, "trust", lambda: iter(()))
        monkeypatch.setattr(installed, "installed", lambda: iter(()))

    return given


def test_a_machine_that_can_do_all_is_status_0(desk, findings):
    findings(FINE, LAME)
    result = desk.call("doctor")
    assert (result.exit_code, result.stdout) == (0, "ok       a: is there\nwarning  b: is slow\n         repair: wait\n")


def test_what_is_missing_is_status_5_and_comes_with_its_repair(desk, findings):
    findings(FINE, GONE)
    result = desk.call("doctor")
    assert (result.exit_code, result.stdout.splitlines()[1:]) == (5, ["problem  c: is gone", "         repair: bring it back"])


def test_a_program_reads_the_same_as_json(desk, findings):
    findings(FINE, GONE)
    result = desk.call("doctor", "--json")
    assert result.exit_code == 5 and json.loads(result.stdout) == {
        "schema": "redteam.doctor/1",
        "findings": [{"name": "a", "state": "ok", "detail": "is there", "repair": ""}, {"name": "c", "state": "problem", "detail": "is gone", "repair": "bring it back"}],
    }


def test_a_scenario_is_looked_at_too(desk, findings):
    findings()
    assert desk.call("doctor", desk.scenario()).stdout.splitlines()[1:] == ["ok       data.eval.folder: 12 images of label 0, 12 of label 1", "ok       targets.mine: its files are there and what is declared"]
    desk.content["data"]["eval"]["path"] = "nowhere"
    assert desk.call("doctor", desk.scenario()).exit_code == 5


def test_torch_that_cannot_be_imported_is_a_sentence(desk, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    result = desk.call("doctor")
    assert (result.exit_code, result.stdout) == (5, "") and result.stderr.startswith("problem  torch cannot be imported: ")
