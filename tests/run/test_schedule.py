"""What a unit rests on is done first, and workers keep to the images and targets that they have loaded."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

import pytest

from redteam.attacks.jpeg import JPEG
from redteam.run import cores
from redteam.run.cores import usable_cores, workers_for
from redteam.run.schedule import Schedule, most_at_once, rests_on
from redteam.scenario.plan import Options, Plan, Unit, make_plan


@pytest.fixture
def plan(small) -> Plan:
    """Two targets on two shards, three cells each, and two preparations: fourteen units."""
    small.write(targets=[{"id": "bright", "kind": "brightness"}, {"id": "linear", "kind": "linear"}])
    return small.plan(small.begin())


def simulated(plan: Plan, workers: int) -> Iterator[tuple[int, Unit, set[str]]]:
    """Who computes what after what, where all units take the same time."""
    schedule, done = Schedule(plan, plan.execution_order()), set()
    last: list[Unit | None] = [None] * workers
    while schedule:
        taken: dict[int, Unit] = {}
        for who in range(workers):
            if (unit := schedule.take(last[who], taken.values())) is not None:
                taken[who] = last[who] = unit
                yield who, unit, set(done)
        assert taken
        for unit in taken.values():
            schedule.done(unit)
            done.add(unit.key)


@pytest.mark.parametrize("workers", [1, 2, 3, 20])
def test_every_unit_comes_once_and_after_what_it_rests_on(plan, workers):
    seen = list(simulated(plan, workers))
    assert sorted(unit.key for _, unit, _ in seen) == sorted(unit.key for unit in plan.units)
    assert all(set(rests_on(plan, unit)) <= done for _, unit, done in seen)


def test_one_worker_goes_shard_by_shard_and_target_by_target(plan):
    units = [unit for _, unit, _ in simulated(plan, 1) if unit.shard]
    assert [unit.shard.index for unit in units] == [0] * 6 + [1] * 6
    stays = [(target, len(list(run))) for target, run in groupby(unit.target for unit in units)]
    assert stays == [("linear", 3), ("bright", 6), ("linear", 3)]  # prepared last, so loaded for certain


def test_two_workers_keep_to_a_shard_each(plan):
    shards = {(who, unit.shard.index) for who, unit, _ in simulated(plan, 2) if unit.shard}
    assert shards == {(0, 0), (1, 1)}


def test_on_the_last_shard_workers_keep_to_a_target_each(small):
    small.write(targets=[{"id": "bright", "kind": "brightness"}, {"id": "linear", "kind": "linear"}])
    plan = small.plan(small.begin(only="pgd", limit=4))
    assert {(who, unit.target) for who, unit, _ in simulated(plan, 2)} == {(0, "bright"), (1, "linear")}


def test_a_cell_that_learns_waits_for_its_first_unit(plan, monkeypatch):
    monkeypatch.setattr("redteam.attacks.pgd.PGD.fit", lambda self, objectives, rng: None)
    learning = [unit for unit in plan.units if unit.shard and plan.cells[unit.cell].attack.needs > JPEG.needs]
    first, second = learning[:2]
    assert first.cell == second.cell and first.key in rests_on(plan, second) and first.key not in rests_on(plan, first)


def test_a_unit_that_is_put_back_comes_first_again(plan):
    schedule = Schedule(plan, plan.execution_order())
    unit = schedule.take(None, [])
    schedule.put_back(unit)
    assert schedule.take(None, []) is unit and len(schedule) == len(plan.units)


def test_what_is_there_already_holds_nobody_up(plan):
    missing = plan.execution_order()[5:]
    schedule = Schedule(plan, missing)
    assert schedule.take(None, []) is missing[0] and len(schedule) == len(missing)


def test_workers_are_never_more_than_units_side_by_side(plan, monkeypatch):
    assert most_at_once(plan) == 8  # two attacked cells on two shards and two targets
    for cores_here, wanted in ((1, 1), (3, 3), (64, 4)):
        monkeypatch.setattr(cores, "usable_cores", lambda n=cores_here: n)
        assert workers_for(plan) == wanted
    chain = make_plan(plan.scenario, Options(only="pgd", limit=1))
    assert most_at_once(chain) == 4 and workers_for(chain) == 4


def test_threads_share_the_cores_and_an_accelerator_has_one_worker(plan, monkeypatch):
    monkeypatch.setattr(cores, "usable_cores", lambda: 4)
    assert workers_for(make_plan(plan.scenario, Options(threads=2))) == 2
    assert workers_for(make_plan(plan.scenario, Options(threads=8))) == 1
    assert workers_for(make_plan(plan.scenario, Options(device="cuda"))) == 1


@pytest.mark.parametrize(
    ("files", "at_most"),
    [({"cpu.max": "150000 100000\n"}, 1), ({"cpu.max": "50000 100000\n"}, 1), ({"cpu/cpu.cfs_quota_us": "100000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 1)],
)
def test_a_container_s_share_of_the_processor_counts(tmp_path, files, at_most):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert usable_cores(tmp_path) == at_most


@pytest.mark.parametrize("files", [{}, {"cpu.max": "max 100000\n"}, {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}])
def test_without_a_limit_the_cores_of_the_machine_count(tmp_path, files, monkeypatch):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(cores.os, "sched_getaffinity", lambda number: {0, 1, 5}, raising=False)
    assert usable_cores(tmp_path) == 3
