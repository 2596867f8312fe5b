"""Exit statuses, sentences, and standard output that a program can read."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from types import SimpleNamespace

import pytest

from redteam.run.ledger import RunDir


def summary_of(result) -> dict:
    return json.loads(result.stdout)


def test_a_run_ends_with_its_directory_its_report_and_status_0(quick):
    result = quick.call("run", quick.scenario(), "-o", "r")
    assert result.exit_code == 0
    assert result.stdout.endswith("report  r/report.html\nrecords r/results.jsonl\n")
    kept = {"run.json", "scenario.yaml", "scenario.lock.json", "env.json", "plan.jsonl", "units", "results.jsonl", "perf.jsonl", "artifacts", "summary.json", "gates.json", "junit.xml", "report.html", "report.md"}
    assert kept <= {path.name for path in Path("r").iterdir()} and not list(Path("r").rglob("*.tmp"))
    assert Path("r/scenario.yaml").read_bytes() == Path("s.yaml").read_bytes()


def test_a_run_goes_to_runs_when_it_is_not_told(quick):
    assert quick.call("run", quick.scenario(), "--only", "blur", "--limit", "2").exit_code == 0
    assert [path.name.partition("-")[0] for path in Path("runs").iterdir()] == ["s"]


def test_json_is_all_that_stands_on_standard_output(quick):
    result = quick.call("run", quick.scenario(), "-o", "r", "--json")
    found = summary_of(result)
    assert (found["run"], found["exit"], found["summary"]["status"], found["gates"]["gates"]) == ("r", 0, "complete", [])
    again = quick.call("resume", "r", "--json")
    assert summary_of(again) == found


def test_results_hold_no_time_and_no_host_name(quick):
    import socket

    quick.call("run", quick.scenario(), "-o", "r")
    started = json.loads(Path("r/run.json").read_text())["started"]
    for name in ("results.jsonl", "summary.json", "gates.json"):
        text = Path("r", name).read_text()
        assert socket.gethostname() not in text and started[:10] not in text and str(Path.cwd()) not in text


def gate(require: str, **more) -> dict:
    return {"gates": [{"id": "g", "metric": "robust_accuracy", "where": {"attack": "jpeg", "quality": 50}, "require": require, **more}]}


@pytest.mark.parametrize(("gates", "code"), [(gate(">= 0.9"), 0), (gate("<= 0.1"), 3), (gate(">= 0.9", min_n=1000), 7)])
def test_gates_decide_the_exit_status(quick, gates, code):
    assert quick.call("run", quick.scenario(**gates), "-o", "r").exit_code == code


def test_an_invalid_cell_makes_its_gate_inconclusive(quick):
    quick.content["targets"] = [{"id": "odd", "kind": "broken", "fault": "random"}]
    assert quick.call("run", quick.scenario(**gate(">= 0.1")), "-o", "r").exit_code == 7


def test_too_many_lost_rows_are_status_4_and_a_sentence(quick):
    (quick.folder / "data/fake/0.png").write_bytes(b"")
    result = quick.call("run", quick.scenario(), "-o", "r")
    assert result.exit_code == 4
    assert result.stderr.splitlines()[-1] == "incomplete: 1 of 24 rows of folder mine none: identity have no outcome, more than limits.max_error_rate 0.01 allows; most often (4): 0.png: the file is empty (0 bytes); copy it again from where it came"
    assert quick.call("run", quick.scenario(limits={"max_error_rate": 0.1}), "-o", "r2").exit_code == 0


def test_mistakes_are_status_2_and_leave_nothing_behind(quick):
    quick.content["attacks"] = [{"id": "jpeg", "kind": "jpg"}]
    result = quick.call("run", quick.scenario(), "-o", "r", "--json")
    assert (result.exit_code, result.stdout) == (2, "") and "RT109" in result.stderr and "resume" not in result.stderr
    assert not Path("r").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["run", "nowhere.yaml"], 2, "nowhere.yaml is neither a file nor a shipped scenario"),
        (["run", "s.yaml", "--limit", "0"], 2, "0 is not in the range"),
        (["run", "s.yaml", "-o", "r", "--only", "nothing"], 2, "--only nothing: matches no attack"),
        (["run", "s.yaml", "-o", "data"], 2, "-o data: exists and is not empty; give another -o"),
        (["run", "s.yaml", "-o", "s.yaml/r"], 2, "-o s.yaml/r: cannot be made"),
        (["run", "s.yaml", "-o", "r", "--device", "abacus"], 2, "--device abacus: torch knows no such device"),
        (["run", "s.yaml", "-o", "r", "--device", "cuda:9"], 5, "--device cuda:9: torch cannot use it here"),
        (["run", "s.yaml", "-o", "r", "--workers", "all"], 2, "must be local:N with N of at least 1, got 'all'; local:2 starts two workers on this machine"),
        (["run", "s.yaml", "-o", "r", "--workers", "local:0"], 2, "must be local:N with N of at least 1, got 'local:0'"),
        (["run", "s.yaml", "-o", "r", "--threads", "0"], 2, "0 is not in the range"),
        (["resume", "data"], 2, "data holds no run.json; it is not a run directory"),
        (["work", "nowhere"], 2, "nowhere holds no run.json; it is not a run directory"),
        (["resume", "nowhere"], 2, "nowhere holds no run.json; it is not a run directory"),
        (["report", "data"], 2, "data holds no run.json; it is not a run directory"),
        (["show", "atack/pgd"], 2, "unknown"),
        (["train", "zoo/nothing"], 2, "unknown recipe 'nothing'"),
    ],
)
def test_what_cannot_be_done_is_a_sentence_without_a_traceback(quick, arguments, code, sentence):
    quick.scenario()
    result = quick.call(*arguments)
    assert result.exit_code == code and sentence in result.stderr and result.stdout == ""
    assert not Path("r").exists()


def test_missing_weights_are_status_5_and_the_run_goes_on_when_they_are_there(quick):
    (quick.folder / "mine.py").write_text("from pathlib import Path\ndef build():\n    Path('w.bin').read_bytes()\n    return lambda x: x.mean((1, 2, 3)) * 40 - 20\n")
    result = quick.call("run", quick.scenario(), "-o", "r")
    assert result.exit_code == 5
    assert result.stderr.splitlines()[-2:] == ["targets.mine: [Errno 2] No such file or directory: 'w.bin'", "everything finished is kept; then go on with: redteam resume r"]
    Path("w.bin").write_bytes(b"")
    assert quick.call("resume", "r").exit_code == 0


def test_a_second_coordinator_is_status_75(quick):
    quick.call("run", quick.scenario(), "-o", "r")
    with RunDir(Path("r")).hold():
        result = quick.call("resume", "r", "--json")
    assert (result.exit_code, result.stdout) == (75, "") and result.stderr == "another coordinator is working on r; wait for it, or stop it\n"


def test_changed_inputs_are_status_6(quick):
    quick.call("run", quick.scenario(), "-o", "r")
    (quick.folder / "mine.py").write_text((quick.folder / "mine.py").read_text() + "\n")
    result = quick.call("resume", "r")
    assert result.exit_code == 6 and "inputs changed since the run began: targets.mine.fingerprint.factory;" in result.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_says_how_to_go_on_and_does(quick, monkeypatch, number):
    from redteam.console.progress import Display

    with monkeypatch.context() as patch:
        patch.setattr(Display, "update", lambda self, step: signal.raise_signal(number) if step.done == 3 else None)
        result = quick.call("run", quick.scenario(), "-o", "my run")
    assert result.exit_code == 130 and result.stderr.splitlines()[-1] == "interrupted; everything finished is kept. Go on with: redteam resume 'my run'"
    assert json.loads(Path("my run/run.json").read_text())["status"] == "interrupted"
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert quick.call("resume", "my run").exit_code == 0


def test_an_interrupt_that_somebody_swallows_still_ends_in_the_sentence(quick, monkeypatch):
    def swallowed(*_: object) -> None:
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            raise ImportError("partially initialised") from None

    monkeypatch.setattr("redteam.run.session.describe", swallowed)
    result = quick.call("run", quick.scenario(), "-o", "r")
    assert result.exit_code == 130 and "redteam resume r" in result.stderr


def test_a_bug_keeps_its_traceback(quick, monkeypatch):
    monkeypatch.setattr("redteam.run.session.finalise", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        quick.call("run", quick.scenario(), "-o", "r")


def full(*_: object) -> None:
    raise OSError(28, "No space left on device")


def test_a_run_that_cannot_even_begin_on_a_full_disk_leaves_nothing(quick, monkeypatch):
    monkeypatch.setattr(os, "fsync", full)
    result = quick.call("run", quick.scenario(), "-o", "r")
    assert (result.exit_code, result.stderr) == (4, "cannot write r/scenario.yaml: No space left on device\n") and not Path("r").exists()


def test_a_full_disk_is_status_4_with_the_command_that_goes_on(quick, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("redteam.run.finalising.os", SimpleNamespace(getpid=os.getpid, fsync=full))
        result = quick.call("run", quick.scenario(), "-o", "r")
    assert result.exit_code == 4
    assert result.stderr.splitlines()[-2:] == ["cannot write r/results.jsonl: No space left on device", "everything finished is kept; then go on with: redteam resume r"]
    assert quick.call("resume", "r").exit_code == 0


def test_another_process_helps_with_a_run_and_says_what_it_did(quick, monkeypatch):
    from redteam.console.progress import Display

    with monkeypatch.context() as patch:
        patch.setattr(Display, "update", lambda self, step: signal.raise_signal(signal.SIGINT) if step.done == 5 else None)
        quick.call("run", quick.scenario(), "-o", "my run", "--workers", "1")
    with RunDir(Path("my run")).hold():  # another process's, that is; a helper does not ask for it
        result = quick.call("work", "my run", "--workers", "local:2")
    assert result.exit_code == 0
    assert result.stdout == "computed 8 of 13 units here, and all are there; where no process holds the run, go on with: redteam resume 'my run'\n"
    assert quick.call("resume", "my run").exit_code == 0
    (quick.folder / "mine.py").write_text((quick.folder / "mine.py").read_text() + "\n")
    result = quick.call("work", "my run")
    assert result.exit_code == 6 and "inputs changed since the run began: targets.mine.fingerprint.factory;" in result.stderr


def test_threads_and_micro_batch_are_frozen_with_the_run_and_workers_are_not(quick):
    quick.call("run", quick.scenario(), "-o", "r", "--threads", "2", "--micro-batch", "3", "--workers", "2")
    assert json.loads(Path("r/run.json").read_text())["options"].items() >= {"threads": 2, "micro_batch": 3}.items()
    lock = json.loads(Path("r/scenario.lock.json").read_text())
    assert (lock["threads"], lock["micro_batch"], "workers" in lock) == (2, 3, False)
    assert quick.call("resume", "r", "--workers", "1").exit_code == 0
    Path("r/run.json").write_text(Path("r/run.json").read_text().replace('"threads": 2', '"threads": 1'))
    assert "inputs changed since the run began: the number of threads;" in quick.call("resume", "r").stderr


def test_dry_run_computes_nothing(desk):
    result = desk.call("run", desk.scenario(), "--dry-run")
    assert result.exit_code == 0 and result.stdout.splitlines()[-1] == "4 cells, 13 units, 96 rows, at most 0 image-gradients"
    found = json.loads(desk.call("run", desk.scenario(), "--dry-run", "--json").stdout)
    assert (found["cells"], found["rows"], found["matrix"][1]["strength"]) == (4, 96, {"quality": 90.0})
    assert {path.name for path in Path().iterdir()} == {"data", "mine.py", "s.yaml"}


def test_validate_prints_every_mistake_and_imports_nothing_of_the_user(desk):
    (desk.folder / "mine.py").write_text("raise SystemExit('imported')")
    assert desk.call("validate", desk.scenario()).stdout == f"{desk.folder}/s.yaml: desk is valid\n"
    assert json.loads(desk.call("validate", desk.scenario(), "--json").stdout)["problems"] == []
    desk.content["attacks"] = [{"id": "a", "kind": "jpg"}, {"id": "b", "kind": "blur", "sigmo": 1}]
    result = desk.call("validate", desk.scenario(), "--json")
    assert result.exit_code == 2 and [problem["code"] for problem in json.loads(result.stdout)["problems"]] == ["RT109", "RT102"]
    assert (text := desk.call("validate", desk.scenario())).exit_code == 2 and "did you mean 'sigma'" in text.stderr and text.stdout == ""


def test_warnings_are_told_on_standard_error(desk):
    for label in ("real", "fake"):
        Path("more", label).mkdir(parents=True)
    Path("data/real/0.png").rename("more/real/0.png")
    desk.content["data"]["train"] = {"kind": "folder", "path": "more"}
    for arguments in (["validate", desk.scenario()], ["run", desk.scenario(), "--dry-run", "--json"]):
        result = desk.call(*arguments)
        assert result.exit_code == 0 and "warning RT306 data.train: nothing uses this role" in result.stderr and "RT306" not in result.stdout


def test_reports_are_written_again_in_the_formats_that_are_asked_for(quick):
    quick.call("run", quick.scenario(), "-o", "r")
    for name in ("report.html", "report.md"):
        Path("r", name).unlink()
    assert quick.call("report", "r", "--format", "md").stdout == "r/report.md\n"
    assert not Path("r/report.html").exists()
    assert quick.call("report", "r", "--format", "pdf").exit_code == 2


def test_an_unfinished_run_has_a_report_of_what_there_is(quick, monkeypatch):
    from redteam.console.progress import Display

    with monkeypatch.context() as patch:
        patch.setattr(Display, "update", lambda self, step: signal.raise_signal(signal.SIGINT) if step.done == 5 else None)
        quick.call("run", quick.scenario(), "-o", "r")
    result = quick.call("report", "r")
    assert result.exit_code == 0 and "incomplete" in Path("r/report.md").read_text()
    assert json.loads(Path("r/summary.json").read_text())["status"] == "incomplete"


def test_a_report_of_a_run_that_goes_on_right_now_is_refused(quick, monkeypatch):
    from redteam.console.progress import Display

    with monkeypatch.context() as patch:
        patch.setattr(Display, "update", lambda self, step: signal.raise_signal(signal.SIGINT) if step.done == 2 else None)
        quick.call("run", quick.scenario(), "-o", "r")
    with RunDir(Path("r")).hold():
        assert quick.call("report", "r").exit_code == 75


def test_shipped_scenarios_are_found_by_name(desk):
    assert desk.call("validate", "quickstart").exit_code == 0
    assert "quickstart" in desk.call("list", "scenarios").stdout


@pytest.mark.parametrize("name", ["attack/pgd", "jpeg", "data/folder", "zoo/npr-tiny", "target/python"])
def test_show_explains_a_component(desk, name):
    result = desk.call("show", name)
    assert result.exit_code == (2 if name == "jpeg" else 0)  # an attack and a defense have that name
    if result.exit_code == 0:
        assert json.loads(desk.call("show", name, "--json").stdout)["name"].endswith(name.rpartition("/")[2])


def test_lists_are_json_for_programs(desk):
    found = json.loads(desk.call("list", "--json").stdout)
    assert {"attacks", "defenses", "targets", "corpora", "forgeries", "models", "scenarios", "metrics"} == set(found)
