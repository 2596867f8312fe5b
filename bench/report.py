"""Seconds and megabytes of the reports of 10,000 records.

    python bench/report.py

A made-up run: five places (corpus, target and defense) with 25 cells of 80 images each, sweeps in two norms and without a budget, control arms, pictures
before and after of one fake and one real image a cell. Summary and worst cases are computed by the engine's own measures. Seconds are CPU seconds of this
process from the first import of the reports on, the smallest of three runs; megabytes are those of report.html.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from redteam.protocols.detection_metrics import figures
from redteam.protocols.worst_case import WorstCase
from redteam.record import Cell, Record, rid

PLACES = (("camera", "npr", "none"), ("camera", "npr", "jpeg80"), ("camera", "freq", "none"), ("camera", "freq", "jpeg80"), ("camera-iso", "npr", "none"))
LEVELS = (0.5, 1, 2, 3, 4, 8)
SIZE = 128


def main() -> None:
    """Make the run, write its reports three times, print what they cost."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--images", type=int, default=80, help="images a cell")
    parser.add_argument("--keep", type=Path, help="a new folder for the run, instead of one that is removed")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        run = options.keep or Path(name) / "run"
        rows = make_run(run, options.images)
        seconds = {name: min(timed(run, name) for _ in range(3)) for name in ("html", "md", "csv", "junit")}
        size = (run / "report.html").stat().st_size / 1e6
    print(f"{rows} records: " + ", ".join(f"{name} {took:.2f} s" for name, took in seconds.items()))
    print(f"all {sum(seconds.values()):.2f} s of CPU (below 5), report.html {size:.2f} MB (below 5)")


def timed(run: Path, name: str) -> float:
    """CPU seconds of one format."""
    start = time.process_time()
    from redteam.reports import write_reports

    write_reports(run, (name,))
    return time.process_time() - start


def make_run(run: Path, images: int) -> int:
    """A run directory with every file that the reports read -> how many records it has."""
    (run / "artifacts").mkdir(parents=True)
    rng, worst, found, count = np.random.default_rng(1), WorstCase(), [], 0
    with open(run / "results.jsonl", "w", encoding="utf-8") as lines:
        for place in PLACES:
            clean = rng.normal(0, 1.5, images) + np.where(np.arange(images) % 2, 4.0, -4.0)
            for cell, harm in cells(place):
                rows = list(records(run, cell, clean, harm, rng))
                lines.writelines(f"{row.to_json()}\n" for row in rows)
                worst.add(cell, rows)
                found.append(described(cell, rows))
                count += len(rows)
    write(run / "summary.json", summary(found, list(worst.rows()), images))
    write(run / "gates.json", {"schema": "redteam.gates/1", "gates": []})
    for name in ("run", "env", "scenario.lock"):
        write(run / f"{name}.json", {})
    return count


def cells(place: tuple[str, str, str]) -> Iterator[tuple[Cell, float]]:
    """25 cells of one place with how far each shifts a score against its class."""
    data, target, defense = place
    same: dict[str, Any] = {"data": data, "target": target, "defense": defense, "goal": "evade+frame"}
    identity = Cell(**same, attack="identity", kind="identity", control=True)
    yield identity, 0.0
    for level in LEVELS:
        eps = level / 255
        noise = Cell(**same, attack="noise", kind="noise", params={"eps": eps}, norm="linf", eps=eps, control=True)
        yield noise, 0.1 * level
        for name, harm in (("pgd", 3.0), ("square", 1.2)):
            yield Cell(**same, attack=name, kind=name, strength={"eps": eps}, params={"eps": eps}, norm="linf", eps=eps, controls=(identity.key, noise.key)), harm * level
    for name, axis, strengths in (("jpeg", "quality", (95, 80, 60)), ("blur", "sigma", (0.5, 1.0, 2.0))):
        for i, strength in enumerate(strengths):
            yield Cell(**same, attack=name, kind=name, strength={axis: strength}, params={axis: strength}, controls=(identity.key,)), 1.5 * i


