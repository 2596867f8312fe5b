"""Kills runs at random moments and resumes them, and demands the bytes of an undisturbed run, no row lost and none twice.

    python bench/kills.py                       1,000 kills, about half an hour
    python bench/kills.py --kills 20 --started  real processes: each session starts Python, imports torch and plans, as `redteam resume` does

Kills are SIGKILL, to the coordinator and to one of what it started in turn, at times drawn from --seed. A run that is complete is compared byte by
byte with the undisturbed one of a single worker (results.jsonl, summary.json, gates.json), and another begins. By default all processes are forked
from this one, so that only imports are saved: planning, locking, the ledger, the talk between coordinator and workers, and finalising are the real code.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NoReturn, Protocol

import numpy as np
import torch
from forked import Forked, ForkedWorker, fork
from PIL import Image

from redteam.run import opening
from redteam.run.ledger import RunDir
from redteam.run.session import go

EVERY = 50  # kills, a line
COMPLETE = (0, 3, 7)  # whatever its gates say
COMPARED = ("results.jsonl", "summary.json", "gates.json")
SCENARIO = """
schema: redteam/v1
name: kills
seed: 11
data: {eval: {kind: folder, path: data}}
targets: [{id: linear, kind: linear}, {id: bright, kind: brightness}]
attacks:
  - {id: pgd, kind: pgd, eps: {sweep: [4/255, 8/255, 16/255]}, steps: 2}
  - {id: jpeg, kind: jpeg, quality: {sweep: [80, 50]}}
gates: [{id: g, metric: attack_success_rate, where: {attack: pgd}, require: "<= 0.9"}]
"""


class Session(Protocol):
    """A coordinator process."""

    pid: int

    def wait(self, timeout: float | None = None) -> int:
        """Its exit status."""


def main() -> None:
    """Parse, kill, compare; exit status 1 at the first difference."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--started", action="store_true", help="start real processes instead of forking")
    options = parser.parse_args()
    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"
    begin = started if options.started else forked
    with tempfile.TemporaryDirectory() as folder:
        sys.exit(0 if survives(Path(folder), options.kills, random.Random(options.seed), partial(begin, workers=options.workers)) else 1)


def survives(folder: Path, kills: int, rng: random.Random, begin: Callable[..., Session]) -> bool:
    """Whether every run that was killed gave the bytes of the undisturbed one."""
    write_inputs(folder)
    started_at = time.monotonic()
    undisturbed = new_run(folder, 0)
    if (code := begin(undisturbed, workers=1).wait()) not in COMPLETE:
        raise SystemExit(f"the undisturbed run ended with exit status {code}")
    usual = time.monotonic() - started_at
    want = {name: (undisturbed.path / name).read_bytes() for name in COMPARED}
    done = runs = 0
    while done < kills:
        runs += 1
        run_dir = new_run(folder, runs)
        while (killed := disturbed(begin(run_dir), usual, rng)) is not None:
            if (done + killed) // EVERY > done // EVERY:
                print(f"{done + killed} kills, {runs} runs, {time.monotonic() - started_at:.0f} s, all equal so far", flush=True)
            done += killed
        for name, data in want.items():
            if (run_dir.path / name).read_bytes() != data:
                print(f"run {runs}: {name} differs after {done} kills; see {run_dir.path}")
                return False
        if leftovers := [path.name for path in run_dir.path.rglob("*") if path.suffix == ".tmp" or path.parent.name == "leases"]:
            print(f"run {runs}: left over: {leftovers}")
            return False
    print(f"{done} kills over {runs} runs: every run gave the bytes of the undisturbed one")
    return True


def disturbed(session: Session, usual: float, rng: random.Random) -> int | None:
    """Kill one of its processes and then the coordinator, at random times -> how many died; None once the run is complete."""
    died = 0
    for victim in (partial(one_below, rng), lambda pid: pid):
        if not alive_after(session, rng.uniform(0, usual / 2)):
            return None if session.wait() in COMPLETE else _failed(session)
        if (pid := victim(session.pid)) is not None:
            died += kill(pid)
    session.wait()
    return died


def _failed(session: Session) -> NoReturn:
    raise SystemExit(f"a session that nobody killed ended with exit status {session.wait()}")


def alive_after(session: Session, seconds: float) -> bool:
    """Wait; False where the session has ended by itself."""
    try:
        session.wait(seconds)
    except subprocess.TimeoutExpired:
        return True
    return False


def kill(pid: int) -> bool:
    """Whether there was something to kill."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
        return True
    return False


def one_below(rng: random.Random, pid: int) -> int | None:
    """A worker, or what forks workers; None where a coordinator has started neither."""
    found = below(pid)
    return rng.choice(found) if found else None


def below(pid: int) -> list[int]:
    """The processes that a process and its children started."""
    try:
        children = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []
    return [*children, *(other for child in children for other in below(child))]


def forked(run_dir: RunDir, workers: int) -> Session:
    """A coordinator that is forked from here, with forked workers."""
    reader, writer = os.pipe()
    pid = fork()
    if pid == 0:
        code = 1
        try:
            with run_dir.hold():
                go(run_dir, start=ForkedWorker, workers=workers)
            code = 0
        finally:
            os._exit(code)
    os.close(reader)
    return Forked(pid, os.fdopen(writer, "wb"))


def started(run_dir: RunDir, workers: int) -> Session:
    """`redteam resume` as a user starts it."""
    return subprocess.Popen([sys.executable, "-m", "redteam", "resume", str(run_dir.path), "--workers", str(workers)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def new_run(folder: Path, number: int) -> RunDir:
    """A run directory as `redteam run` begins it."""
    return opening.begin(folder / f"run{number}", folder / "s.yaml", {})


def write_inputs(folder: Path) -> None:
    """Sixteen small pictures of four sizes, so that each cell has four shards, and the scenario."""
    rng = np.random.default_rng(0)
    for label, mean in (("real", 110), ("fake", 140)):
        (folder / "data" / label).mkdir(parents=True)
        for i, size in enumerate((32, 32, 40, 48, 56, 56, 40, 48)):
            levels = (mean + rng.integers(-30, 31, (size, size, 3))).astype(np.uint8)
            Image.fromarray(levels).save(folder / "data" / label / f"{i}.png")
    (folder / "s.yaml").write_text(SCENARIO)


if __name__ == "__main__":
    main()
