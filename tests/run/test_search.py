"""A search through the engine: on train images, once, kept as an artifact, and evaluated on images that it never saw."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from redteam.attacks.search import Search
from redteam.run.executing import Executor
from redteam.run.finalising import finalise
from redteam.scenario.load import load
from redteam.scenario.plan import Options, PlanError, make_plan

POOL = [{"kind": "brightness", "factor": {"sweep": [0.9, 0.97]}}, {"kind": "jpeg", "quality": {"sweep": [95, 60]}}]
SEARCH = {"id": "worst", "kind": "search", "goal": "evade", "pool": POOL, "min_psnr_db": 20, "queries": 400, "images": 16, "length": 2, "chains": 12}
PGD = {"kind": "pgd", "eps": "4/255", "steps": 2}


@pytest.fixture
def searching(lab) -> Any:
    """Twelve bright fakes and dark real pictures to evaluate on, and others to search on."""
    lab.both(12)
    train = type(lab)(lab.folder / "more")
    train.pictures("real", [101 + 2 * i for i in range(8)], prefix="t")
    train.pictures("fake", [131 + 2 * i for i in range(8)], prefix="t")
    lab.write(data={"eval": {"kind": "folder", "path": "data"}, "train": {"kind": "folder", "path": "more/data"}}, attacks=[SEARCH])
    return lab


@pytest.fixture
def fits(monkeypatch) -> list[list[str]]:
    """The images that each search looked at."""
    seen: list[list[str]] = []
    original: Callable[..., Any] = Search.fit

    def fit(self, objectives, rng):
        looked: list[str] = []
        seen.append(looked)
        return original(self, (looked.extend(objective.images.ids) or objective for objective in objectives), rng)

    monkeypatch.setattr(Search, "fit", fit)
    return seen


def cell_of(closing: Any, attack: str = "worst") -> dict[str, Any]:
    return next(cell for cell in closing.summary["cells"] if cell["attack"] == attack)


def rows_of(run_dir: Any, attack: str = "worst") -> list[dict[str, Any]]:
    return [row for row in map(json.loads, run_dir.results.read_text().splitlines()) if row["attack"] == attack]


def test_the_winner_is_found_on_train_and_scored_on_eval(searching, fits):
    run_dir, closing = searching.inline()
    cell, rows = cell_of(closing), rows_of(run_dir)
    told = cell["findings"]
    assert [stage["name"] for stage in told["found"][0]["stages"]] == ["brightness"]
    assert (told["found"][0]["stages"][0]["strength"], told["floor"], told["queries"]) == ({"factor": 0.9}, {"min_psnr_db": 20}, 400)
    assert len(fits) == 1 and all("/t" in name for name in fits[0])
    assert len(rows) == 12 and not any("/t" in row["id"] for row in rows)
    assert {row["notes"]["chain"] for row in rows} == {"brightness factor=0.9"}
    assert all(row["cost"]["queries"] == 0 for row in rows)  # what the search asked is not billed to the images that are evaluated
    assert cell["strength"] == {"min_psnr_db": 20}
    assert cell["needs"] == "decisions"


def test_what_was_found_is_kept_and_a_resumed_run_does_not_search_again(searching, fits):
    """Stopped right after the search, with its rows lost, and gone on with in another process."""
    whole, _ = searching.inline("whole")
    run_dir = searching.begin("again")
    plan = searching.plan(run_dir)
    for unit in plan.execution_order():
        Executor(plan, run_dir).run(unit)
    searched = [unit for unit in plan.units if unit.cell in plan.lessons]
    for unit in searched:
        next((run_dir.path / "units").glob(f"{unit.key}*")).unlink()
    assert len(fits) == 2
    executor = Executor(plan, run_dir)
    for unit in searched:
        executor.run(unit)
    finalise(plan, run_dir)
    assert len(fits) == 2 and searched
    assert run_dir.results.read_bytes() == whole.results.read_bytes()


def test_a_search_on_several_shards_and_corpora_and_its_control_run_once(searching, fits, laboratory):
    other = laboratory(searching.folder / "other")
    other.both(10)
    searching.write(
        data={"eval": [{"id": "a", "kind": "folder", "path": "data"}, {"id": "b", "kind": "folder", "path": "other/data"}], "train": {"kind": "folder", "path": "more/data"}},
        attacks=[{**SEARCH, "finish": PGD}],
    )  # fmt: skip
    run_dir, closing = searching.inline()
    assert len(fits) == 1
    assert len(list((run_dir.path / "artifacts").glob("state-*"))) == 1
    assert [cell["attack"] for cell in closing.summary["cells"]] == ["identity", "noise", "worst"] * 2
    assert [("findings" in cell) for cell in closing.summary["cells"]] == [False, False, True] * 2
    notes = {row["notes"]["chain"] for row in map(json.loads, run_dir.results.read_text().splitlines()) if row["attack"] != "identity"}
    assert len(notes) == 1


def test_each_repeat_searches_for_itself_and_the_control_takes_over_the_first(searching, fits):
    searching.write(repeats=2, attacks=[{**SEARCH, "finish": PGD}])
    run_dir, _ = searching.inline()
    assert len(fits) == 2 == len(list((run_dir.path / "artifacts").glob("state-*")))


def test_the_order_of_units_and_micro_batches_change_no_row(searching):
    first, _ = searching.inline("first")
    backwards, _ = searching.inline("backwards", order=lambda plan: plan.execution_order()[::-1])
    assert first.results.read_bytes() == backwards.results.read_bytes()


def test_workers_leave_the_search_to_the_first_of_them(searching):
    searching.write(attacks=[{**SEARCH, "finish": PGD}])
    inline, _ = searching.inline("inline")
    run_dir = searching.begin("forked")
    assert searching.forked(run_dir, workers=2).closing.missing == 0
    assert run_dir.results.read_bytes() == inline.results.read_bytes()


def test_images_that_are_searched_on_and_evaluated_are_refused(searching):
    searching.write(data={"eval": {"kind": "folder", "path": "data"}, "train": {"kind": "folder", "path": "data"}})
    with pytest.raises(PlanError, match=r"^data.train: 24 images of folder are in eval too \(first: fake/000.png = folder fake/000.png\); split the data$"):
        make_plan(load(searching.folder / "s.yaml")[0], Options())


def test_source_images_that_are_searched_on_and_evaluated_are_refused(searching):
    for name, prefix in (("data", ""), ("more/data", "t")):
        rows = [{"image": f"{label}/{prefix}{i:03d}.png", "label": int(label == "fake"), "group": f"scene-{i}"} for label in ("real", "fake") for i in range(8)]
        (searching.folder / name / "m.jsonl").write_text("\n".join(map(json.dumps, rows)))
    roles = {role: {"kind": "manifest", "path": f"{name}/m.jsonl"} for role, name in (("eval", "data"), ("train", "more/data"))}
    searching.write(data=roles)
    with pytest.raises(PlanError, match=r"^data.train: 8 source images of manifest are in eval too \(first: scene-0\); split the data by source image, since what was learned is evaluated$"):
        make_plan(load(searching.folder / "s.yaml")[0], Options())


def test_a_search_that_cannot_end_makes_rows_that_say_so(searching):
    for path in (searching.folder / "more" / "data" / "fake").iterdir():
        path.unlink()
    run_dir, closing = searching.inline()
    assert {row["reason"] for row in rows_of(run_dir)} == {"ValueError: search: the role train must hold images that the goal is about, got none; add some"}
    assert "findings" not in cell_of(closing)
