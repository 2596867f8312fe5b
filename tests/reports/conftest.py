"""Synthetic run directories: every file that a run leaves behind, with figures that follow from a seed."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from redteam.measure.statistics import wilson
from redteam.record import Record, rid

Json = dict[str, Any]
PGD, JPEG = (1, 2, 4), (95, 85, 75, 60)


def share(value: float, n: int) -> Json:
    k = round(value * n)
    e = wilson(k, n)
    return {"value": e.value, "low": e.low, "high": e.high, "n": n}


def mean(value: float, spread: float, n: int) -> Json:
    return {"value": value, "low": value - spread, "high": value + spread, "n": n}


def metrics(harm: float, accused: float, n: int) -> Json:
    half = n // 2
    return {
        "attack_success_rate": share(harm, half - 4),
        "frame_rate": share(accused, half - 3),
        "robust_accuracy": share(0.96 - 0.45 * harm - 0.4 * accused, n),
        "tpr": share(0.95 * (1 - harm), half),
        "fpr": share(0.03 + 0.9 * accused, half),
        "auc": mean(0.985 - 0.6 * harm, 0.012, n),
        "psnr_db": mean(41.0 - 6 * harm, 0.4, n),
        "ssim": mean(0.985 - 0.1 * harm, 0.004, n),
        "linf_levels": mean(1 + 3 * harm, 0.1, n),
        "l2": mean(0.9 + harm, 0.05, n),
        "queries": mean(40.0, 0.0, n),
    }


def cell(place: tuple[str, str, str], attack: str, **fields: Any) -> Json:
    data, target, defense = place
    strength = fields.get("strength", {})
    key = "-".join([data, target, defense, attack, *(f"{v:.4g}" for v in strength.values()), str(fields.get("eps") or "")])
    base = {"key": key, "data": data, "target": target, "defense": defense, "attack": attack, "goal": "evade+frame", "strength": strength, "repeat": 0, "kind": attack}
    base |= {"params": {}, "norm": None, "eps": None, "control": False, "controls": [], "family": "test", "source": "test", "needs": "none", "tier": "sample"}
    base |= {"n": 192, "errors": 0, "unscoreable": 0, "verdict": "valid", "flags": [], "metrics": {}, "absent": {}}
    return base | fields


def block(place: tuple[str, str, str], ease: float, n: int = 192) -> list[Json]:
    identity = cell(place, "identity", control=True, metrics=metrics(0.0, 0.0, n), n=n)
    for name in ("psnr_db", "ssim", "attack_success_rate", "frame_rate", "queries"):
        identity["metrics"].pop(name)
    identity["metrics"]["linf_levels"] = {"value": 0.0, "low": 0.0, "high": 0.0, "n": n}
    identity["absent"] = {"psnr_db": "no image changed", "ssim": "no image changed"}
    cells = [identity]
    for levels in PGD:
        eps = levels / 255
        arm = cell(place, "noise", control=True, norm="linf", eps=eps, metrics=metrics(0.004 * levels, 0.003 * levels, n), n=n)
        harm = min(0.97, ease * (0.25 + 0.22 * levels))
        attacked = {"norm": "linf", "eps": eps, "strength": {"eps": eps}, "needs": "gradients", "controls": [identity["key"], arm["key"]], "n": n}
        cells += [arm, cell(place, "pgd", metrics=metrics(harm, 0.55 * harm, n), **attacked)]
    for quality in JPEG:
        harm = ease * (100 - quality) / 260
        cells.append(cell(place, "jpeg", strength={"quality": quality}, controls=[identity["key"]], metrics=metrics(harm, 0.2 * harm, n), n=n))
    return cells


def worst(place: tuple[str, str, str], cells: list[Json]) -> list[Json]:
    data, target, defense = place
    base = {"data": data, "target": target, "defense": defense, "goal": "evade+frame", "absent": {}}
    named = ("robust_accuracy", "attack_success_rate", "frame_rate")
    pgd, jpeg = [[c for c in cells if c["attack"] == name] for name in ("pgd", "jpeg")]
    rows = [{**base, "norm": "linf", "eps": c["eps"], "attacks": [f"pgd eps={k / 255:.4g}" for k in PGD if k / 255 <= c["eps"]], "metrics": {m: c["metrics"][m] for m in named if m in c["metrics"]}} for c in pgd]
    last = {m: jpeg[-1]["metrics"][m] for m in named if m in jpeg[-1]["metrics"]} if jpeg else {}
    return [*rows, {**base, "norm": "unbounded", "eps": None, "attacks": [f"jpeg quality={q}" for q in JPEG], "metrics": last}]


def by_scene(cells: list[Json]) -> None:
    for c in cells:
        c["by_group"] = {scene: {m: {"value": round(v["value"] * 8) / 8, "n": 8} for m, v in c["metrics"].items() if m in ("attack_success_rate", "frame_rate", "robust_accuracy")} for scene in ("chelsea", "coffee", "flower")}
        c["metrics"], c["verdict"] = {}, "unresolvable"
        c["absent"] = {m: "3 groups, fewer than 10" for m in ("attack_success_rate", "frame_rate", "robust_accuracy", "auc", "psnr_db", "ssim", "queries")}


def summary() -> Json:
    """Three targets: one valid throughout, one with an invalid and an upper-bound cell, one measured on three photographs only."""
    places = [("camera", "npr", "none"), ("camera", "npr", "jpeg75"), ("camera", "mine", "none"), ("photos", "npr", "none")]
    made = [block(place, ease) for place, ease in zip(places, (1.0, 0.55, 0.1, 0.7), strict=True)]
    for attacked in [c for c in made[2] if c["attack"] == "pgd"]:
        attacked["verdict"], attacked["flags"] = "invalid", [{"id": "R2", "severity": "invalid", "detail": "The gradient was zero on 96 of 96 images where the attack began."}]
    bound = made[1][2]
    bound["verdict"], bound["flags"] = "upper_bound", [{"id": "R8", "severity": "upper_bound", "detail": "The loss still fell by 12 % of its range in the last 10 steps."}]
    bound["unscoreable"], bound["errors"] = 2, 1
    made[1][-1]["metrics"].pop("auc")
    made[1][-1]["absent"]["auc"] = "scores take only 2 values"
    made[1][-1]["flags"] = [{"id": "R19", "severity": "note", "detail": "The target gives 2 distinct scores."}]
    by_scene(made[3])
    return {
        "schema": "redteam.summary/1", "scenario": "npr-evasion", "seed": 20261120, "status": "complete", "missing_units": 0,
        "data": [{"id": "camera", "kind": "camera", "n": 192, "label_1": 96, "label_0": 96, "groups": 96, "per_group": False}, {"id": "photos", "kind": "photos", "n": 24, "label_1": 12, "label_0": 12, "groups": 3, "per_group": True}],
        "targets": [{"id": "npr", "kind": "zoo/npr-tiny", "access": "gradients", "reference": True, "notes": ["neighbouring pixel relations"]}, {"id": "mine", "kind": "python", "access": "gradients", "reference": False, "notes": []}],
        "thresholds": [{"target": "npr", "defense": "none", "value": -0.31, "how": "at_fpr", "negatives": 400}, {"target": "mine", "defense": "none", "value": 0.0, "how": "fixed", "negatives": None}],
        "defenses": [{"id": "none", "kind": "none", "backward": "exact", "params": {}}, {"id": "jpeg75", "kind": "jpeg", "backward": "straight_through", "params": {"quality": 75}}],
        "file": {"format": "png", "quality": 95},
        "cells": [c for cells in made for c in cells],
        "worst_case": [w for place, cells in zip(places, made, strict=True) for w in worst(place, cells)],
    }  # fmt: skip


def gates() -> Json:
    def one(name: str, verdict: str, detail: str, **fields: Any) -> Json:
        base = {"id": name, "metric": "attack_success_rate", "where": {"attack": "pgd", "eps": 4 / 255}, "require": "<= 0.40", "on": "ci_upper", "min_n": 200, "verdict": verdict, "detail": detail, "cells": []}
        return base | fields

    failed = [{"key": "k", "label": "npr pgd eps=0.01569", "value": 0.97, "low": 0.91, "high": 0.99, "n": 92, "verdict": "fail", "detail": "0.99 is above 0.40"}]
    return {
        "schema": "redteam.gates/1",
        "gates": [
            one("clean", "pass", "0.92 is at least 0.90.", metric="robust_accuracy", where={"attack": "identity"}, require=">= 0.90", on="ci_lower", min_n=None),
            one("linf4", "fail", "1 of 1 cell fails.", cells=failed),
            one("jpeg", "inconclusive", "n = 92 is below min_n = 200.", where={"attack": "jpeg", "quality": [60, 75]}),
            one("mine4", "invalid", "The cell is invalid (R2).", where={"target": "mine", "attack": "pgd", "eps": 4 / 255}),
        ],
    }


def many_rows(told: Json, images: int = 40) -> list[Record]:
    """Every cell but those of the photographs with so many images, two of a scene; an attack shifts each score against its class."""
    rows: list[Record] = []
    rng = np.random.default_rng(8)
    clean = rng.normal(0, 1.5, images) + np.where(np.arange(images) % 2, 3.0, -3.0)
    for c in [c for c in told["cells"] if c["data"] == "camera"]:
        harm = (0.0 if c["control"] else 1.0) * (c["eps"] * 255 * 2 if c["eps"] else (100 - c["strength"].get("quality", 100)) / 20)
        for i, score in enumerate(clean):
            label, was = i % 2, int(score > 0)
            after = float(score - (2 * label - 1) * harm * rng.uniform(0.5, 1.5))
            psnr = {"psnr_db": 50.0 - 2 * harm + float(rng.normal()), "ssim": 0.99 - 0.01 * harm}
            told_of = {"score": after, "decision": int(after > 0), "attackable": was == label, "success": was == label and (after > 0) != label, "clean_decision": was}
            row = record(c, f"scene-{i // 2}-{label}", label, {}, **told_of)
            rows.append(replace(row, group=f"scene-{i // 2}", quality=psnr if harm else {"psnr_db": None, "ssim": 1.0}, nonfinite={} if harm else {"quality.psnr_db": "+inf"}, valid=True))
    return rows


def record(c: Json, image: str, label: int, artifacts: dict[str, str], **outcome: Any) -> Record:
    told = {"score": -0.42, "threshold": 0.0, "decision": 0, "clean_decision": label, "attackable": True, "success": label == 1, **outcome}
    identity = next_identity(c)
    return Record(
        rid=rid(c["key"], image), cell=c["key"], data=c["data"], target=c["target"], defense=c["defense"], attack=c["attack"], strength=c["strength"], repeat=0, id=image,
        sha256="0" * 64, label=label, group=image, height=128, width=128, goal="evade" if label else "frame", clean_rid=rid(identity, image), outcome=told,
        quality={"psnr_db": 38.2, "ssim": 0.98}, artifacts=artifacts,
    )  # fmt: skip


def next_identity(c: Json) -> str:
    return "-".join([c["data"], c["target"], c["defense"], "identity", ""])


def scene(seed: int, side: int = 128) -> np.ndarray:
    """(side, side, 3) uint8 that looks a little like a photograph: overlapping leaves, a gradient, grain."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] / side
    pixels = np.stack([120 + 60 * x, 130 + 40 * y, 110 + 50 * (1 - x)], -1)
    for _ in range(40):
        cx, cy, r = rng.random(), rng.random(), 0.03 + 0.15 * rng.random() ** 2
        pixels[(x - cx) ** 2 + (y - cy) ** 2 < r * r] = rng.integers(20, 235, 3)
    return np.clip(pixels + rng.normal(0, 3, pixels.shape), 0, 255).astype(np.uint8)


