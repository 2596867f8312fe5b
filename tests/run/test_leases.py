"""A lease keeps others from doing the same work, as long as its holder lives; no clock but the file system's is asked."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from redteam.run import leases
from redteam.run.holders import STALE_S, me
from redteam.run.leases import Leases
from redteam.run.ledger import RunDir

STRANGER = "00000000-1-1"  # a process of another machine


@pytest.fixture
def run_dir(tmp_path) -> RunDir:
    return RunDir(tmp_path)


@pytest.fixture
def foreign(run_dir):
    """A lease that a process of another machine holds."""
    Leases(run_dir).take("k")
    path = run_dir.path / "leases" / "k"
    path.write_text(STRANGER)
    return path


def test_only_one_holds_a_lease(run_dir):
    mine, other = Leases(run_dir), Leases(run_dir)
    assert mine.take("k") and not other.take("k") and not other.free("k") and other.free("l")
    mine.release("k")
    assert other.take("k")


@pytest.mark.parametrize("away_s", [-10 * 365 * 86400, -2 * STALE_S, 2 * STALE_S, 10 * 365 * 86400])
def test_a_lease_that_is_far_from_the_file_system_s_clock_is_taken_over(run_dir, foreign, away_s):
    stamp = foreign.stat().st_mtime + away_s
    os.utime(foreign, (stamp, stamp))
    assert Leases(run_dir).free("k") and Leases(run_dir).take("k") and foreign.read_text() == me()


@pytest.mark.parametrize("wrong_s", [-1e9, 1e9])
def test_this_machine_s_clock_may_be_wrong(run_dir, foreign, monkeypatch, wrong_s):
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + wrong_s)
    monkeypatch.setattr(time, "time_ns", lambda: int((now + wrong_s) * 1e9))
    assert not Leases(run_dir).take("k")


def test_a_living_holder_keeps_its_lease_by_touching_it(run_dir, monkeypatch):
    mine = Leases(run_dir)
    mine.take("k")
    os.utime(run_dir.path / "leases" / "k", (0, 0))
    mine.beat()  # too soon after the last one
    assert Leases(run_dir).free("k")
    monkeypatch.setattr(leases, "BEAT_S", 0)
    mine.beat()
    assert not Leases(run_dir).free("k")


def test_the_lease_of_a_local_process_that_has_ended_is_free_at_once(run_dir):
    script = "import sys; from pathlib import Path; from redteam.run.leases import Leases; from redteam.run.ledger import RunDir; Leases(RunDir(Path(sys.argv[1]))).take('k')"
    subprocess.run([sys.executable, "-c", script, str(run_dir.path)], check=True)
    assert (run_dir.path / "leases" / "k").read_text() != me() and Leases(run_dir).take("k")


def test_a_process_with_the_number_of_one_that_has_ended_is_another(run_dir, foreign):
    machine, number, born = me().split("-")
    foreign.write_text(f"{machine}-{number}-{int(born) - 1}")
    assert Leases(run_dir).free("k")


def test_one_s_own_stolen_lease_is_left_to_the_thief(run_dir):
    mine = Leases(run_dir)
    mine.take("k")
    (run_dir.path / "leases" / "k").write_text(STRANGER)
    mine.release("k")
    assert not Leases(run_dir).free("k")


def test_at_the_end_nothing_is_left_but_what_others_hold(run_dir, foreign):
    mine = Leases(run_dir)
    mine.take("mine")
    (foreign.parent / "dead").write_text(me().rpartition("-")[0] + "-1")
    mine.close()
    assert [path.name for path in foreign.parent.iterdir()] == ["k"]
    foreign.unlink()
    mine.close()
    assert not foreign.parent.exists()
