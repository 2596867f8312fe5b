"""What one image does wrong costs that image alone; order, pieces and micro-batches change nothing."""

from __future__ import annotations

import errno
import json

import pytest

from redteam.data.folder import Folder
from redteam.run import executing
from redteam.run.errors import Missing, StorageError
from redteam.run.executing import Executor
from redteam.run.finalising import finalise
from redteam.run.ledger import RunDir
from redteam.scenario.plan import Plan

FACTORY = """
from pathlib import Path

def build():
    return lambda x: x.mean((1, 2, 3)) * 20 - 10

def failing():
    raise RuntimeError("no licence server")

def absent():
    return Path("nowhere.pth").read_bytes()
"""


def many_attacks(lab) -> None:
    lab.write(
        targets=[{"id": "bright", "kind": "brightness", "scale": 100}, {"id": "linear", "kind": "linear"}],
        defenses=[{"id": "none", "kind": "none"}, {"id": "jpeg75", "kind": "jpeg", "quality": 75}],
        attacks=[
            {"id": "pgd", "kind": "pgd", "eps": "16/255", "steps": 2},
            {"id": "l2", "kind": "pgd", "norm": "l2", "eps": 2, "steps": 1},
            {"id": "evade", "kind": "pgd", "eps": "8/255", "steps": 2, "goal": "evade"},
            {"id": "jpeg", "kind": "jpeg", "quality": 60},
            {"id": "two", "chain": [{"ref": "l2"}, {"ref": "jpeg"}]},
        ],
    )


def test_the_order_of_units_cannot_be_seen_in_the_results(small):
    many_attacks(small)
    forward, _ = small.inline("forward")
    backward, _ = small.inline("backward", order=lambda plan: list(reversed(plan.units)))
    for name in ("results.jsonl", "summary.json", "gates.json", "scenario.lock.json", "plan.jsonl"):
        assert (backward.path / name).read_bytes() == (forward.path / name).read_bytes(), name


def test_a_run_cut_into_pieces_gives_the_same_bytes(small):
    many_attacks(small)
    whole, _ = small.inline("whole")
    pieces = small.begin("pieces")
    for start in range(5):  # a new process each time, as a resumed run has
        plan = small.plan(pieces)
        executor = Executor(plan, pieces)
        for unit in plan.execution_order()[start::5]:
            executor.run(unit)
    finalise(small.plan(pieces), pieces)
    assert pieces.results.read_bytes() == whole.results.read_bytes()


def test_analytic_targets_give_the_same_bytes_for_micro_batches_of_1_7_and_32(small):
    many_attacks(small)
    runs = [small.inline(f"by{size}", micro_batch=size)[0].results.read_bytes() for size in (1, 7, 32)]
    assert runs[0] == runs[1] == runs[2]


def test_an_attack_on_one_class_is_compared_with_the_clean_answers_of_that_class(small):
    many_attacks(small)
    run_dir, _ = small.inline()
    rows = [json.loads(line) for line in run_dir.results.read_text().splitlines()]
    evade = [row for row in rows if row["attack"] == "evade" and row["target"] == "bright"]
    clean = {row["rid"]: row for row in rows if row["attack"] == "identity"}
    assert len(evade) == 10 and {row["label"] for row in evade} == {1}  # five fakes behind two defenses
    assert all(clean[row["clean_rid"]]["id"] == row["id"] and clean[row["clean_rid"]]["outcome"]["decision"] == row["outcome"]["clean_decision"] for row in evade)