def records(run: Path, cell: Cell, clean: np.ndarray, harm: float, rng: np.random.Generator) -> Iterator[Record]:
    """The rows of a cell: a shift of the clean score with some spread, PSNR by strength."""
    identity = Cell(data=cell.data, target=cell.target, defense=cell.defense, goal=cell.goal, attack="identity", kind="identity", control=True).key
    for i, score in enumerate(clean):
        label, name = i % 2, f"{i // 2:05d}-{'regenerate' if i % 2 else 'real'}"
        after = float(score - (2 * label - 1) * harm * rng.uniform(0.5, 1.5)) if harm else float(score)
        was, decision = int(score > 0), int(after > 0)
        attacked = {} if cell.attack == "identity" else {"clean_decision": was, "success": was == label and decision != label}
        psnr = {"psnr_db": 52.0 - 1.5 * harm + float(rng.normal()) if harm else None}
        quality = psnr | {"ssim": 0.99 - 0.02 * harm, "linf_levels": harm, "l2": harm}
        yield Record(
            rid=rid(cell.key, name), cell=cell.key, data=cell.data, target=cell.target, defense=cell.defense, attack=cell.attack, strength=cell.strength, repeat=0,
            id=name, sha256="0" * 64, label=label, group=f"scene-{i // 2}", height=SIZE, width=SIZE, goal="evade" if label else "frame", clean_rid=rid(identity, name), valid=True,
            outcome={"score": after, "threshold": 0.0, "decision": decision, "attackable": was == label} | attacked, quality=quality,
            nonfinite={} if harm else {"quality.psnr_db": "+inf"}, cost={"queries": 20}, determinism={"tier": "sample", "seed": i},
            artifacts=pictures(run, cell, i, rng) if i < 2 and not cell.control else {},
        )  # fmt: skip


def pictures(run: Path, cell: Cell, seed: int, rng: np.random.Generator) -> dict[str, str]:
    """A smooth scene with camera noise, and the same with signs of a few levels added."""
    y, x = np.mgrid[:SIZE, :SIZE] / SIZE
    waves = np.stack([np.sin(9 * x * (seed + 1) + c) + np.cos(7 * y + c * seed) for c in range(3)], -1)
    before = np.clip(128 + 50 * waves + rng.normal(0, 3, waves.shape), 0, 255).astype(np.uint8)
    after = np.clip(before.astype(int) + rng.choice([-2, 2], before.shape), 0, 255).astype(np.uint8)
    files = {}
    for role, pixels in (("before", before), ("after", after)):
        files[role] = f"artifacts/{cell.key}-{seed}-{role}.png"
        Image.fromarray(pixels).save(run / files[role])
    return files


def described(cell: Cell, rows: list[Record]) -> dict[str, Any]:
    """A cell of the summary."""
    found = figures(rows, seed=1)
    said = {"key": cell.key, "label": cell.label, "controls": list(cell.controls), "needs": "gradients" if cell.attack == "pgd" else "none", "n": len(rows)}
    said |= {"errors": 0, "unscoreable": 0}
    return asdict(cell) | said | {"verdict": "valid", "flags": [], "metrics": found.metrics, "absent": found.absent, "by_group": found.by_group}


def summary(found: list[dict[str, Any]], worst: list[dict[str, Any]], images: int) -> dict[str, Any]:
    """What stands in summary.json."""
    halves = {"n": images, "label_1": images // 2, "label_0": images - images // 2, "groups": images // 2, "per_group": False}
    return {
        "schema": "redteam.summary/1", "scenario": "bench", "seed": 1, "status": "complete", "missing_units": 0, "file": {"format": "png"},
        "data": [{"id": name, "kind": "camera", **halves} for name in dict.fromkeys(place[0] for place in PLACES)],
        "targets": [{"id": name, "kind": "python", "access": "gradients", "reference": False, "notes": []} for name in dict.fromkeys(place[1] for place in PLACES)],
        "thresholds": [], "defenses": [{"id": "none", "kind": "none", "params": {}}, {"id": "jpeg80", "kind": "jpeg", "params": {"quality": 80}}],
        "cells": found, "worst_case": worst,
    }  # fmt: skip


def write(path: Path, value: Any) -> None:
    """Strict JSON."""
    path.write_text(json.dumps(value, allow_nan=False), encoding="utf-8")


if __name__ == "__main__":
    main()
