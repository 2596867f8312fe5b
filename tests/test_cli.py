"""The command line as a process: light to start, and two processes that die and come back."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

linux = pytest.mark.skipif(sys.platform != "linux", reason="finds the worker under /proc")


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=True)


def test_help_does_not_import_torch():
    script = "import sys\nfrom click.testing import CliRunner\nfrom redteam.cli import main\nassert 'resume' in CliRunner().invoke(main, ['--help']).output\nprint(sorted({'torch', 'numpy', 'pydantic', 'rich', 'yaml'} & set(sys.modules)))"
    assert python("-c", script).stdout == "[]\n"


def test_help_costs_less_than_half_a_second_of_cpu():
    script = "import os, subprocess, sys\nsubprocess.run([sys.executable, '-m', 'redteam', '--help'], stdout=subprocess.DEVNULL, check=True)\nprint(sum(os.times()[2:4]))"
    assert float(python("-c", script).stdout) < 0.5


FACTORY = """
import ctypes, os, time
from pathlib import Path

def build():
    def score(x):
        time.sleep(0.04)
        if Path("hang").exists():
            Path(f"hanging-{os.getpid()}").touch()
            ctypes.PyDLL(None).sleep(1000)  # no thread of the worker can do anything meanwhile
        return x.mean((1, 2, 3)) * 40 - 20
    return score
"""
SCENARIO = """
schema: redteam/v1
name: slow
seed: 3
data: {eval: {kind: folder, path: data}}
targets: [{id: slow, kind: python, factory: "slow.py:build", output: {type: logit}}]
attacks: [{id: jpeg, kind: jpeg, quality: {sweep: [95, 90, 85, 80, 75, 70, 65, 60, 55, 50]}}]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A scenario of 34 units that takes a few seconds."""
    rng = np.random.default_rng(0)
    for label, mean in (("real", 100), ("fake", 150)):
        (tmp_path / "data" / label).mkdir(parents=True)
        for i, size in enumerate((32, 40, 48)):
            Image.fromarray((mean + rng.integers(-20, 21, (size, size, 3))).astype(np.uint8)).save(tmp_path / "data" / label / f"{i}.png")
    (tmp_path / "slow.py").write_text(FACTORY)
    (tmp_path / "s.yaml").write_text(SCENARIO)
    return tmp_path


@contextlib.contextmanager
def redteam(folder: Path, *arguments: str):
    process = subprocess.Popen([sys.executable, "-m", "redteam", *arguments], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def until(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 90
    while not holds():
        assert time.monotonic() < deadline, f"waited for {what}"
        time.sleep(0.005)


def units(folder: Path) -> int:
    return len(list((folder / "r" / "units").glob("[!.]*.jsonl"))) if (folder / "r" / "units").is_dir() else 0


def below(pid: int) -> list[int]:
    children = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return [*children, *(other for child in children for other in below(child))]


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


@linux
def test_real_processes_that_are_killed_interrupted_and_resumed_give_the_bytes_of_an_undisturbed_run(folder):
    with redteam(folder, "run", "s.yaml", "-o", "r", "--workers", "local:2") as first:
        until(lambda: units(folder) >= 4, "the first units")
        os.kill(below(first.pid)[-1], signal.SIGKILL)  # a worker, forked by a process of its own
        until(lambda: units(folder) >= 8, "units of the second worker")
        second = subprocess.run([sys.executable, "-m", "redteam", "resume", "r"], cwd=folder, capture_output=True, text=True, check=False)
        assert (second.returncode, second.stdout) == (75, "") and "another coordinator is working on r" in second.stderr
        assert first.poll() is None
        processes = below(first.pid)
        (folder / "hang").touch()
        until(lambda: len(list(folder.glob("hanging-*"))) == len(processes) - 1, "all workers to hang")
        first.kill()
        first.wait()
        until(lambda: all(gone(process) for process in processes), "the end of processes without a coordinator")
    (folder / "hang").unlink()
    before = units(folder)
    with redteam(folder, "resume", "r", "--workers", "2") as third:
        until(lambda: units(folder) >= before + 3, "units of the resumed run")
        processes = below(third.pid)
        third.send_signal(signal.SIGINT)
        out, err = third.communicate(timeout=60)
        assert (third.returncode, out, err.splitlines()[-1]) == (130, "", "interrupted; everything finished is kept. Go on with: redteam resume r")
        assert all(gone(process) for process in processes)
    with redteam(folder, "resume", "r", "--json") as last, redteam(folder, "run", "s.yaml", "-o", "undisturbed", "--workers", "1", "--json") as undisturbed:
        found, wanted = (json.loads(process.communicate(timeout=120)[0]) for process in (last, undisturbed))
    assert found["exit"] == wanted["exit"] == 0
    for name in ("results.jsonl", "summary.json", "scenario.lock.json", "plan.jsonl"):
        assert (folder / "r" / name).read_bytes() == (folder / "undisturbed" / name).read_bytes(), name
