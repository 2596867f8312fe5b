"""Cells become units: which there are, in which order, and what their keys depend on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from redteam import registry
from redteam.scenario.load import load
from redteam.scenario.lock import changed, lock_digest
from redteam.scenario.plan import SHARD, Options, Plan, PlanError, count_gradients, make_plan


@pytest.fixture(autouse=True)
def registered():
    """The real components, not the small ones of the other tests here."""
    registry.names.cache_clear()


def pictures(folder: Path, sizes: dict[str, int]) -> None:
    for name, size in sizes.items():
        path = folder / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        level = sum(map(ord, str(path.relative_to(folder.parent)))) % 256
        Image.fromarray(np.full((size, size, 3), level, np.uint8)).save(path)


@pytest.fixture
def planned(tmp_path):
    pictures(tmp_path / "data", {f"{label}/{i}": size for label in ("real", "fake") for i, size in enumerate((32, 32, 40, 32))})

    def plan(options: Options = Options(), **changes) -> Plan:
        content = {
            "schema": "redteam/v1", "name": "p", "seed": 1,
            "data": {"eval": {"kind": "folder", "path": "data"}},
            "targets": [{"id": "a", "kind": "brightness"}, {"id": "b", "kind": "linear"}],
            "defenses": [{"id": "none", "kind": "none"}, {"id": "jpeg", "kind": "jpeg"}],
            "attacks": [{"id": "pgd", "kind": "pgd", "eps": {"sweep": ["2/255", "4/255"]}, "steps": 3}, {"id": "evade", "kind": "fgsm", "eps": "2/255", "goal": "evade"}, {"id": "blur", "kind": "blur"}],
        }  # fmt: skip
        (tmp_path / "s.yaml").write_text(yaml.safe_dump(content | changes))
        return make_plan(load(tmp_path / "s.yaml")[0], options)

    return plan


def test_one_preparation_for_each_target_behind_each_defense_comes_first(planned):
    plan = planned()
    assert [(u.target, u.defense) for u in plan.units[:4]] == [("a", "none"), ("a", "jpeg"), ("b", "none"), ("b", "jpeg")]
    assert all((unit.shard is None) == (i < 4) for i, unit in enumerate(plan.units))


def test_a_shard_holds_one_size_and_every_image_is_in_one(planned):
    plan = planned()
    shards = list(plan.shards("folder"))
    assert [sum(map(len, shard.batches)) for shard in shards] == [6, 2]
    assert all(len({(s.height, s.width) for batch in shard.batches for s in batch}) == 1 for shard in shards)


def test_micro_batches_and_shards_of_large_images_are_smaller(planned, tmp_path):
    pictures(tmp_path / "data", {"real/large0": 1024, "real/large1": 1024, "fake/large2": 1024})
    large = list(planned(Options(micro_batch=8)).shards("folder"))[2]
    assert [len(batch) for batch in large.batches] == [2, 1]  # 1024 x 1024 is four times 512 x 512


def test_a_goal_for_one_class_gives_units_without_the_other(planned):
    plan = planned()
    evade = next(number for number, item in enumerate(plan.cells) if item.cell.attack == "evade")
    assert [[s.label for s in unit.samples] for unit in plan.units_of(evade)] == [[1, 1, 1], [1]]


def test_every_unit_finds_its_identity_and_its_preparation(planned):
    plan = planned()
    for unit in plan.units[4:]:
        identity = plan.identity_of(unit)
        assert plan.cells[identity.cell].cell.attack == "identity" and (identity.target, identity.defense) == (unit.target, unit.defense)
        assert {s.id for s in unit.samples} <= {s.id for s in identity.samples}
        assert plan.preparation(unit.target, unit.defense).shard is None
        assert plan.unit(unit.key) is unit


def test_control_arms_run_before_what_is_judged_against_them(planned):
    seen = set()
    plan = planned()
    for unit in plan.execution_order():
        if unit.shard is not None:
            seen.add(unit.key)
            assert plan.identity_of(unit).key in seen


def test_a_shard_is_finished_before_the_next_is_read(planned):
    places = [(unit.shard.data, unit.shard.index) for unit in planned().execution_order() if unit.shard]
    assert places == sorted(places)


def test_keys_are_unique_and_stay_when_nothing_changes(planned):
    first, again = planned(), planned()
    assert len({unit.key for unit in first.units}) == len(first.units)
    assert [u.key for u in first.units] == [u.key for u in again.units] and lock_digest(first.lock) == lock_digest(again.lock)


@pytest.mark.parametrize("changes", [{"seed": 2}, {"file": {"format": "jpeg", "quality": 90}}])
def test_every_key_depends_on_seed_and_file(planned, changes):
    assert not {u.key for u in planned().units} & {u.key for u in planned(**changes).units}


def test_every_key_depends_on_the_micro_batch(planned):
    assert not {u.key for u in planned().units} & {u.key for u in planned(Options(micro_batch=4)).units}


def test_a_target_s_settings_change_its_own_keys_only(planned):
    before, after = planned(), planned(targets=[{"id": "a", "kind": "brightness", "scale": 7}, {"id": "b", "kind": "linear"}])
    kept = {u.key for u in before.units} & {u.key for u in after.units}
    assert kept == {u.key for u in before.units if u.target == "b"}


def test_only_keeps_control_arms(planned):
    plan = planned(Options(only="*/a/none/evade"))
    assert {(item.cell.target, item.cell.attack) for item in plan.cells if not item.cell.control} == {("a", "evade")}
    assert sum(item.cell.attack == "identity" for item in plan.cells) == 4
    assert {item.cell.attack for item in planned(Options(only="pgd")).cells} == {"identity", "noise", "pgd"}


def test_only_that_matches_nothing_is_refused(planned):
    with pytest.raises(PlanError, match=r"^--only pdg: matches no attack; it is a glob over data/target/defense/attack, or over the attack alone$"):
        planned(Options(only="pdg"))


def test_a_limit_keeps_both_classes(planned):
    assert sorted(s.label for s in planned(Options(limit=4)).samples["folder"]) == [0, 0, 1, 1]
    both = planned(Options(limit=6), data={"eval": {"kind": "folder", "path": "data", "limit": 2}})
    assert len(both.samples["folder"]) == 2


def test_an_image_of_eval_in_calib_is_refused(planned, tmp_path):
    pictures(tmp_path / "calib", {"real/x": 32, "fake/y": 32})
    (tmp_path / "calib/real/x.png").write_bytes((tmp_path / "data/real/0.png").read_bytes())
    with pytest.raises(PlanError, match=r"^data.calib: 1 images of c are in eval too \(first: real/x.png = folder real/0.png\); split the data$"):
        planned(data={"eval": {"kind": "folder", "path": "data"}, "calib": {"id": "c", "kind": "folder", "path": "calib"}})


def test_unreadable_images_come_last_and_are_not_taken_for_one_another(planned, tmp_path):
    for name in ("data/fake/00", "calib/real/0", "calib/fake/0"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / f"{name}.png").write_bytes(b"")
    plan = planned(data={"eval": {"kind": "folder", "path": "data"}, "calib": {"kind": "folder", "path": "calib"}})
    assert [[s.id for batch in shard.batches for s in batch] for shard in plan.shards("folder")][-1] == ["fake/00.png"]


def test_gradients_are_counted_for_the_images_that_are_attacked(planned):
    assert count_gradients(planned()) == 4 * (2 * 3 * 8 + 1 * 4)  # squares x (two eps x steps x images + one step x fakes)


def test_a_change_is_named_as_a_person_would_name_it():
    before = {"code": "1", "seed": 1, "data": {"d": {"kind": "folder", "samples": [["a", 0], ["b", 1]]}}, "cells": {"k": "pgd"}, "gates": {}}
    assert changed(before, before) == []
    assert changed(before, before | {"code": "2", "seed": 3}) == ["redteam's own code", "seed"]
    assert changed(before, before | {"data": {"d": {"kind": "folder", "samples": [["b", 1], ["a", 0]]}}}) == ["data.d (the order of the images)"]
    assert changed(before, before | {"data": {"d": {"kind": "folder", "samples": [[c, 0] for c in "bcdefg"]}}}) == ["data.d (images a, b, c and 4 more)"]
    assert changed(before, before | {"cells": {"x": "fgsm"}, "gates": {"g": {"require": 1}}}) == ["cells", "gates.g"]


def test_planning_looks_units_up_and_does_not_search_for_them(planned, monkeypatch):
    plan = planned()
    many = replace(plan, units=plan.units)
    unit = many.units[-1]
    many.identity_of(unit), many.preparation(unit.target, unit.defense), many.unit(unit.key), many.units_of(0)
    monkeypatch.setattr(Plan, "units", property(lambda self: pytest.fail("searched")), raising=False)
    assert many.identity_of(unit) and many.preparation(unit.target, unit.defense) and many.unit(unit.key) and many.units_of(0)
    assert SHARD == 64
