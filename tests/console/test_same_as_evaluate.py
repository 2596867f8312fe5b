"""redteam.evaluate and redteam run are one: the same images, model and seed give the same rows."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
from PIL import Image

import redteam
from redteam.record import read_records

NET = """
import torch
from torch import nn

def build():
    generator = torch.Generator().manual_seed(3)
    net = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 1), nn.Sigmoid())
    for parameter in net.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator) * 0.5
    return net
"""
ATTACKS = [{"id": "pgd", "kind": "pgd", "eps": "8/255", "steps": 3}, {"id": "jpeg", "kind": "jpeg", "quality": {"sweep": [90, 50]}}]
INPUT = {"mean": [0.4, 0.4, 0.4], "std": [0.2, 0.2, 0.2]}


@pytest.fixture
def both(quick, monkeypatch):
    """Records of the command line and of the call, and the two summaries."""
    Path("net.py").write_text(NET)
    target = {"id": "model", "kind": "python", "factory": "net.py:build", "input": INPUT, "output": {"type": "prob"}, "threshold": {"at_fpr": 0.25, "on": "calib"}}
    for label in ("real", "fake"):
        Path("more", label).mkdir(parents=True)
        for i in range(8, 12):
            Path(f"data/{label}/{i}.png").rename(f"more/{label}/{i}.png")
    data = {"eval": {"kind": "folder", "path": "data"}, "calib": {"kind": "folder", "path": "more"}}
    result = quick.call("run", quick.scenario(data=data, targets=[target], attacks=ATTACKS, seed=11), "-o", "r", "--json")
    assert result.exit_code == 0, result.stderr
    spec = importlib.util.spec_from_file_location("net", "net.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    paths, calib = (sorted(str(path.relative_to(folder)) for path in Path(folder).rglob("*.png")) for folder in ("data", "more"))
    labels = [int(path.startswith("fake")) for path in paths]
    found = redteam.evaluate(
        module.build(), [Image.open(f"data/{path}") for path in paths], labels, ATTACKS, ids=paths, groups=[f"real/{Path(path).name}" for path in paths], input=INPUT, output="prob", seed=11,
        threshold={"at_fpr": 0.25}, calib=([f"more/{path}" for path in calib], [int(path.startswith("fake")) for path in calib]),
    )  # fmt: skip
    return list(read_records(Path("r/results.jsonl"))), found.records, json.loads(result.stdout)["summary"], found.summary


def test_every_row_has_the_same_score_success_quality_and_cost(both):
    run, called, _, _ = both
    key = {(row.attack, tuple(row.strength.items()), row.id): row for row in called}
    assert len(run) == len(called) == len(key) == 5 * 16
    for row in run:
        other = key[row.attack, tuple(row.strength.items()), row.id]
        for name in ("outcome", "quality", "cost", "valid", "sha256", "label", "determinism", "warnings", "status"):
            assert getattr(row, name) == getattr(other, name), (row.attack, row.id, name)


def test_every_figure_is_the_same(both):
    _, _, run, called = both
    for one, other in zip(run["cells"], called["cells"], strict=True):
        assert (one["label"], one["n"], one["verdict"], one["flags"]) == (other["label"], other["n"], other["verdict"], other["flags"])
        shares = {name: figure["value"] for name, figure in one["metrics"].items()}
        assert shares == {name: figure["value"] for name, figure in other["metrics"].items()}
    assert run["thresholds"] == [{**called["thresholds"][0]}]
