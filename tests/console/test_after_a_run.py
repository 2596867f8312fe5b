"""replay, compare and export as a user types them: statuses, sentences, and standard output that a program can read."""

from __future__ import annotations

import contextlib
import json
import signal
import sys
from pathlib import Path

import pytest

from redteam.cli import main
from redteam.run.ledger import RunDir


@pytest.fixture
def done(quick, monkeypatch):
    """A run in `old`."""
    monkeypatch.setattr("redteam.run.replay.starting", lambda run_dir: contextlib.nullcontext(sys.modules["bench_forked"].ForkedWorker))
    assert quick.call("run", quick.scenario(), "-o", "old").exit_code == 0
    return quick


@pytest.fixture
def changed(done):
    """And in `new` a worse detector on the same images."""
    module = done.folder / "mine.py"
    module.write_text(module.read_text().replace("* 40 - 20", "* 40 - 26"))
    assert done.call("run", "s.yaml", "-o", "new").exit_code == 0
    return done


def last(run: str) -> dict:
    return json.loads(Path(run, "results.jsonl").read_text().splitlines()[-1])


def test_a_row_is_replayed_from_its_first_digits(done):
    row = last("old")
    result = done.call("replay", "old", row["rid"][:10], "-o", "pictures")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        f"row     {row['rid']}",
        f"image   {row['id']} of folder, real, {row['height']} x {row['width']}",
        "cell    folder / mine / none: blur, sigma 1",
        f"goal    {row['goal']}; score {row['outcome']['score']:.4g}, threshold 0: called real; the attack did not succeed",
        "the row is the same",
        *(f"pictures/{row['rid']}-{name}.png" for name in ("before", "after", "difference-x4")),
    ]
    assert all(Path(line).is_file() for line in result.stdout.splitlines()[-3:])


def test_a_row_that_is_not_the_same_is_status_3_and_json_is_strict(done):
    row = last("old")
    for path in Path("old/units").iterdir():  # the recorded score, altered
        lines = RunDir(Path("old")).read_unit(path.stem)
        if any(row["rid"] in line for line in lines):
            altered = [line.replace(f'"score":{row["outcome"]["score"]}', '"score":77.5') if f'"rid":"{row["rid"]}"' in line else line for line in lines]
            RunDir(Path("old")).write_unit(path.stem, altered)
    result = done.call("replay", "old", row["rid"], "--json")
    told = json.loads(result.stdout)
    assert (result.exit_code, told["same"], told["schema"]) == (3, False, "redteam.replay/1")
    assert told["changes"] == [{"field": "outcome.score", "before": 77.5, "after": row["outcome"]["score"]}]
    assert f"differs outcome.score: 77.5 -> {row['outcome']['score']}\nthe row is not the same\n" in done.call("replay", "old", row["rid"]).stdout


def test_changed_inputs_are_status_6_for_all_that_compute_again(done):
    (done.folder / "mine.py").write_text((done.folder / "mine.py").read_text() + "\n")
    for command in (["replay", "old", last("old")["rid"]], ["export", "old", "-o", "out"]):
        result = done.call(*command)
        assert result.exit_code == 6 and "inputs changed since the run began: targets.mine.fingerprint.factory" in result.stderr
    assert not Path("out").exists()


REFUSED = [
    (["replay", "data", "0" * 32], "data holds no run.json; it is not a run directory"),
    (["replay", "old", "nothing!"], "nothing!: no finished row of old has this rid; results.jsonl names its 96 rows under rid"),
    (["export", "data", "-o", "out"], "data holds no run.json; it is not a run directory"),
    (["export", "old", "-o", "data"], "-o data: exists and is not empty; give another -o"),
    (["export", "old", "-o", "out", "--where", "atack=blur"], "--where atack: no cell has it; did you mean 'attack'?"),
    (["export", "old", "-o", "out", "--where", "quality=70"], "--where: must select at least one cell, got none; with the rest as it is, quality can be 90, 50"),
    (["export", "old", "-o", "out", "--where", "attack"], "--where attack: must be a name, = and a value, such as attack=pgd or eps=4/255"),
    (["export", "old", "-o", "out", "--where", "attack=jpeg", "--where", "attack=blur"], "--where attack=blur: attack is given twice; a cell has one, so leave one out"),
    (["compare", "old", "data"], "data holds no run.json; it is not a run directory"),
    (["compare", "old", "old", "--margin", "0.1"], "--margin: says how much a regression may be, so it needs --fail-on regression"),
    (["compare", "old", "old", "--target", "mine=yours"], "--target mine=yours: old has no target 'yours'; it has mine"),
    (["compare", "old", "old", "--target", "mine"], "--target mine: must be two ids, such as old=new"),
    (["compare", "old", "old", "--where", "atack=jpeg"], "--where atack: no cell has it; did you mean 'attack'?"),
]


