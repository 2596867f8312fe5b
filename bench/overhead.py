"""What `redteam run` costs beside a loop written by hand: PGD-20 on the reference detector, 256 images at 128 px.

    python bench/overhead.py              five interleaved runs of each, about ten minutes
    python bench/overhead.py --images 32 --runs 1

Both do: read PNG files, score the clean images twice (as they are, and again in another batch), the noise arm, 20 steps of PGD, rounding to 8 bits,
rescoring, PSNR, SSIM, L-infinity and L2 of the noise and the PGD arm, and every rate, mean and AUC with its interval. redteam also plans, keeps one file a unit and a
row an image, checks its flags, and writes the report with its pictures.

CPU time is user plus system time of all processes after start-up, one torch thread each. Start-up is what happens once however many images there
are: importing, planning and bringing up the worker (until it says that it is ready) on one side, importing on the other.
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

STEPS, EPS, BATCH, SIZE = 20, 2 / 255, 16, 128
SCENARIO = """
schema: redteam/v1
name: overhead
seed: 1
data: {eval: {kind: folder, path: data}}
targets: [{id: npr, kind: zoo/npr-tiny}]
attacks: [{id: pgd, kind: pgd, eps: 2/255, steps: 20}]
"""


def main() -> None:
    """Print one line a pair of runs, and the ratio of the medians."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--side", choices=["redteam", "loop"], help="internal: one run in this process")
    parser.add_argument("--folder", type=Path, help="internal: where the pictures are")
    options = parser.parse_args()
    if options.side:
        print(json.dumps({"redteam": with_redteam, "loop": by_hand}[options.side](options.folder)))
        return
    with tempfile.TemporaryDirectory() as name:
        write_inputs(Path(name), options.images)
        cpu: dict[str, list[float]] = {"redteam": [], "loop": []}
        for number in range(options.runs):
            for side, seconds in cpu.items():
                found = one(side, Path(name))
                seconds.append(found["cpu_s"])
                print(f"run {number + 1} {side:8} {found}", flush=True)
        ratio = statistics.median(cpu["redteam"]) / statistics.median(cpu["loop"])
        print(f"median of {options.runs}: redteam {statistics.median(cpu['redteam']):.2f} s, loop {statistics.median(cpu['loop']):.2f} s, ratio {ratio:.3f} (at most 1.05)")


