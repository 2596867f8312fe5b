"""A folder with pictures and a scenario, and the command line in this process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from click.testing import CliRunner, Result
from PIL import Image

from redteam.cli import main

FACTORY = """
import time

def build(pause=0.0):
    print("the factory prints")
    def score(x):
        time.sleep(pause)
        return x.mean((1, 2, 3)) * 40 - 20
    return score
"""


class Desk:
    """A working directory of a user."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.content: dict[str, Any] = {
            "schema": "redteam/v1", "name": "desk", "seed": 5,
            "data": {"eval": {"kind": "folder", "path": "data"}},
            "targets": [{"id": "mine", "kind": "python", "factory": "mine.py:build", "output": {"type": "logit"}}],
            "attacks": [{"id": "jpeg", "kind": "jpeg", "quality": {"sweep": [90, 50]}}, {"id": "blur", "kind": "blur"}],
        }  # fmt: skip
        (folder / "mine.py").write_text(FACTORY)
        rng = np.random.default_rng(0)
        for label, mean in (("real", 100), ("fake", 150)):
            (folder / "data" / label).mkdir(parents=True)
            for i, size in enumerate([32] * 4 + [40] * 4 + [48] * 4):
                Image.fromarray((mean + rng.integers(-20, 21, (size, size, 3))).astype(np.uint8)).save(folder / "data" / label / f"{i}.png")

    def scenario(self, **changes: Any) -> str:
        """s.yaml with some top-level keys changed."""
        self.content |= changes
        path = self.folder / "s.yaml"
        path.write_text(yaml.safe_dump(self.content, sort_keys=False))
        return str(path)

    def call(self, *arguments: object) -> Result:
        """`redteam ...`; a bug keeps its traceback."""
        result = CliRunner().invoke(main, [str(argument) for argument in arguments])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """A fresh one, to work in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return Desk(tmp_path)


@pytest.fixture
def quick(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """Workers are forked and not started."""
    import importlib.util
    import sys

    import redteam
    from redteam.run import session

    path = Path(redteam.__file__).resolve().parent.parent / "bench" / "forked.py"
    spec = importlib.util.spec_from_file_location("bench_forked", path)
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for function in (session.go, session.work):
        monkeypatch.setattr(function, "__defaults__", (function.__defaults__[0], module.ForkedWorker))
    return desk