@pytest.mark.parametrize("damage", [lambda data: data[: len(data) // 2], lambda data: data[:-1], lambda data: data.replace(b'"label":1', b'"label":0', 1), lambda data: b"", lambda data: b"\xff" + data[1:]])
def test_a_cut_or_altered_unit_file_is_computed_again(small, damage):
    run_dir, _ = small.inline()
    before = run_dir.results.read_bytes()
    plan = small.plan(run_dir)
    victims = [run_dir.unit_path(unit.key) for unit in (plan.units[0], plan.units[1], plan.units[-1])]
    for victim in victims:
        victim.write_bytes(damage(victim.read_bytes()))
    executor = Executor(plan, run_dir)
    for unit in plan.execution_order():
        executor.run(unit)
    finalise(plan, run_dir)
    assert run_dir.results.read_bytes() == before


def test_a_missing_unit_is_said_and_never_filled_in(small):
    run_dir, _ = small.inline()
    plan = small.plan(run_dir)
    run_dir.unit_path(plan.units[-1].key).unlink()
    closing = finalise(plan, run_dir)
    assert (closing.missing, closing.summary["status"], closing.summary["cells"][-1]["missing"]) == (1, "incomplete", 2)
    assert closing.rows == 3 * 10 - 2


def test_an_image_that_raises_has_its_row_and_its_neighbours_keep_their_scores(small):
    small.write(targets=[{"id": "odd", "kind": "broken", "fault": "raise", "above": 0.55, "scale": 100}])
    run_dir, closing = small.inline()
    rows = [json.loads(line) for line in run_dir.results.read_text().splitlines() if '"attack":"identity"' in line]
    small.write(targets=[{"id": "odd", "kind": "brightness", "scale": 100}])
    sane, _ = small.inline("sane")
    scores = {row["id"]: row["outcome"]["score"] for row in map(json.loads, sane.results.read_text().splitlines()) if row["attack"] == "identity"}
    lost = {row["id"]: row["reason"] for row in rows if row["status"] == "error"}
    assert lost == {"fake/001.png": "RuntimeError: broken on purpose", "fake/002.png": "RuntimeError: broken on purpose", "fake/003.png": "RuntimeError: broken on purpose"}
    assert all(row["outcome"]["score"] == scores[row["id"]] for row in rows if row["status"] == "ok")
    assert {row["id"] for row in rows if "ran_alone" in row["warnings"]} == {"fake/000.png", "real/000.png", "real/001.png", "real/002.png", "real/003.png"}
    assert closing.over_budget


def test_an_image_that_fails_without_an_attack_is_not_attacked(small):
    small.write(targets=[{"id": "odd", "kind": "broken", "fault": "raise", "above": 0.55, "scale": 100}])
    run_dir, _ = small.inline()
    rows = [json.loads(line) for line in run_dir.results.read_text().splitlines()]
    assert {row["reason"] for row in rows if row["attack"] == "noise" and row["id"] == "fake/002.png"} == {"as without an attack: RuntimeError: broken on purpose"}


def test_nan_is_unscoreable_and_neither_success_nor_robust(small):
    small.write(targets=[{"id": "odd", "kind": "broken", "fault": "nan", "above": 0.55, "scale": 100}])
    _, closing = small.inline()
    clean = closing.summary["cells"][0]
    assert (clean["errors"], clean["unscoreable"], clean["metrics"].get("robust_accuracy")) == (0, 3, None)


def test_a_corrupt_an_empty_and_a_changed_image_are_rows_and_cost_nothing_else(small):
    fakes = small.folder / "data" / "fake"
    (fakes / "corrupt.png").write_bytes(b"\x89PNG\r\n\x1a\n no more")
    (fakes / "empty.png").write_bytes(b"")
    run_dir = small.begin()
    plan = small.plan(run_dir)
    (fakes / "001.png").write_bytes((fakes / "big000.png").read_bytes())  # grew after it was planned
    executor = Executor(plan, run_dir)
    for unit in plan.execution_order():
        executor.run(unit)
    finalise(plan, run_dir)
    clean = [json.loads(line) for line in run_dir.results.read_text().splitlines() if '"attack":"identity"' in line]
    lost = {row["id"]: row["reason"] for row in clean if row["status"] == "error"}
    assert lost["fake/001.png"] == "fake/001.png: was 32 x 32 when the run was planned, is 40 x 40 now"
    assert set(lost) == {"fake/001.png", "fake/corrupt.png", "fake/empty.png"} and sum(row["status"] == "ok" for row in clean) == 9


def test_a_reader_that_breaks_costs_one_image(small, monkeypatch):
    def reader(self, resolve):
        read = original(self, resolve)
        return lambda sample: read(sample) if sample.id != "fake/002.png" else 1 / 0

    original = Folder.open
    monkeypatch.setattr(Folder, "open", reader)
    run_dir, _ = small.inline()
    reasons = {row["reason"] for row in map(json.loads, run_dir.results.read_text().splitlines()) if row["status"] == "error" and row["attack"] == "identity"}
    assert reasons == {"fake/002.png: ZeroDivisionError: division by zero"}


def test_hostile_names_are_kept_as_they_are_and_no_file_is_named_after_them(small):
    name = "<script>alert(1)</script>\u2028\x1b[31m .. %2e%2e.png".replace("/", "\u2215")
    (small.folder / "data" / "fake" / "000.png").rename(small.folder / "data" / "fake" / name)
    run_dir, _ = small.inline()
    lines = run_dir.results.read_text().split("\n")[:-1]
    rows = [json.loads(line) for line in lines]
    assert len(rows) == 30 and f"fake/{name}" in {row["id"] for row in rows}
    assert all(path.name.replace("-", "").replace(".", "").isalnum() for path in (run_dir.path / "artifacts").iterdir())


def test_a_factory_that_raises_makes_rows_that_say_so(small):
    (small.folder / "mine.py").write_text(FACTORY)
    small.write(targets=[{"id": "mine", "kind": "python", "factory": "mine.py:failing", "output": {"type": "logit"}}, {"id": "bright", "kind": "brightness"}])
    run_dir, closing = small.inline()
    rows = [json.loads(line) for line in run_dir.results.read_text().splitlines()]
    assert {row["reason"] for row in rows if row["target"] == "mine"} == {"mine could not be prepared: RuntimeError: no licence server"}
    assert all(row["status"] == "ok" for row in rows if row["target"] == "bright")
    assert closing.summary["targets"][0]["notes"] == ["mine could not be prepared: RuntimeError: no licence server"]


def test_a_defense_that_does_not_wrap_is_never_run_as_no_defense(small, monkeypatch):
    monkeypatch.delattr("redteam.defenses.blur.BlurDefense.wrap")
    small.content["defenses"] = [{"id": "other", "kind": "blur"}]
    rows = [json.loads(line) for line in small.inline()[0].results.read_text().splitlines()]
    assert {row["status"] for row in rows} == {"error"}
    assert "defense other does not wrap its target" in rows[0]["reason"]


def test_what_a_target_needs_and_is_not_there_stops_the_run_and_nothing_is_recorded(small):
    (small.folder / "mine.py").write_text(FACTORY)
    small.write(targets=[{"id": "mine", "kind": "python", "factory": "mine.py:absent", "output": {"type": "logit"}}])
    run_dir = small.begin()
    plan = small.plan(run_dir)
    with pytest.raises(Missing, match="targets.mine: .*nowhere.pth"):
        Executor(plan, run_dir).run(plan.units[0])
    assert list((run_dir.path / "units").iterdir()) == []


def test_a_callable_that_gives_scores_is_not_asked_for_gradients(small):
    (small.folder / "mine.py").write_text(FACTORY)
    small.write(targets=[{"id": "mine", "kind": "python", "factory": "mine.py:build", "output": {"type": "logit"}}])
    run_dir, _ = small.inline()
    rows = [json.loads(line) for line in run_dir.results.read_text().splitlines()]
    assert {row["reason"] for row in rows if row["attack"] == "pgd"} == {"pgd needs gradients but mine gives scores"}


def full_disk(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_stops_the_unit_and_leaves_nothing_half_written(small, monkeypatch):
    whole, _ = small.inline("whole")
    run_dir = small.begin()
    plan = small.plan(run_dir)
    executor = Executor(plan, run_dir)
    for unit in plan.execution_order()[:2]:
        executor.run(unit)
    with monkeypatch.context() as patch:
        patch.setattr("redteam.run.ledger.os.fsync", full_disk)
        for unit in plan.execution_order()[2:]:
            with pytest.raises(StorageError, match=r"cannot write \w+/\S+: No space left on device"):
                executor.run(unit)
        with pytest.raises(StorageError, match="cannot write run/results.jsonl: No space left on device"):
            finalise(plan, run_dir)
    assert [path for path in run_dir.path.rglob("*.tmp")] == []
    for unit in plan.execution_order():
        executor.run(unit)
    finalise(plan, run_dir)
    assert run_dir.results.read_bytes() == whole.results.read_bytes()


def test_user_code_that_meets_a_full_disk_is_not_blamed(small, monkeypatch):
    run_dir = small.begin()
    plan = small.plan(run_dir)
    monkeypatch.setattr(executing.detection, "identity_batch", full_disk)
    executor = Executor(plan, run_dir)
    with pytest.raises(StorageError, match="No space left on device"):
        for unit in plan.execution_order():
            executor.run(unit)


def test_only_a_few_pictures_of_each_cell_are_kept_for_the_report(small):
    run_dir, _ = small.inline()
    rows = [json.loads(line) for line in run_dir.results.read_text().splitlines()]
    shown = [row for row in rows if row["artifacts"]]
    assert {(row["attack"], row["label"]) for row in shown} == {(attack, label) for attack in ("identity", "noise", "pgd") for label in (0, 1)}
    assert len(shown) == 3 * 4 and all((run_dir.path / path).is_file() for row in shown for path in row["artifacts"].values())


def test_reads_images_once_for_all_cells_of_a_shard(small, monkeypatch):
    asked = []

    def reader(self, resolve):
        read = original(self, resolve)
        return lambda sample: asked.append(sample.id) or read(sample)

    original = Folder.open
    monkeypatch.setattr(Folder, "open", reader)
    run_dir = small.begin()
    plan = small.plan(run_dir)
    executor = Executor(plan, run_dir)
    for unit in Plan.execution_order(plan):
        executor.run(unit)
    once = [name for name in asked if asked.count(name) == 1]
    assert len(set(asked)) == 10 and "fake/big000.png" in once  # the first micro-batch is also read to look at the target
