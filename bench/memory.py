"""Peak memory of `redteam run` at 4,096 images beside 256: nothing may hold the whole set.

    python bench/memory.py

Pictures of 64 x 64 px, the brightness detector (no network, so that nothing hides growth), JPEG and one step of PGD with its control arms. Peak memory is
the largest resident set (VmHWM) of the coordinator plus that of its one worker; both are printed, and how much each grows. What forks the
worker does nothing once it has, and shares most of its memory with it.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

SIZE = 64
SCENARIO = """
schema: redteam/v1
name: memory
seed: 1
data: {eval: {kind: folder, path: data}}
targets: [{id: bright, kind: brightness}]
attacks: [{id: pgd, kind: pgd, eps: 8/255, steps: 1}, {id: jpeg, kind: jpeg, quality: 70}]
"""


def main() -> None:
    """Print both peaks and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--small", type=int, default=256)
    parser.add_argument("--large", type=int, default=4096)
    options = parser.parse_args()
    peaks = [peak(images) for images in (options.small, options.large)]
    for name in ("coordinator", "worker"):
        print(f"{name:11} {peaks[0][name]:7.1f} -> {peaks[1][name]:7.1f} MiB, ratio {peaks[1][name] / peaks[0][name]:.3f}")
    before, after = (sum(found.values()) for found in peaks)
    print(f"{options.small} images {before:.1f} MiB, {options.large} images {after:.1f} MiB, ratio {after / before:.3f} (at most 1.1)")


def peak(images: int) -> dict[str, float]:
    """Peak resident memory of both processes in MiB."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_inputs(folder, images)
        process = subprocess.Popen([sys.executable, "-m", "redteam", "run", "s.yaml", "-o", "r", "--workers", "1"], cwd=folder, stdout=subprocess.DEVNULL, env=os.environ | {"OMP_NUM_THREADS": "1"})
        found = {"coordinator": 0.0, "worker": 0.0}
        while process.poll() is None:
            found["coordinator"] = max(found["coordinator"], high_water(process.pid))
            found["worker"] = max([found["worker"], *map(high_water, workers(process.pid))])
            time.sleep(0.02)
    if process.returncode != 0:
        raise SystemExit(f"redteam run ended with exit status {process.returncode}")
    return found


def high_water(pid: int) -> float:
    """VmHWM of a process in MiB; 0 where it is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), 0.0)


def workers(pid: int) -> list[int]:
    """The processes that were forked by what a process started."""
    return [other for child in children(pid) for other in children(child)]


def children(pid: int) -> list[int]:
    """The processes that a process started."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def write_inputs(folder: Path, images: int) -> None:
    """Half dark and real, half bright and fake."""
    rng = np.random.default_rng(0)
    for label, mean in (("real", 110), ("fake", 145)):
        (folder / "data" / label).mkdir(parents=True)
        for i in range(images // 2):
            levels = mean + rng.integers(-20, 21, (SIZE, SIZE, 3)) + rng.integers(-8, 9)
            Image.fromarray(levels.clip(0, 255).astype(np.uint8)).save(folder / "data" / label / f"{i:05d}.png")
    (folder / "s.yaml").write_text(SCENARIO)


if __name__ == "__main__":
    main()
