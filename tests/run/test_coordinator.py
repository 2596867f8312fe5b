"""A hang, a crash and a kill of the worker end in a row or in nothing at all, and cost nothing else. The worker is forked here, so that it starts fast."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from redteam.run import seat
from redteam.run.child import Worker
from redteam.run.coordinator import Progress
from redteam.run.errors import Changed, Exit, Missing, StorageError, WorkerFailed
from redteam.run.ledger import RunDir
from redteam.run.seat import SPARED
from redteam.run.session import Watch, close, go

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="finds the worker under /proc")

NOISY = """
import atexit, os, sys

def build():
    print("hello from the factory")
    sys.stderr.write("and a complaint\\n")
    def score(x):
        try:
            input()
        except EOFError:
            pass
        return x.mean((1, 2, 3)) * 20 - 10
    return score

def dies():
    os._exit(3)

def starts_a_child():
    if os.fork() == 0:
        import time
        time.sleep(1000)
    os._exit(3)
"""


def rows_of(run_dir: RunDir, attack: str = "identity") -> list[dict]:
    return [row for row in map(json.loads, run_dir.results.read_text().splitlines()) if row["attack"] == attack]


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def kill_worker() -> None:
    for child in children(os.getpid()):
        if b"resource_tracker" not in Path(f"/proc/{child}/cmdline").read_bytes():
            os.kill(child, signal.SIGKILL)


@pytest.fixture
def noisy(small):
    (small.folder / "mine.py").write_text(NOISY)

    def run(name: str) -> tuple[RunDir, object]:
        small.write(targets=[{"id": "mine", "kind": "python", "factory": f"mine.py:{name}", "output": {"type": "logit"}}], attacks=[{"id": "jpeg", "kind": "jpeg"}])
        run_dir = small.begin(name)
        return run_dir, small.forked(run_dir)

    return run


def test_a_worker_gives_what_this_process_gives(small):
    inline, _ = small.inline()
    run_dir = small.begin()
    steps: list[Progress] = []
    ended = small.forked(run_dir, Watch(progress=steps.append))
    assert run_dir.results.read_bytes() == inline.results.read_bytes() and ended.code == Exit.COMPLETE
    assert [step.done for step in steps] == list(range(8)) and {step.total for step in steps} == {7} and steps[-1].restarts == 0
    assert run_dir.read_json("run.json")["status"] == "complete"


@pytest.mark.parametrize("fault", ["crash", "hang"])
def test_an_image_that_kills_or_hangs_the_worker_is_isolated(small, fault):
    small.write(targets=[{"id": "odd", "kind": "broken", "fault": fault, "above": 0.569, "scale": 100}], attacks=[{"id": "jpeg", "kind": "jpeg"}], limits={"sample_timeout_s": 0.7 if fault == "hang" else 60})
    run_dir = small.begin()
    steps: list[Progress] = []
    ended = small.forked(run_dir, Watch(progress=steps.append))
    small.write(targets=[{"id": "odd", "kind": "brightness", "scale": 100}])
    sane, _ = small.inline("sane")
    scores = {row["id"]: row["outcome"]["score"] for row in rows_of(sane)}
    rows = {row["id"]: row for row in rows_of(run_dir)}
    bad = rows.pop("fake/003.png")
    assert (bad["status"], bad["reason"]) == {"crash": ("crash", "the worker died on this image: exit status 134"), "hang": ("timeout", "no answer within 0.7 s")}[fault]
    assert {name: row["outcome"]["score"] for name, row in rows.items()} == {name: scores[name] for name in rows}
    assert {name for name, row in rows.items() if "ran_alone" in row["warnings"]} == {name for name in rows if "big" not in name}
    assert [row["status"] for row in rows_of(run_dir, "jpeg") if row["id"] == "fake/003.png"] == [bad["status"]]  # and it is not attacked
    assert steps[-1].restarts == 2 and ended.code == Exit.INCOMPLETE


def test_a_worker_that_is_killed_from_outside_changes_nothing(small):
    inline, _ = small.inline()
    run_dir = small.begin()
    steps: list[Progress] = []

    def watch(step: Progress) -> None:
        steps.append(step)
        if step.done in (2, 3, 5) and step.label:
            kill_worker()

    small.forked(run_dir, Watch(progress=watch))
    assert run_dir.results.read_bytes() == inline.results.read_bytes() and steps[-1].restarts == 3


def test_one_unit_survives_a_few_kills_before_anyone_is_suspected(small):
    inline, _ = small.inline()
    run_dir = small.begin()
    kills = []

    class Victim(small.worker):
        def send(self, command):
            if len(kills) < SPARED:
                kills.append(command["unit"])
                os.kill(self._process.pid, signal.SIGKILL)
            super().send(command)

    with run_dir.hold():
        go(run_dir, start=Victim, workers=1)
    assert len(set(kills)) == 1 and run_dir.results.read_bytes() == inline.results.read_bytes()


def test_what_user_code_prints_goes_to_the_log_and_it_cannot_read_the_commands(noisy):
    run_dir, ended = noisy("build")
    assert ended.code == Exit.COMPLETE
    assert (run_dir.path / "log.txt").read_text().splitlines()[:2] == ["hello from the factory", "and a complaint"]


def test_a_factory_that_ends_the_process_makes_rows_that_say_so(noisy):
    run_dir, ended = noisy("dies")
    assert {row["reason"] for row in rows_of(run_dir)} == {"mine could not be prepared: the worker died while it loaded or calibrated it (exit status 3)"}
    assert ended.code == Exit.INCOMPLETE


def test_a_factory_that_hangs_makes_rows_that_say_so(small, monkeypatch):
    monkeypatch.setattr(seat, "LOADING_S", 4)
    (small.folder / "mine.py").write_text("import time\n\ndef build():\n    time.sleep(1000)\n")
    small.write(targets=[{"id": "mine", "kind": "python", "factory": "mine.py:build", "output": {"type": "logit"}}], limits={"sample_timeout_s": 1})
    run_dir = small.begin()
    small.forked(run_dir)
    assert {row["reason"] for row in rows_of(run_dir)} == {"mine could not be prepared: the worker hung while it loaded or calibrated it (no sign of life for 4 s)"}


def test_a_target_that_hangs_on_calibration_images_makes_rows_that_say_so(small):
    small.pictures("real", [240, 241], prefix="cal")
    (small.folder / "calib").mkdir()
    for name in ("real", "fake"):
        (small.folder / "calib" / name).mkdir()
    for path in (small.folder / "data" / "real").glob("cal*"):
        path.rename(small.folder / "calib" / "real" / path.name)
    small.write(
        data={"eval": {"kind": "folder", "path": "data"}, "calib": {"kind": "folder", "path": "calib"}},
        targets=[{"id": "odd", "kind": "broken", "fault": "hang", "above": 0.9, "threshold": {"at_fpr": 0.5}}], limits={"sample_timeout_s": 0.05},
    )  # fmt: skip
    run_dir = small.begin()
    small.forked(run_dir)
    assert {row["reason"] for row in rows_of(run_dir)} == {"odd could not be prepared: the worker hung while it loaded or calibrated it (no sign of life for 0.8 s)"}


def test_a_target_that_dies_on_every_image_has_a_row_for_each(small):
    small.write(targets=[{"id": "odd", "kind": "broken", "fault": "crash"}])
    run_dir = small.begin()
    small.forked(run_dir)
    assert [(row["status"], row["reason"]) for row in rows_of(run_dir)] == [("crash", "the worker died on this image: exit status 134")] * 10


def test_a_child_of_user_code_does_not_hide_the_worker_s_death(noisy):
    run_dir, _ = noisy("starts_a_child")
    assert len(rows_of(run_dir)) == 10


def test_a_worker_that_never_comes_up_is_a_sentence(small):
    class Stillborn(Worker):
        def _start(self, run_dir, folder, events):
            return subprocess.Popen(["false"], stdin=subprocess.PIPE)

    run_dir = small.begin()
    with run_dir.hold(), pytest.raises(WorkerFailed, match=r"^the worker ended 3 times before it was ready \(exit status 1\); log.txt in the run directory says more$"):
        go(run_dir, start=Stillborn, workers=1)
    assert run_dir.read_json("run.json")["status"] == "interrupted"


def test_inputs_that_change_while_a_worker_restarts_stop_the_run(small):
    run_dir = small.begin()

    def watch(step: Progress) -> None:
        if step.done == 2:
            small.pictures("real", [90], prefix="late")
            kill_worker()

    with pytest.raises(Changed, match="inputs changed while the run was going on"):
        small.forked(run_dir, Watch(progress=watch))


def test_a_full_disk_under_the_worker_is_a_sentence_and_the_run_goes_on_later(small):
    inline, _ = small.inline()
    run_dir = small.begin()

    def watch(step: Progress) -> None:
        if step.done == 3:
            (run_dir.path / "units").rename(run_dir.path / "elsewhere")

    with pytest.raises(StorageError, match=r"cannot write units/\w+.jsonl: No such file or directory"):
        small.forked(run_dir, Watch(progress=watch))
    (run_dir.path / "elsewhere").rename(run_dir.path / "units")
    small.forked(run_dir)
    assert run_dir.results.read_bytes() == inline.results.read_bytes()


def test_a_device_that_is_not_there_is_missing_before_anything_is_locked(small):
    run_dir = small.begin(device="cuda:7")
    with pytest.raises(Missing, match=r"--device cuda:7: torch cannot use it here \(.*\); leave it out to run on the CPU"):
        small.forked(run_dir)
    assert not (run_dir.path / "scenario.lock.json").exists()


def test_an_unfinished_run_can_be_summed_up_and_its_gates_are_inconclusive(small):
    small.write(gates=[{"id": "g", "metric": "auc", "where": {"attack": "pgd"}, "require": ">= 0.5"}])
    run_dir = small.begin()

    def watch(step: Progress) -> None:
        if step.done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        small.forked(run_dir, Watch(progress=watch))
    ended = close(run_dir)
    assert ended.code == Exit.INCOMPLETE and ended.closing.summary["status"] == "incomplete"
    assert [gate["verdict"] for gate in ended.closing.gates["gates"]] == ["inconclusive"]
    assert run_dir.read_json("run.json")["status"] == "interrupted"


def test_elapsed_time_adds_up_and_no_result_holds_it(small):
    run_dir = small.begin()
    small.forked(run_dir)
    first = run_dir.read_json("run.json")["elapsed_s"]
    before = {name: (run_dir.path / name).read_bytes() for name in ("results.jsonl", "summary.json", "gates.json")}
    small.forked(run_dir)
    assert run_dir.read_json("run.json")["elapsed_s"] > first > 0
    assert {name: (run_dir.path / name).read_bytes() for name in before} == before
