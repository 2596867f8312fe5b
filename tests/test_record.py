"""One row is one line of strict JSON, and says no number where there is none."""

from __future__ import annotations

import json
import math
from dataclasses import fields, replace

import pytest

from redteam.record import Cell, Record, finite, read_records, rid

CELL = Cell(data="d", target="t", defense="none", attack="pgd", goal="evade", kind="pgd", params={"eps": 0.1, "steps": 20}, strength={"eps": 0.0157})
ROW = Record(
    rid="r", cell=CELL.key, data="d", target="t", defense="none", attack="pgd", strength={"eps": 0.0157}, repeat=0, id="ü/1.png", sha256=None, label=1, group="g",
    height=4, width=5, goal="evade", outcome={"score": -1.5, "success": True}, quality={"psnr_db": None}, nonfinite={"quality.psnr_db": "+inf"}, valid=True,
    cost={"queries": 20, "first_gradient_zero": False}, warnings=("zero_gradient",),
)  # fmt: skip


def test_a_row_survives_the_way_to_json_and_back():
    line = ROW.to_json()
    assert Record.from_json(line) == ROW
    assert "\n" not in line
    assert line.isascii()
    assert list(json.loads(line)) == sorted(json.loads(line))
    assert set(json.loads(line)) == {field.name for field in fields(Record)}


def test_nan_in_a_row_is_a_bug_and_raises():
    with pytest.raises(ValueError, match="not JSON compliant"):
        replace(ROW, outcome={"score": math.nan}).to_json()


def test_an_unknown_key_in_a_file_is_refused():
    with pytest.raises(TypeError, match="unexpected keyword argument 'future'"):
        Record.from_json(json.dumps(json.loads(ROW.to_json()) | {"future": 1}))


def test_rows_are_read_one_at_a_time(tmp_path):
    path = tmp_path / "results.jsonl"
    path.write_text("".join(replace(ROW, id=str(i)).to_json() + "\n" for i in range(3)), encoding="utf-8")
    rows = read_records(path)
    assert next(rows).id == "0"
    assert [row.id for row in rows] == ["1", "2"]


@pytest.mark.parametrize(
    "change",
    [{"data": "e"}, {"target": "u"}, {"defense": "jpeg"}, {"attack": "pgd2"}, {"goal": "frame"}, {"kind": "fgsm"}, {"params": {"eps": 0.2}}, {"repeat": 1}],
)
def test_cells_that_compute_something_else_have_another_key(change):
    assert replace(CELL, **change).key != CELL.key


@pytest.mark.parametrize("change", [{"strength": {}}, {"controls": ("x",)}, {"norm": "linf"}, {"eps": 0.1}])
def test_what_only_describes_a_cell_does_not_change_its_key(change):
    assert replace(CELL, **change).key == CELL.key


def test_a_cell_is_called_by_its_attack_and_strength():
    assert CELL.label == "pgd eps=0.0157"
    assert replace(CELL, strength={}).label == "pgd"
    assert replace(CELL, strength={"pgd.eps": 4 / 255, "jpeg.quality": 80}).label == "pgd pgd.eps=0.01569 jpeg.quality=80"


def test_rows_of_different_cells_or_images_have_different_names():
    assert len({rid("a", "x"), rid("a", "y"), rid("b", "x"), rid("a", "x")}) == 3


def test_what_is_not_a_number_is_null_and_named():
    kept, lost = finite({"a": 1.0, "b": math.nan, "c": math.inf, "d": -math.inf})
    assert kept == {"a": 1.0, "b": None, "c": None, "d": None}
    assert lost == {"b": "nan", "c": "+inf", "d": "-inf"}