def test_what_cannot_be_done_is_a_sentence_without_a_traceback(done):
    for arguments, sentence in REFUSED:
        result = done.call(*arguments)
        assert (result.exit_code, result.stdout) == (2, "") and sentence in result.stderr, arguments
    assert not Path("out").exists()


def test_attacked_images_are_exported_with_a_manifest(done):
    result = done.call("export", "old", "-o", "out", "--where", "attack=jpeg", "--where", "quality=50", "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout) == {"schema": "redteam.export/1", "run": "old", "manifest": "out/manifest.jsonl", "images": 24, "different": {}, "without_image": 0, "exit": 0}
    assert len(list(Path("out/images").iterdir())) == 24 and {path.name for path in Path("out").iterdir()} == {"images", "manifest.jsonl"}


def test_an_interrupted_export_leaves_nothing_and_is_status_130(done, monkeypatch):
    from redteam.console.progress import Display

    monkeypatch.setattr(Display, "update", lambda self, step: signal.raise_signal(signal.SIGINT))
    result = done.call("export", "old", "-o", "out")
    assert result.exit_code == 130 and not Path("out").exists()


def test_a_regression_is_told_and_is_status_3_only_when_asked(changed):
    result = changed.call("compare", "old", "new", "-o", "c.md")
    assert result.exit_code == 0 and "The runs differ in: targets.mine.fingerprint.factory." in result.stdout
    assert "worse" in result.stdout and "gate" not in result.stdout and Path("c.md").read_text().startswith("# new against old\n")
    gated = changed.call("compare", "old", "new", "--fail-on", "regression", "--json")
    told = json.loads(gated.stdout)
    assert (gated.exit_code, told["gate"], told["exit"]) == (3, "fail", 3)
    clean = [entry for entry in told["comparisons"] if (entry["attack"], entry["metric"]) == ("identity", "tpr")]
    assert [(entry["a"], entry["b"], entry["verdict"]) for entry in clean] == [(1.0, 0.0, "worse")]
    assert changed.call("compare", "new", "old", "--fail-on", "regression").exit_code == 0


def test_a_margin_that_so_few_images_cannot_carry_is_status_7(changed):
    result = changed.call("compare", "old", "old", "--fail-on", "regression", "--margin", "0.01", "--metric", "robust_accuracy")
    assert result.exit_code == 7 and result.stdout.endswith("gate: inconclusive; nothing got worse by more than 0.01: 4 with room for more\n")
    assert changed.call("compare", "old", "old", "--fail-on", "regression").exit_code == 0


def test_where_keeps_the_clean_images_beside_what_it_selects(changed):
    told = json.loads(changed.call("compare", "old", "new", "--where", "quality=50", "--json").stdout)
    assert {(entry["attack"], entry["strength"].get("quality")) for entry in told["comparisons"]} == {("identity", None), ("jpeg", 50.0)}


def test_an_unfinished_run_is_status_4(changed):
    summary = json.loads(Path("new/summary.json").read_text()) | {"status": "incomplete"}
    Path("new/summary.json").write_text(json.dumps(summary))
    result = changed.call("compare", "old", "new")
    assert result.exit_code == 4 and result.stderr == "new: must be complete, got a run with missing units; finish it with: redteam resume new\n"


def test_metrics_that_can_be_named_are_those_that_are_compared():
    from redteam.reports.compare import COMPARED

    option = next(parameter for parameter in main.commands["compare"].params if parameter.name == "metrics")
    assert set(option.type.choices) == set(COMPARED)
