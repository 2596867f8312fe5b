"""The shipped transfer scenario, small: every method against a target that is never asked, and the report's matrix from what it leaves behind."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest

import redteam.scenarios
from redteam.reports.directory import read_run
from redteam.reports.html import page
from redteam.reports.transfer import matrices
from redteam.run import opening
from redteam.run.executing import Executor
from redteam.run.finalising import finalise
from redteam.scenario.load import load
from redteam.scenario.plan import Options, make_plan

SHIPPED = Path(redteam.scenarios.__file__).parent / "transfer.yaml"
SMALL = ("data.eval.camera.size=48", "data.calib.camera-calib.size=48", "data.calib.camera-calib.limit=8", "attacks.ssm-npr.copies=1", "attacks.pgn-npr.neighbours=1", "attacks.bsr-npr.copies=1")


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    """Eight images of 48 x 48, attacks made on npr, computed in this process."""
    options = Options(limit=24, sets=(*SMALL, *(f"attacks.{name}-npr.steps=2" for name in ("mi", "ssm", "pgn", "bsr", "shuffle"))), only="*-npr")
    run_dir = opening.begin(tmp_path_factory.mktemp("transfer") / "run", SHIPPED, asdict(options))
    plan, _ = opening.reopen(run_dir)
    opening.lock(run_dir, plan)
    executor = Executor(plan, run_dir)
    for unit in plan.execution_order():
        executor.run(unit)
    assert finalise(plan, run_dir).missing == 0
    return run_dir


def test_it_is_a_matrix_of_surrogates_and_targets_with_and_without_resampling():
    scenario, _ = load(SHIPPED)
    plan = make_plan(scenario, Options())
    attacked = [item for item in plan.cells if not item.cell.control]
    assert {item.attack.asked_instead() for item in attacked} == {("npr",), ("spectrum",), ("npr", "spectrum")}
    assert {item.cell.kind for item in attacked} >= {"mi", "ssm", "pgn", "bsr"}
    assert {item.attack.resamples for item in attacked} == {True, False}


def test_no_target_is_asked_and_every_row_says_what_its_surrogate_was(run_dir):
    rows = [row for row in map(json.loads, run_dir.results.read_text().splitlines()) if row["attack"].endswith("-npr")]
    assert len(rows) == 5 * 4 * 24
    assert all(row["status"] == "ok" and row["valid"] and row["cost"]["queries"] == 0 for row in rows)
    asked = {row["attack"]: row["cost"]["surrogate_backwards"] for row in rows}
    assert asked == {"mi-npr": 2, "ssm-npr": 2, "pgn-npr": 4, "bsr-npr": 2, "shuffle-npr": 6}


def test_the_report_has_the_matrix(run_dir):
    run = read_run(run_dir.path)
    passes = matrices(run.summary)[0]
    assert [(c.target, c.defense) for c in passes.columns] == [("npr", "none"), ("npr", "jpeg90"), ("spectrum", "none"), ("spectrum", "jpeg90")]
    assert [title for title, _ in passes.groups] == ["Made on npr", "Random noise of the same size: nobody attacks here"]
    assert [line.entries[0].own for line in passes.groups[0][1]] == [True] * 5
    assert 'id="transfer"' in page(run)
