"""A small laboratory: pictures whose mean brightness is known, a scenario on them, and three ways to run it."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

import redteam
from redteam.run import opening
from redteam.run.child import Worker
from redteam.run.executing import Executor
from redteam.run.finalising import Closing, finalise
from redteam.run.ledger import RunDir
from redteam.run.session import Ended, Watch, go
from redteam.scenario.plan import Options, Plan, Unit

BENCH = Path(redteam.__file__).resolve().parent.parent / "bench"


def load_bench(name: str) -> Any:
    """A file of bench/ as a module."""
    spec = importlib.util.spec_from_file_location(f"bench_{name}", BENCH / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


class Lab:
    """A folder with data/ and s.yaml, and its runs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.content: dict[str, Any] = {
            "schema": "redteam/v1", "name": "lab", "seed": 5,
            "data": {"eval": {"kind": "folder", "path": "data"}},
            "targets": [{"id": "bright", "kind": "brightness", "scale": 100}],
            "attacks": [{"id": "pgd", "kind": "pgd", "eps": "16/255", "steps": 2}],
        }  # fmt: skip

    def pictures(self, label: str, means: Sequence[float], size: int = 32, prefix: str = "") -> None:
        """PNG files of noise around given means in [0, 255]."""
        folder = self.folder / "data" / label
        folder.mkdir(parents=True, exist_ok=True)
        for i, mean in enumerate(means):
            rng = np.random.default_rng([int(mean), i, size])
            levels = rng.integers(-20, 21, (size, size, 3))
            Image.fromarray((mean + levels).clip(0, 255).astype(np.uint8)).save(folder / f"{prefix}{i:03d}.png")

    def both(self, n: int = 4, size: int = 32, prefix: str = "") -> None:
        """n dark real ones and n bright fakes."""
        self.pictures("real", [100 + 2 * i for i in range(n)], size, prefix)
        self.pictures("fake", [140 + 2 * i for i in range(n)], size, prefix)

    def write(self, **changes: Any) -> Path:
        """s.yaml with some top-level keys changed."""
        self.content |= changes
        path = self.folder / "s.yaml"
        path.write_text(yaml.safe_dump(self.content, sort_keys=False))
        return path

    def begin(self, name: str = "run", **options: Any) -> RunDir:
        """A run directory as the command line makes it."""
        return opening.begin(self.folder / name, self.write(), asdict(Options(**options)))

    def plan(self, run_dir: RunDir) -> Plan:
        """Its plan, locked."""
        plan, _ = opening.reopen(run_dir)
        opening.lock(run_dir, plan)
        return plan

    def inline(self, name: str = "inline", order: Callable[[Plan], Sequence[Unit]] = Plan.execution_order, **options: Any) -> tuple[RunDir, Closing]:
        """A run computed in this process, units in any order."""
        run_dir = self.begin(name, **options)
        plan = self.plan(run_dir)
        executor = Executor(plan, run_dir)
        for unit in order(plan):
            executor.run(unit)
        return run_dir, finalise(plan, run_dir)

    def forked(self, run_dir: RunDir, watch: Watch = Watch(), workers: int = 1) -> Ended:
        """Coordinator here, workers in forked processes."""
        with run_dir.hold():
            return go(run_dir, watch, self.worker, workers=workers)

    @property
    def worker(self) -> type[Worker]:
        """A worker that is forked and not started."""
        return load_bench("forked").ForkedWorker

    @staticmethod
    def fork() -> int:
        """os.fork, without the warning that torch has threads."""
        return load_bench("forked").fork()


@pytest.fixture(scope="session")
def laboratory() -> type[Lab]:
    """For a fixture that lives longer than a test."""
    return Lab


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    """An empty laboratory."""
    return Lab(tmp_path)


@pytest.fixture
def small(lab: Lab) -> Lab:
    """Four real and four fake pictures of one size, and two of another: two shards."""
    lab.both(4)
    lab.both(1, size=40, prefix="big")
    return lab
