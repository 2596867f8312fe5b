"""A file is there whole or not at all, and a run has one coordinator."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from redteam.run.errors import Held, StorageError
from redteam.run.holders import me
from redteam.run.ledger import RunDir, beside, write_whole


@pytest.fixture
def run_dir(tmp_path) -> RunDir:
    made = RunDir(tmp_path / "run")
    made.create()
    return made


@pytest.mark.parametrize("rows", [[], ["{}"], ['{"a":1}', '{"b":"\\u2028"}']])
def test_a_unit_gives_back_its_rows(run_dir, rows):
    run_dir.write_unit("k", rows)
    assert run_dir.read_unit("k") == rows


def test_a_unit_that_is_not_there_is_none(run_dir):
    assert run_dir.read_unit("k") is None


def test_any_cut_and_any_flipped_byte_is_noticed(run_dir):
    run_dir.write_unit("k", ['{"a":1}', '{"b":2}'])
    path = run_dir.unit_path("k")
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        assert run_dir.read_unit("k") is None, length
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert run_dir.read_unit("k") is None, place


def test_a_failed_write_leaves_the_old_file_and_no_other(run_dir, monkeypatch):
    path = run_dir.path / "x.json"
    write_whole(path, b"old")
    monkeypatch.setattr("redteam.run.ledger.os.replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(StorageError, match="cannot write run/x.json: No space left on device"):
        write_whole(path, b"new")
    assert path.read_bytes() == b"old" and sorted(p.name for p in run_dir.path.iterdir()) == ["artifacts", "units", "x.json"]


def test_what_a_killed_writer_left_is_swept_and_nothing_else(run_dir):
    run_dir.write_unit("k", ["{}"])
    ended = subprocess.run([sys.executable, "-c", "from redteam.run.holders import me; print(me())"], capture_output=True, text=True, check=True).stdout.strip()
    for leftover in (run_dir.path / f".results.jsonl.{ended}.tmp", run_dir.path / "units" / f".k.jsonl.{ended}.tmp", run_dir.path / "artifacts" / f".a.png.{ended}.tmp"):
        leftover.write_text("half")
    run_dir.sweep()
    assert list(run_dir.path.rglob("*.tmp")) == [] and run_dir.read_unit("k") == ["{}"]


def test_what_another_process_is_writing_right_now_is_not_swept_unless_it_was_left_long_ago(run_dir):
    machine, number, born = me().split("-")
    mine, elsewhere = beside(run_dir.path / "a"), run_dir.path / f".a.00000000-{number}-{born}.tmp"
    for path in (mine, elsewhere):
        path.write_text("half")
    run_dir.sweep()
    assert mine.exists() and elsewhere.exists()
    for path in (mine, elsewhere):
        os.utime(path, (0, 0))
    run_dir.sweep()
    assert list(run_dir.path.glob(".a.*")) == []


def test_lines_of_several_processes_stay_whole(run_dir):
    script = "import sys; from pathlib import Path; from redteam.run.ledger import RunDir\nfor i in range(40): RunDir(Path(sys.argv[1])).append('perf.jsonl', {'who': sys.argv[2] * 9000})"
    processes = [subprocess.Popen([sys.executable, "-c", script, str(run_dir.path), who]) for who in "abc"]
    assert [process.wait() for process in processes] == [0, 0, 0]
    rows = [json.loads(line)["who"] for line in (run_dir.path / "perf.jsonl").read_text().splitlines()]
    assert sorted(rows) == sorted(who * 9000 for who in "abc" for _ in range(40))


def test_a_held_run_is_refused_and_free_again_afterwards(run_dir):
    with run_dir.hold(), pytest.raises(Held, match=f"another coordinator is working on {run_dir.path}; wait for it, or stop it"), run_dir.hold():
        pass
    with run_dir.hold():
        pass


def test_children_do_not_inherit_the_hold(run_dir):
    with run_dir.hold():
        child = subprocess.Popen([sys.executable, "-c", "print(); input()"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, close_fds=False)
        child.stdout.readline()  # it runs
    try:
        with run_dir.hold():
            assert child.poll() is None  # it lives on, and does not hold the run
    finally:
        child.communicate(b"\n")


def test_a_disk_that_is_really_full_is_a_sentence(run_dir):
    script = (
        "import resource, signal, sys; from pathlib import Path; from redteam.run.ledger import RunDir; from redteam.run.errors import StorageError\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "try: RunDir(Path(sys.argv[1])).write_unit('k', ['x' * 8192])\n"
        "except StorageError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", script, str(run_dir.path)], capture_output=True, text=True, check=True)
    assert done.stdout == "cannot write units/k.jsonl: File too large\n"
    assert list((run_dir.path / "units").iterdir()) == []


def test_a_run_is_on_disk_before_torch_is_loaded(tmp_path):
    (tmp_path / "s.yaml").write_text("name: x")
    script = "import sys; from pathlib import Path; from redteam.run import opening\nopening.begin(Path('run'), Path('s.yaml'), {})\nprint(sorted({'torch', 'numpy', 'pydantic'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout == "[]\n" and (tmp_path / "run" / "scenario.yaml").read_text() == "name: x"
