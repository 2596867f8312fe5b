"""--set and extends on the command line: checked, run, kept and found again."""

from __future__ import annotations

import json
import signal
from pathlib import Path


def test_validate_checks_what_is_set(desk):
    assert desk.call("validate", desk.scenario(), "--set", "attacks.jpeg.quality=60", "--set", "seed=7").exit_code == 0
    result = desk.call("validate", desk.scenario(), "--set", "attacks.jpg.quality=60", "--set", "attacks.blur.sigma=-1")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == (
        "--set attacks.blur.sigma=-1: RT104 attacks.1.blur.sigma: must lie in (0, 50], got -1\n       = redteam show attack/blur\n"
        "--set attacks.jpg.quality=60: RT142 attacks has no entry 'jpg'; did you mean 'jpeg'?\n"
    )
    found = json.loads(desk.call("validate", desk.scenario(), "--set", "seed=x", "--json").stdout)["problems"]
    assert [(row["code"], row["file"], row["line"], row["path"]) for row in found] == [("RT103", "--set seed=x", None, "seed")]


def test_a_run_that_extends_goes_on_with_what_was_set_when_it_began(quick, monkeypatch):
    from redteam.console.progress import Display

    quick.scenario()
    Path("mine.yaml").write_text("extends: s.yaml\nname: mine\nattacks: [{id: blur, sigma: 3}]\n")
    with monkeypatch.context() as patch:
        patch.setattr(Display, "update", lambda self, step: signal.raise_signal(signal.SIGINT) if step.done == 3 else None)
        assert quick.call("run", "mine.yaml", "-o", "r", "--set", "attacks.jpeg.quality=30", "--set", "data.eval.limit=8").exit_code == 130
    Path("mine.yaml").unlink()
    Path("s.yaml").unlink()
    summary = json.loads(quick.call("resume", "r", "--json").stdout)["summary"]
    assert [(cell["label"], cell["n"]) for cell in summary["cells"]] == [("identity", 8), ("jpeg quality=30", 8), ("blur sigma=3", 8)]
    assert "redteam run mine.yaml --set attacks.jpeg.quality=30 --set data.eval.limit=8" in Path("r/report.html").read_text()


def test_the_command_of_a_shipped_scenario_names_it(desk):
    from redteam.console.commands import scenario_path
    from redteam.run import opening

    run_dir = opening.begin(Path("r"), scenario_path("quickstart"), {})
    assert run_dir.read_json("run.json")["command"] == ["redteam", "run", "quickstart"]
