"""init writes a scenario and a target that run as they are, and touches nothing that exists."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from redteam.run.ledger import RunDir
from redteam.scenario.load import load


def test_it_says_what_it_wrote_and_what_to_type_next(desk):
    result = desk.call("init", "my eval")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == "wrote my eval/scenario.yaml\nwrote my eval/my_target.py\nnext:\n  redteam validate 'my eval/scenario.yaml'\n  redteam run 'my eval/scenario.yaml'\n"


def test_without_a_folder_it_writes_here(desk):
    assert desk.call("init").exit_code == 0
    assert desk.call("validate", "scenario.yaml").stdout == "scenario.yaml: my-detector is valid\n"


@pytest.mark.parametrize(("there", "said"), [(["my_target.py"], "my_target.py exists"), (["scenario.yaml", "my_target.py"], "scenario.yaml and my_target.py exist")])
def test_nothing_that_exists_is_overwritten(desk, there, said):
    Path("x").mkdir()
    for name in there:
        Path("x", name).write_text("mine")
    result = desk.call("init", "x")
    assert (result.exit_code, result.stderr) == (2, f"x: {said} already and nothing was written; name another folder\n")
    assert {path.name: path.read_text() for path in Path("x").iterdir()} == dict.fromkeys(there, "mine")


def test_a_folder_that_cannot_be_made_is_a_sentence(desk):
    result = desk.call("init", "mine.py/x")
    assert result.exit_code == 4 and result.stderr == "mine.py/x: cannot be written (Not a directory); name another folder\n"


def test_what_it_writes_runs_and_its_stub_sees_something_that_an_attack_takes_away(quick):
    quick.call("init", "x")
    result = quick.call("run", "x/scenario.yaml", "-o", "r", "--json", "--set", "data.eval={kind: camera, size: 64, limit: 40, forge: {regenerate: 1}}", "--set", "data.calib.size=64")
    assert result.exit_code == 0, result.stderr
    auc = {cell["label"]: cell["metrics"]["auc"]["value"] for cell in json.loads(result.stdout)["summary"]["cells"]}
    assert auc["identity"] > 0.85 and auc["pgd eps=0.01569"] < 0.1
    assert {cell["verdict"] for cell in json.loads(result.stdout)["summary"]["cells"]} == {"valid"}
    assert RunDir(Path("r")).read_json("run.json")["options"]["sets"][1] == "data.calib.size=64"


def test_the_commented_alternatives_are_valid_too(desk):
    desk.call("init", "x")
    text = Path("x/scenario.yaml").read_text()
    for commented, plain in (("  # - {id", "  - {id"), ("    # weights", "    weights"), ("    # args: {variant: large}   ", "    args: {variant: large}")):
        assert commented in text
        text = text.replace(commented, plain)
    Path("x/scenario.yaml").write_text(text)
    assert desk.call("validate", "x/scenario.yaml").exit_code == 0
    own = re.findall(r"^  #   eval: (.*)$", text, re.MULTILINE)
    assert [load(Path("x/scenario.yaml"), sets=[f"data.eval={corpus}"])[0].data["eval"][0].kind for corpus in own] == ["folder", "manifest"]
