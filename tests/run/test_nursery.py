"""Workers as a user has them: forked from a process that loaded torch once, each with its own session, its own line and nothing of its neighbours'."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import pytest
import torch

from redteam.run.errors import Exit, WorkerFailed
from redteam.run.nursery import Nursery
from redteam.run.session import Watch, go

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="workers are forked on Linux alone")

FACTORY = """
import json, os, sys, torch

def build():
    names = ("OMP_NUM_THREADS", "MALLOC_TRIM_THRESHOLD_")
    facts = {"pid": os.getpid(), "parent": os.getppid(), "session": os.getsid(0), "threads": torch.get_num_threads(), "environment": {name: os.environ.get(name) for name in names}}
    facts["open"] = sorted(os.readlink(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{name}"))
    print(json.dumps(facts))
    return lambda x: x.mean((1, 2, 3)) * 100 - 50
"""


def test_workers_are_forked_from_one_process_and_compute_what_this_one_computes(small, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "5")  # what is frozen with the run stands above it
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    (small.folder / "mine.py").write_text(FACTORY)
    small.write(
        targets=[{"id": "mine", "kind": "python", "factory": "mine.py:build", "output": {"type": "logit"}}],
        defenses=[{"id": "none", "kind": "none"}, {"id": "jpeg75", "kind": "jpeg", "quality": 75}], attacks=[{"id": "jpeg", "kind": "jpeg"}],
    )  # fmt: skip
    run_dir = small.begin(threads=2)
    seen: list[int] = []

    def watch(step) -> None:
        if step.done == 3:
            server = next(pid for pid in children(os.getpid()) if b"redteam.run.forking" in Path(f"/proc/{pid}/cmdline").read_bytes())
            seen.extend([server, len(os.listdir(f"/proc/{server}/task")), len(children(server))])
        if step.done == 6 and step.restarts == 0:
            os.kill(seen[0], signal.SIGKILL)  # and with it all workers

    with run_dir.hold():
        assert go(run_dir, Watch(progress=watch), workers=2).code == Exit.COMPLETE
    server, threads, workers = seen
    assert (threads, workers) == (1, 2)  # no thread was started before the forks
    told = [json.loads(line) for line in (run_dir.path / "log.txt").read_text().splitlines() if line.startswith("{")]
    assert told[0]["parent"] == server and len({facts["parent"] for facts in told}) == 2 and len({facts["pid"] for facts in told}) == len(told)
    for facts in told:
        assert facts["session"] == facts["pid"] and facts["threads"] == 2
        assert facts["environment"] == {"OMP_NUM_THREADS": "2", "MALLOC_TRIM_THRESHOLD_": str(512 << 20)}
        assert not [name for name in facts["open"] if name.endswith(".lock") or name.startswith("socket:")]
        assert sum(name.startswith("pipe:") for name in facts["open"]) == 2  # commands and events
    assert not torch.cuda.is_initialized() and not any(Path(f"/proc/{facts['pid']}").exists() for facts in told)
    inline, _ = small.inline(threads=2)
    assert run_dir.results.read_bytes() == inline.results.read_bytes()
    assert run_dir.read_json("env.json")["torch"]["threads"] == 2


def test_a_nursery_that_cannot_load_is_a_sentence(small, monkeypatch):
    run_dir = small.begin()
    small.plan(run_dir)
    with Nursery() as nursery, run_dir.hold(), pytest.raises(WorkerFailed, match=r"^the worker ended 3 times before it was ready \(the process that forks workers ended\); log.txt in the run directory says more$"):
        go(run_dir, start=lambda run_dir, environment: nursery.worker(run_dir, environment | {"PYTHONPATH": "/nowhere", "PYTHONHOME": "/nowhere"}), workers=1)


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
