"""However many workers there are, on one machine or as several processes, the bytes are the same; what goes wrong in one costs the others nothing."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time

import pytest

from redteam.run import leases, ledger
from redteam.run.child import Worker
from redteam.run.coordinator import Progress
from redteam.run.errors import Changed, Exit, Refused, StorageError, WorkerFailed
from redteam.run.ledger import RunDir
from redteam.run.session import Watch, Worked, go, work
from redteam.scenario.plan import Unit

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks workers")
FILES = ("results.jsonl", "summary.json", "gates.json", "scenario.lock.json", "plan.jsonl")


def widened(lab):
    """Two targets, two defenses and two attacks on two shards: 30 units."""
    lab.both(4)
    lab.both(1, size=40, prefix="big")
    lab.write(
        targets=[{"id": "bright", "kind": "brightness", "scale": 100}, {"id": "linear", "kind": "linear"}],
        defenses=[{"id": "none", "kind": "none"}, {"id": "jpeg75", "kind": "jpeg", "quality": 75}],
        attacks=[{"id": "pgd", "kind": "pgd", "eps": "16/255", "steps": 2}, {"id": "jpeg", "kind": "jpeg", "quality": 60}],
    )
    return lab


@pytest.fixture(scope="module")
def wanted(tmp_path_factory, laboratory) -> dict[str, bytes]:
    """What one worker makes of it, undisturbed."""
    lab = widened(laboratory(tmp_path_factory.mktemp("alone")))
    run_dir = lab.begin()
    assert lab.forked(run_dir).code == Exit.COMPLETE
    return files(run_dir) | {"perf": json.dumps(sorted(perf(run_dir))).encode(), "names": json.dumps(sorted(everything(run_dir))).encode()}


@pytest.fixture
def wide(lab):
    """Two shards, two targets, two defenses and three attacks."""
    return widened(lab)


def files(run_dir: RunDir) -> dict[str, bytes]:
    return {name: (run_dir.path / name).read_bytes() for name in FILES}


def same(run_dir: RunDir, wanted: dict[str, bytes]) -> bool:
    return files(run_dir).items() <= wanted.items()


def everything(run_dir: RunDir) -> set[str]:
    return {str(path.relative_to(run_dir.path)) for path in run_dir.path.rglob("*")}


def perf(run_dir: RunDir) -> list[str]:
    return [json.loads(line)["unit"] for line in (run_dir.path / "perf.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("workers", [2, 3])
def test_one_worker_and_several_give_the_same_bytes_and_the_same_files(wide, wanted, workers):
    several = wide.begin()
    steps: list[Progress] = []
    assert wide.forked(several, Watch(progress=steps.append), workers=workers).code == Exit.COMPLETE
    assert same(several, wanted) and sorted(everything(several)) == json.loads(wanted["names"])
    done = [step.done for step in steps]
    assert done == sorted(done) and set(done) == set(range(len(perf(several)) + 1)) and (steps[-1].label, steps[-1].workers) == ("", workers)
    assert sorted(perf(several)) == json.loads(wanted["perf"]) == sorted(set(perf(several)))


def test_a_kill_of_one_of_two_workers_changes_no_byte_and_does_not_stop_the_other(wide, wanted):
    run_dir = wide.begin()
    begun, killed, steps = [], [], []

    class Mortal(wide.worker):
        def send(self, command):
            begun.append(command["unit"])
            super().send(command)
            if len(begun) in (4, 11, 18):
                os.kill(self._process.pid, signal.SIGKILL)
                killed.append(command["unit"])

    with run_dir.hold():
        go(run_dir, Watch(progress=steps.append), Mortal, workers=2)
    assert same(run_dir, wanted) and steps[-1].restarts == 3
    for unit in killed:
        first = begun.index(unit)
        assert begun.index(unit, first + 1) > first + 1 or unit == killed[-1]  # the other worker was given units meanwhile


def test_a_hang_in_one_worker_is_isolated_while_the_other_goes_on(wide):
    fault = {"id": "odd", "kind": "broken", "fault": "hang", "above": 0.569, "scale": 100}
    wide.write(targets=[fault, {"id": "linear", "kind": "linear"}], attacks=[{"id": "jpeg", "kind": "jpeg"}], limits={"sample_timeout_s": 0.7})
    run_dir = wide.begin(micro_batch=2)
    steps: list[Progress] = []
    wide.forked(run_dir, Watch(progress=steps.append), workers=2)
    rows = [json.loads(line) for line in run_dir.results.read_text().splitlines()]
    assert {(row["target"], row["id"]) for row in rows if row["status"] != "ok"} == {("odd", "fake/003.png")}
    assert {row["status"] for row in rows if row["attack"] == "identity"} == {"ok", "timeout"} and steps[-1].restarts == 4  # a batch and an image, behind two defenses


def test_where_one_worker_never_comes_up_the_other_does_its_work(wide, wanted):
    run_dir = wide.begin()
    started = []

    def start(run_dir: RunDir, environment: dict[str, str]) -> Worker:
        started.append(len(started))
        return Stillborn(run_dir, environment) if len(started) in (2, 3, 4) else wide.worker(run_dir, environment)

    steps: list[Progress] = []
    with run_dir.hold():
        go(run_dir, Watch(progress=steps.append), start, workers=2)
    assert same(run_dir, wanted) and steps[-1].workers == 1 and len(started) == 4


class Stillborn(Worker):
    def _start(self, run_dir, environment, events):
        return subprocess.Popen(["false"], stdin=subprocess.PIPE)


def test_where_none_comes_up_the_run_ends_in_a_sentence(wide):
    run_dir = wide.begin()
    with run_dir.hold(), pytest.raises(WorkerFailed, match=r"^the worker ended 3 times before it was ready \(exit status 1\)"):
        go(run_dir, start=Stillborn, workers=2)


def helper(run_dir: RunDir, lab, workers: int = 1) -> int:
    """`redteam work` in a process of its own, forked -> its number."""
    pid = lab.fork()
    if pid == 0:
        code = 1
        try:
            done = work(run_dir, start=lab.worker, workers=workers)
            (run_dir.path.parent / "worked.json").write_text(json.dumps(vars(done)))
            code = 0
        finally:
            os._exit(code)
    return pid


def test_a_run_that_another_process_helps_with_gives_the_same_bytes_and_nothing_is_done_twice(wide, wanted):
    run_dir = wide.begin()
    pids: list[int] = []

    def watch(step: Progress) -> None:
        if step.done == 2 and not pids:
            pids.append(helper(run_dir, wide))
        if pids and step.done < 15:
            time.sleep(0.02)  # so that the helper gets its share

    assert wide.forked(run_dir, Watch(progress=watch)).code == Exit.COMPLETE
    assert os.waitstatus_to_exitcode(os.waitpid(pids[0], 0)[1]) == 0
    worked = Worked(**json.loads((wide.folder / "worked.json").read_text()))
    assert same(run_dir, wanted) and 0 < worked.computed < worked.units == len(perf(run_dir)) == len(set(perf(run_dir)))
    assert not (run_dir.path / "leases").exists()


def test_a_run_goes_on_when_its_helper_is_killed(wide, wanted):
    run_dir = wide.begin()
    pids: list[int] = []

    def watch(step: Progress) -> None:
        if step.done == 2 and not pids:
            pids.append(helper(run_dir, wide))
        if pids and step.done == 12:
            os.kill(pids[0], signal.SIGKILL)
            os.waitpid(pids[0], 0)
        time.sleep(0.02 if step.done < 12 else 0)

    wide.forked(run_dir, Watch(progress=watch))
    assert same(run_dir, wanted) and not list(run_dir.path.rglob("*.tmp")) and not (run_dir.path / "leases").exists()


def test_a_lease_that_nobody_keeps_holds_a_run_up_for_a_while_only(small, monkeypatch):
    run_dir = small.begin()
    unit = small.plan(run_dir).execution_order()[0]
    lease = run_dir.path / "leases" / unit.key
    lease.parent.mkdir()
    lease.write_text("00000000-1-1")  # another machine's
    labels = []

    def watch(step: Progress) -> None:
        labels.append(step.label)

    waited = []
    free = leases.Leases.free

    def look(self, key: str) -> bool:
        waited.append(key)
        if len(waited) == 2:
            os.utime(lease, (0, 0))
        return free(self, key)

    monkeypatch.setattr(leases.Leases, "free", look)
    monkeypatch.setattr("redteam.run.coordinator.LOOK_S", 0.05)
    assert small.forked(run_dir, Watch(progress=watch)).code == Exit.COMPLETE and waited == [unit.key] * 2


def test_all_that_a_helper_needs_is_the_directory(small):
    run_dir = small.begin()
    small.plan(run_dir)
    assert work(run_dir, start=small.worker, workers=2) == Worked(7, 7)
    assert work(run_dir, start=small.worker) == Worked(0, 7)
    assert not run_dir.results.exists()
    inline, _ = small.inline()
    small.forked(run_dir)
    assert same(run_dir, files(inline))


def test_a_helper_refuses_what_is_not_planned_and_what_has_changed(small):
    run_dir = small.begin()
    with pytest.raises(Refused, match=r"/run: is not planned yet; `redteam resume .*/run` plans it, and then others can join$"):
        work(run_dir, start=small.worker)
    small.plan(run_dir)
    small.pictures("real", [90], prefix="late")
    with pytest.raises(Changed, match="inputs changed since the run began"):
        work(run_dir, start=small.worker)


def test_a_full_disk_under_one_of_two_workers_stops_the_run_and_nothing_is_lost(wide, wanted, monkeypatch):
    run_dir = wide.begin()
    coordinator, sync, written = os.getpid(), os.fsync, []

    def full(handle: int) -> None:
        written.append(handle)
        if os.getpid() != coordinator and len(written) > 12:
            raise OSError(errno.ENOSPC, "No space left on device")
        sync(handle)

    with monkeypatch.context() as patch:
        patch.setattr(ledger.os, "fsync", full)
        with pytest.raises(StorageError, match=r"^cannot write \w+/\S+: No space left on device$"):
            wide.forked(run_dir, workers=2)
    assert not list((run_dir.path / "units").glob(".*.tmp")) and not (run_dir.path / "leases").exists()
    kept = everything(run_dir)
    wide.forked(run_dir, workers=2)
    assert same(run_dir, wanted) and kept < everything(run_dir)


def test_a_directory_that_cannot_be_written_is_a_sentence(small, monkeypatch):
    def refuse(path):
        raise OSError(errno.EROFS, "Read-only file system")

    run_dir = small.begin()
    small.plan(run_dir)
    monkeypatch.setattr(leases, "_created", refuse)
    with pytest.raises(StorageError, match=r"^cannot write leases/\w+: Read-only file system$"):
        work(run_dir, start=small.worker)


def test_a_cut_unit_file_is_computed_again_by_whoever_finds_it(wide):
    run_dir = wide.begin()
    wide.forked(run_dir, workers=2)
    before = files(run_dir)
    units: list[Unit] = list(wide.plan(run_dir).units)
    for unit in (units[0], units[4], units[20], units[-1]):
        path = run_dir.unit_path(unit.key)
        path.write_bytes(path.read_bytes()[:-7])
    assert work(run_dir, start=wide.worker, workers=2).computed == 4
    wide.forked(run_dir)
    assert files(run_dir) == before
