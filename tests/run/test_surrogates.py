"""A transfer attack through the engine: surrogates by id and by zoo name, behind a defense, in the lock."""

from __future__ import annotations

import json

from redteam.scenario.load import load
from redteam.scenario.plan import Options, make_plan

SURE = {"id": "sure", "kind": "brightness", "scale": 100}


def test_a_transfer_attack_breaks_a_target_that_gives_nothing_but_decisions(lab):
    lab.both(4)
    lab.content["targets"] = [{"id": "closed", "kind": "brightness", "scale": 50, "access": "decisions"}, SURE]
    lab.content["attacks"] = [{"id": "transfer", "kind": "pgd", "eps": "64/255", "steps": 3, "surrogates": ["sure"]}]
    lab.content["matrix"] = {"exclude": [{"target": "sure"}]}
    lab.content["defenses"] = [{"id": "jpeg75", "kind": "jpeg", "quality": 75}]
    run_dir, closing = lab.inline()
    rows = [row for row in map(json.loads, run_dir.results.read_text().splitlines()) if row["attack"] == "transfer"]
    assert len(rows) == 8
    assert all(row["outcome"]["success"] for row in rows)
    assert all((row["cost"]["queries"], row["cost"]["surrogate_backwards"], row["valid"]) == (0, 3, True) for row in rows)
    cell = next(cell for cell in closing.summary["cells"] if cell["attack"] == "transfer")
    assert (cell["needs"], cell["surrogates"]) == ("none", ["sure"])


def test_another_surrogate_is_another_unit_and_the_lock_names_those_that_are_no_targets(lab):
    lab.both(2)
    keys = []
    for surrogate in ("bright", "zoo/npr-tiny"):
        lab.content["attacks"] = [{"id": "t", "kind": "pgd", "steps": 1, "surrogates": [surrogate]}]
        plan = make_plan(load(lab.write())[0], Options())
        keys.append({unit.key for unit in plan.units if unit.cell is not None and plan.cells[unit.cell].cell.attack == "t"})
        assert list(plan.lock["surrogates"]) == [name for name in [surrogate] if name.startswith("zoo/")]
    assert keys[0].isdisjoint(keys[1])
