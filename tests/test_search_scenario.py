"""The shipped search scenario, small: searched on images of its own, evaluated on others, and told in the report."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest

import redteam.scenarios
from redteam.reports.directory import read_run
from redteam.reports.html import page
from redteam.reports.search import searches
from redteam.run import opening
from redteam.run.executing import Executor
from redteam.run.finalising import finalise
from redteam.scenario.plan import Options

SHIPPED = Path(redteam.scenarios.__file__).parent / "search.yaml"
SMALL = (
    "data.eval.camera.size=48", "data.calib.camera-calib.size=48", "data.calib.camera-calib.limit=8", "data.train.camera-train.size=48", "data.train.camera-train.limit=16",
    "attacks.accuse.images=16", "attacks.accuse.queries=150", "attacks.accuse.chains=20", "attacks.pass.images=16", "attacks.pass.queries=150", "attacks.pass.chains=20",
    "attacks.optimised.images=8", "attacks.optimised.queries=300", "attacks.optimised.chains=20", "attacks.pgd.steps=2",
)  # fmt: skip


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    """Twenty-four images of 48 x 48, computed in this process."""
    run_dir = opening.begin(tmp_path_factory.mktemp("search") / "run", SHIPPED, asdict(Options(limit=24, sets=SMALL)))
    plan, _ = opening.reopen(run_dir)
    opening.lock(run_dir, plan)
    executor = Executor(plan, run_dir)
    for unit in plan.execution_order():
        executor.run(unit)
    assert finalise(plan, run_dir).missing == 0
    return run_dir


def test_each_search_kept_to_its_budget_and_its_floor(run_dir):
    cells = {cell["attack"]: cell for cell in run_dir.read_json("summary.json")["cells"] if "findings" in cell}
    assert list(cells) == ["accuse", "pass", "optimised"]
    assert all(0 < cell["findings"]["spent"] <= cell["findings"]["queries"] for cell in cells.values())
    assert [cell["needs"] for cell in cells.values()] == ["decisions", "decisions", "gradients"]
    rows = [row for row in map(json.loads, run_dir.results.read_text().splitlines()) if row["attack"] in cells]
    assert {row["status"] for row in rows} == {"ok"}
    assert all(row["quality"]["psnr_db"] is None or row["quality"]["psnr_db"] >= 30 for row in rows)
    assert all(row["notes"]["kept_floor"] or row["quality"]["linf_levels"] == 0 for row in rows)
    assert {(row["attack"], row["notes"]["chain"]) for row in rows} == {(name, chain(cell)) for name, cell in cells.items()}


def chain(cell: dict) -> str:
    stages = cell["findings"]["found"][0]["stages"]
    return ", ".join(" ".join([stage["name"], *(f"{name}={value:.4g}" for name, value in stage["strength"].items())]) for stage in stages)


def test_the_report_holds_the_winners_against_their_own_operations(run_dir):
    run = read_run(run_dir.path)
    found = searches(run)
    assert [[direction.metric for direction in one.directions] for one in found] == [["frame_rate"], ["attack_success_rate"], ["attack_success_rate", "frame_rate"]]
    alone = {rival.name.split(",")[0] for rival in found[2].directions[0].rivals}
    assert alone >= {"jpeg", "webp", "resize", "blur", "grain"}
    assert 'id="search"' in page(run)