def write_images(run: Path, name: str, seed: int, side: int = 128) -> dict[str, str]:
    folder = run / "artifacts"
    folder.mkdir(parents=True, exist_ok=True)
    before = scene(seed, side)
    signs = np.random.default_rng(seed).choice([-4, 4], before.shape)
    Image.fromarray(before).save(folder / f"{name}-before.png")
    Image.fromarray(np.clip(before.astype(int) + signs, 0, 255).astype(np.uint8)).save(folder / f"{name}-after.png")
    return {"before": f"artifacts/{name}-before.png", "after": f"artifacts/{name}-after.png"}


@pytest.fixture
def parts() -> tuple[Json, Json]:
    """A fresh summary and fresh gates, to be changed by a test before they are written."""
    return summary(), gates()


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Path]:
    """Writes a run directory; `told` replaces the summary, `judged` the gates, `rows` the records."""
    return partial(write_run, tmp_path / "run")


@pytest.fixture(scope="session")
def full_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run directory whose cells have forty images each, so that nothing is left out for want of them; only to be read."""
    run, told = tmp_path_factory.mktemp("full") / "run", summary()
    run.mkdir()
    return write_run(run, told, rows=[*example_rows(run, told)[2:], *many_rows(told)])


def write_run(run: Path, told: Json | None = None, judged: Json | None = None, rows: list[Record] | None = None) -> Path:
    run.mkdir(exist_ok=True)
    told, judged = told or summary(), judged or gates()
    dump(run / "summary.json", told)
    dump(run / "gates.json", judged)
    dump(run / "run.json", {"id": "npr-evasion-1", "status": "complete", "scenario": "npr-evasion", "redteam": "0.1.0", "started": "2026-11-20T22:11:00Z", "elapsed_s": 754.2, "command": "redteam run scenario.yaml --limit 192"})
    dump(run / "env.json", {"python": "3.11.9", "packages": {"numpy": "2.4.6", "torch": "2.9.0"}, "torch": {"version": "2.9.0", "threads": 2, "device": "cpu"}, "codecs": {"libjpeg-turbo": "3.1.0"}, "platform": {"system": "Linux"}, "git": None})
    dump(run / "scenario.lock.json", {"schema": "redteam.lock/1"})
    with open(run / "results.jsonl", "w", encoding="utf-8") as lines:
        lines.writelines(f"{row.to_json()}\n" for row in (example_rows(run, told) if rows is None else rows))
    return run


def example_rows(run: Path, told: Json) -> list[Record]:
    rows: list[Record] = []
    for i, c in enumerate(told["cells"][:5]):
        if c["attack"] == "identity":
            rows += [record(c, f"scene-{label}", label, {}, score=2.31 * (2 * label - 1)) for label in (1, 0)]
        elif not c["control"]:
            rows += [record(c, f"scene-{label}", label, write_images(run, f"{i}-{label}", 2 * i + label)) for label in (1, 0)]
    return rows


def dump(path: Path, value: Json) -> None:
    path.write_text(json.dumps(value, allow_nan=False), encoding="utf-8")
