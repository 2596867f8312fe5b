"""A row computed again is the same row, whatever kind it is; one that was tampered with is not, and the run stays as it was."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from redteam.record import Record
from redteam.run.errors import Refused, WorkerFailed
from redteam.run.ledger import RunDir
from redteam.run.replay import again, changes, find, rows_of

ATTACKS = [
    {"id": "pgd", "kind": "pgd", "eps": "16/255", "steps": 2},
    {"id": "evade", "kind": "pgd", "eps": "8/255", "steps": 2, "goal": "evade"},
    {"id": "jpeg", "kind": "jpeg", "quality": 60},
    {"id": "two", "chain": [{"ref": "pgd"}, {"ref": "jpeg"}]},
]


def rows(run_dir: RunDir) -> list[dict[str, Any]]:
    return [json.loads(line) for line in run_dir.results.read_text().splitlines()]


def contents(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}


def replayed(lab, run_dir: RunDir, rid: str, name: str = "scratch") -> tuple[Record, Record, RunDir]:
    plan = lab.plan(run_dir)
    unit, before = find(run_dir, plan, rid)
    beside = again(run_dir, plan, [unit], lab.folder / name, start=lab.worker)
    return before, rows_of(beside, unit)[before.rid], beside


def altered(lab, run_dir: RunDir, row: dict[str, Any], **fields: Any) -> None:
    """The recorded row with other fields, as if it had come out so."""
    plan = lab.plan(run_dir)
    unit, _ = find(run_dir, plan, row["rid"])
    lines = [json.loads(line) for line in run_dir.read_unit(unit.key)]
    run_dir.write_unit(unit.key, [Record(**{**line, "warnings": tuple(line["warnings"])} | (fields if line["rid"] == row["rid"] else {})).to_json() for line in lines])


def test_rows_of_every_kind_come_out_the_same_and_the_run_is_not_touched(small):
    small.write(attacks=ATTACKS, defenses=[{"id": "jpeg75", "kind": "jpeg", "quality": 75}])
    run_dir, _ = small.inline()
    before = contents(run_dir.path)
    chosen = {(row["attack"], row["height"]): row for row in rows(run_dir)}.values()
    assert {row["attack"] for row in chosen} == {"identity", "noise", "pgd", "evade", "jpeg", "two"} and len(chosen) == 12
    plan = small.plan(run_dir)
    units = [find(run_dir, plan, row["rid"])[0] for row in chosen]
    beside = again(run_dir, plan, units, small.folder / "scratch", start=small.worker)
    for unit in units:
        recorded, computed = rows_of(run_dir, unit), rows_of(beside, unit)
        assert recorded.keys() == computed.keys() and [changes(recorded[rid], computed[rid]) for rid in recorded] == [[]] * len(recorded)
    assert contents(run_dir.path) == before


def test_an_image_that_the_run_kept_comes_out_pixel_by_pixel(small):
    run_dir, _ = small.inline()
    kept = next(row for row in rows(run_dir) if row["attack"] == "pgd" and row["artifacts"])
    _, after, beside = replayed(small, run_dir, kept["rid"])
    pixels = [np.asarray(Image.open(folder / path)) for folder, path in ((run_dir.path, kept["artifacts"]["after"]), (beside.path, after.artifacts["after"]))]
    assert np.array_equal(*pixels)


def test_every_image_of_the_unit_is_kept_before_and_after(small):
    run_dir, _ = small.inline()
    row = [row for row in rows(run_dir) if row["attack"] == "pgd"][5]
    assert row["artifacts"] == {}
    _, after, beside = replayed(small, run_dir, row["rid"])
    shown = {role: np.asarray(Image.open(beside.path / path)).astype(int) for role, path in after.artifacts.items()}
    assert set(shown) == {"before", "after"} and np.abs(shown["after"] - shown["before"]).max() == 16
    assert hashlib.sha256(shown["before"].astype(np.uint8).tobytes()).hexdigest() == row["sha256"]


def test_a_row_that_was_tampered_with_differs_in_that_field(small):
    run_dir, _ = small.inline()
    row = rows(run_dir)[-1]
    altered(small, run_dir, row, outcome=row["outcome"] | {"score": 1.0}, warnings=("input_mutated",))
    before, after, _ = replayed(small, run_dir, row["rid"])
    assert [(c.field, c.before, c.after) for c in changes(before, after)] == [("outcome.score", 1.0, row["outcome"]["score"]), ("warnings", ("input_mutated",), tuple(row["warnings"]))]


def test_a_row_without_an_outcome_says_what_happens_now(small):
    run_dir, _ = small.inline()
    row = rows(run_dir)[-1]
    altered(small, run_dir, row, status="timeout", reason="no answer within 300 s", outcome={}, quality={}, nonfinite={}, cost={}, determinism={}, valid=None, clean_rid=None)
    found = {c.field: (c.before, c.after) for c in changes(*replayed(small, run_dir, row["rid"])[:2])}
    assert found["status"] == ("timeout", "ok") and found["reason"] == ("no answer within 300 s", None)
    assert found["outcome.score"] == (None, row["outcome"]["score"]) and found["clean_rid"] == (None, row["clean_rid"])


def test_errors_and_images_that_ran_alone_come_out_as_they_were(small):
    small.write(targets=[{"id": "odd", "kind": "broken", "fault": "raise", "above": 0.55, "scale": 100}])
    run_dir, _ = small.inline()
    clean = [row for row in rows(run_dir) if row["attack"] == "identity"]
    for number, row in enumerate([next(row for row in clean if row["status"] == "error"), next(row for row in clean if "ran_alone" in row["warnings"])]):
        before, after, _ = replayed(small, run_dir, row["rid"], f"scratch{number}")
        assert changes(before, after) == [] and before.status == row["status"]


def test_a_worker_that_dies_ends_in_a_row_and_not_in_this_process(small):
    (small.folder / "mine.py").write_text("import os\nfrom pathlib import Path\ndef build():\n    return lambda x: os._exit(3) if Path('/proc/self/fd').exists() and DEADLY.exists() else x.mean((1, 2, 3)) * 20 - 10\nDEADLY = Path(__file__).with_name('deadly')\n")
    small.write(targets=[{"id": "mine", "kind": "python", "factory": "mine.py:build", "output": {"type": "logit"}}], attacks=[{"id": "jpeg", "kind": "jpeg"}])
    run_dir, _ = small.inline()
    (small.folder / "deadly").write_text("")
    before, after, _ = replayed(small, run_dir, rows(run_dir)[-1]["rid"])
    assert (before.status, after.status) == ("ok", "crash") and "exit status 3" in after.reason


@pytest.mark.parametrize("digits", [8, 12, 32])
def test_the_first_digits_of_a_rid_are_enough(small, digits):
    run_dir, _ = small.inline()
    row = rows(run_dir)[7]
    assert find(run_dir, small.plan(run_dir), row["rid"][:digits])[1].to_json() == Record.from_json(json.dumps(row)).to_json()


def test_a_rid_that_names_no_row_or_several_is_refused(small):
    run_dir, _ = small.inline()
    plan, (first, second) = small.plan(run_dir), rows(run_dir)[:2]
    wrong = ("0" if first["rid"][3] != "0" else "1").join((first["rid"][:3], first["rid"][4:]))
    with pytest.raises(Refused, match=f"^{wrong}: no finished row of .*/inline has this rid; did you mean {first['rid']}[?]$"):
        find(run_dir, plan, wrong)
    with pytest.raises(Refused, match="^zzzzzzzzzz: no finished row of .*/inline has this rid; results.jsonl names its 30 rows under rid$"):
        find(run_dir, plan, "zzzzzzzzzz")
    with pytest.raises(Refused, match=f"^{first['rid'][:7]}: a rid must be given with at least 8 of its 32 digits, got 7; results.jsonl has it in full$"):
        find(run_dir, plan, first["rid"][:7])
    twin = first["rid"][:10] + "f" * 22
    altered(small, run_dir, second, rid=twin)
    with pytest.raises(Refused, match=f"^{first['rid'][:8]}: begins the rid of 2 rows [(]{first['rid']}, {twin}[)]; give more digits$"):
        find(run_dir, plan, first["rid"][:8])


def test_a_worker_that_cannot_start_says_why_although_its_folder_goes(small, monkeypatch):
    run_dir, _ = small.inline()
    plan = small.plan(run_dir)
    unit, _ = find(run_dir, plan, rows(run_dir)[-1]["rid"])

    def fails(self) -> None:
        (small.folder / "scratch" / "log.txt").write_text("no such library")
        raise WorkerFailed("the worker could not start")

    monkeypatch.setattr("redteam.run.replay.Coordinator.run", fails)
    with pytest.raises(WorkerFailed, match="^the worker could not start\nno such library$"):
        again(run_dir, plan, [unit], small.folder / "scratch", start=small.worker)