def one(side: str, folder: Path) -> dict[str, float]:
    """One run in a process of its own."""
    command = [sys.executable, __file__, "--side", side, "--folder", str(folder)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    return json.loads(done.stdout.splitlines()[-1])


def write_inputs(folder: Path, images: int) -> None:
    """Camera scenes, and the same scenes after a detour over a smaller size: what they show cannot change what they cost."""
    from PIL import Image

    from redteam.data import camera

    for label in ("real", "fake"):
        (folder / "data" / label).mkdir(parents=True)
    for i in range(images // 2):
        scene = Image.fromarray(camera.render(1, i, SIZE))
        scene.save(folder / "data" / "real" / f"{i:04d}.png")
        scene.resize((SIZE // 2, SIZE // 2)).resize((SIZE, SIZE)).save(folder / "data" / "fake" / f"{i:04d}.png")
    (folder / "s.yaml").write_text(SCENARIO)


def with_redteam(folder: Path) -> dict[str, float]:
    """`redteam run`, its two processes watched: this one, and the worker by what it books in perf.jsonl."""
    from redteam.reports.write import write_reports
    from redteam.run import opening
    from redteam.run.child import Worker
    from redteam.run.session import go

    ready: list[float] = []

    class Watched(Worker):
        def news(self) -> list[dict[str, object]]:
            events = super().news()
            ready.extend(time.process_time() for event in events if event["event"] == "ready")
            return events

    run_dir = opening.begin(folder / f"run-{time.time_ns()}", folder / "s.yaml", {})
    with run_dir.hold():
        go(run_dir, start=Watched, workers=1)
        write_reports(run_dir.path)
    coordinator = time.process_time() - ready[0]
    worker = sum(json.loads(line)["cpu_s"] for line in (run_dir.path / "perf.jsonl").read_text().splitlines())
    return {"cpu_s": round(worker + coordinator, 3), "worker_s": round(worker, 3), "coordinator_s": round(coordinator, 3)}


def by_hand(folder: Path) -> dict[str, float]:
    """What somebody would write who needs this once and knows what to look at."""
    import numpy as np
    import torch
    from PIL import Image

    from redteam.measure import quality, statistics
    from redteam.zoo.npr_tiny import NPRTiny

    start = time.process_time()
    torch.manual_seed(0)
    model = NPRTiny.load()
    paths = sorted((folder / "data").glob("*/*.png"))
    rows: dict[str, list[dict[str, float]]] = {"clean": [], "noise": [], "pgd": []}

    def keep(arm: str, batch: list[Path], labels: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> None:
        with torch.no_grad():
            scores = model(y)
        columns = {"score": scores, "label": labels}
        if arm != "clean":
            columns |= {"psnr": quality.psnr(x, y), "ssim": quality.ssim(x, y), "linf": quality.linf(x, y), "l2": quality.l2(x, y)}
        lists = {name: column.tolist() for name, column in columns.items()}
        rows[arm] += [{"id": path.stem, **{name: values[i] for name, values in lists.items()}} for i, path in enumerate(batch)]

    for first in range(0, len(paths), BATCH):
        batch = paths[first : first + BATCH]
        x = torch.from_numpy(np.stack([np.asarray(Image.open(path)) for path in batch])).permute(0, 3, 1, 2).float().div(255)
        labels = torch.tensor([int(path.parent.name == "fake") for path in batch])
        sign = (2 * labels - 1).float()
        with torch.no_grad():
            torch.cat([model(x[: BATCH // 2]), model(x[BATCH // 2 :])])
        keep("clean", batch, labels, x, x)
        noisy = (x + EPS * torch.randint_like(x, 2).mul(2).sub(1)).clamp(0, 1)
        keep("noise", batch, labels, x, to_8_bits(noisy, x))
        adv = (x + EPS * torch.rand_like(x).mul(2).sub(1)).clamp(0, 1)
        for _ in range(STEPS):
            adv.requires_grad_(True)
            grad = torch.autograd.grad((model(adv) * sign).sum(), adv)[0]
            adv = (adv.detach() - EPS / 4 * grad.sign()).clamp(x - EPS, x + EPS).clamp(0, 1)
        keep("pgd", batch, labels, x, to_8_bits(adv, x))

    for arm, found in rows.items():
        groups, scores = [row["id"] for row in found], np.array([row["score"] for row in found])
        truth = np.array([row["label"] for row in found])
        right_before = np.array([(row["score"] > 0) == row["label"] for row in rows["clean"]])
        wrong = (scores > 0) != truth
        for counted in ((truth == 1) & right_before, (truth == 0) & right_before, truth >= 0, truth == 1, truth == 0):
            if counted.sum() >= statistics.FEWEST_GROUPS:
                statistics.clustered_rate(wrong[counted].astype(float), [group for group, kept in zip(groups, counted, strict=True) if kept])
        statistics.bootstrap_auc(scores, truth, groups, seed=0)
        for name in ("psnr", "ssim", "linf", "l2"):
            if arm != "clean":
                statistics.bootstrap_mean([row[name] for row in found], groups, seed=0)
        (folder / f"{arm}.json").write_text(json.dumps(found))
    return {"cpu_s": round(time.process_time() - start, 3)}


def to_8_bits(adv, x):  # noqa: ANN001, ANN201 - torch is imported late
    """Rounded toward the clean image, as a file would hold it."""
    levels, clean = adv * 255, (x * 255).round()
    return (clean + (levels - clean).trunc()).clamp(0, 255) / 255


if __name__ == "__main__":
    main()
