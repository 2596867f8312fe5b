"""Throughput of two workers over that of one, on the heaviest cell of the quickstart: PGD inside an L-infinity ball on the camera scenes.

    python bench/workers.py                 512 images, about six minutes on two free cores
    python bench/workers.py --images 64 --runs 1

Each run is `redteam run` with one thread a worker. The clock starts when the target is prepared (the threshold is set on calibration images by one
worker, before anything can be attacked) and stops when the last unit is there; so it holds the reading of the images by each worker, the clean and
the noise arm, PGD and every file. Runs of one and of two workers alternate. That both give the same bytes is checked too.

Wall time needs free cores: look at the load first. The CPU time of the workers, printed beside it, shows what a second worker costs.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

WANTED = 1.8
SCENARIO = """
schema: redteam/v1
name: workers
seed: 20261120
data:
  eval: {{kind: camera, seed: 1, size: 128, limit: {images}, forge: {{regenerate: {{model: zoo/vae-tiny}}}}}}
  calib: {{kind: camera, seed: 2, size: 128, limit: 32}}
targets: [{{id: npr, kind: zoo/npr-tiny, threshold: {{at_fpr: 0.05, on: calib}}}}]
attacks: [{{id: pgd, kind: pgd, eps: 4/255, steps: 8}}]
"""


def main() -> None:
    """Print one line a run, and the ratio of the medians; exit status 1 where the bytes differ."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--one", type=int, metavar="WORKERS", help="internal: one run in this process")
    parser.add_argument("--folder", type=Path, help="internal: where the scenario is")
    options = parser.parse_args()
    if options.one:
        print(json.dumps(with_workers(options.folder, options.one)))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "s.yaml").write_text(SCENARIO.format(images=options.images))
        found: dict[int, list[float]] = {1: [], 2: []}
        for number in range(options.runs):
            for workers, rates in found.items():
                run = one(folder, workers)
                rates.append(run["images_per_s"])
                print(f"run {number + 1}, {workers} workers: {run}", flush=True)
        if len({path.read_bytes() for path in folder.glob("*/results.jsonl")}) != 1:
            sys.exit("one and two workers gave different bytes")
        ratio = statistics.median(found[2]) / statistics.median(found[1])
        print(f"median of {options.runs}: two workers {ratio:.2f} times the throughput of one (at least {WANTED}), {len(os.sched_getaffinity(0))} cores, load {os.getloadavg()[1]:.1f}")


def one(folder: Path, workers: int) -> dict[str, float]:
    """One run in a process of its own."""
    command = [sys.executable, __file__, "--one", str(workers), "--folder", str(folder)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def with_workers(folder: Path, workers: int) -> dict[str, float]:
    """Attacked images a second from the end of the preparation to the last unit."""
    from redteam.run import opening
    from redteam.run.session import Watch, go

    times: dict[int, float] = {}  # units done -> when
    run_dir = opening.begin(folder / f"run-{time.time_ns()}", folder / "s.yaml", {})
    with run_dir.hold():
        ended = go(run_dir, Watch(progress=lambda step: times.setdefault(step.done, time.monotonic())), workers=workers)
    images = sum(cell["n"] for cell in ended.closing.summary["cells"] if cell["attack"] == "pgd")
    busy = sum(json.loads(line)["cpu_s"] for line in (run_dir.path / "perf.jsonl").read_text().splitlines())
    return {"images_per_s": round(images / (times[max(times)] - times[1]), 3), "wall_s": round(times[max(times)] - times[1], 2), "workers_cpu_s": round(busy, 2)}


if __name__ == "__main__":
    main()
