"""Accuracy from per-image distances: what is left at each budget, its interval, and the quantiles in words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from redteam.measure.statistics import wilson
from redteam.reports import render_html
from redteam.reports.directory import RunDirectory, read_run
from redteam.reports.distances import distances, left
from redteam.reports.drawing import height
from redteam.reports.markdown import document
from redteam.reports.rows import Answer
from redteam.reports.svg import drawings

LEVELS = [1, 1, 2, 2, 2, 3, 5, None, None, 4, 1, 2, 6, None, 3, 2, 1, 1, 2, 3]


def answer(i: int, distance: float | None, attackable: bool = True) -> Answer:
    return Answer(f"i{i}", i % 2, f"g{i}", 1.0, 1, attackable, distance is not None, True, {}, distance)


@pytest.fixture
def run(parts: tuple[dict, dict], make_run: Callable[..., Path], many: Callable[..., list]) -> Callable[..., RunDirectory]:
    """A run whose strongest PGD on the first block has noted distances, in levels of 255; None stood."""

    def make(levels: Sequence[int | None] = LEVELS, wrong: int = 0) -> RunDirectory:
        told = parts[0]
        cell = next(c for c in told["cells"] if c["attack"] == "pgd" and c["eps"] == 4 / 255)
        cell |= {"attack": "least", "kind": "minimum", "eps": 8 / 255, "strength": {"eps": 8 / 255}}
        return read_run(make_run(told=told, rows=many(cell, levels, wrong)))

    return make


@pytest.fixture
def many() -> Callable[..., list]:
    from redteam.record import Record, rid

    def rows(cell: dict, levels: Sequence[int | None], wrong: int) -> list[Record]:
        found = []
        for i, level in enumerate(levels):
            place = {name: cell[name] for name in ("data", "target", "defense", "attack", "strength")}
            outcome = {"score": 1.0, "decision": 1, "attackable": i >= wrong, "success": level is not None}
            notes = {} if level is None else {"distance": level / 255}
            found.append(Record(rid=rid(cell["key"], f"i{i}"), cell=cell["key"], **place, repeat=0, id=f"i{i}", sha256=None, label=i % 2, group=f"g{i}", height=8, width=8, goal="evade", outcome=outcome, notes=notes))
        return found

    return rows


def test_what_is_left_is_counted_with_a_wilson_interval() -> None:
    answers = [answer(i, None if level is None else level / 255) for i, level in enumerate(LEVELS)]
    for budget in range(8):
        stands = sum(level is None or level > budget for level in LEVELS)
        expected = wilson(stands, len(LEVELS))
        found = left(answers, budget / 255)
        assert (found.value, found.low, found.high, found.n) == pytest.approx((expected.value, expected.low, expected.high, 20))


def test_an_image_that_was_misjudged_when_clean_is_never_left() -> None:
    answers = [answer(i, None, attackable=i >= 5) for i in range(20)]
    assert left(answers, 0.0).value == 0.75


def test_the_curve_begins_at_the_clean_accuracy_and_ends_at_the_largest_budget_where_some_stood(run: Callable[..., RunDirectory]) -> None:
    (block,) = distances(run(wrong=2))
    (panel,) = block.panels
    curve = next(line for line in panel.lines if line.role == "attack")
    assert [text for _, text in panel.x_ticks if text][-1] == "8/255"
    shares = [sum(level is None or level > budget for level in LEVELS[2:]) / 20 for budget in (0, 1, 2, 3, 4, 5, 6, 8)]
    assert [point.y for point in curve.points] == pytest.approx([height(share) for share in shares])
    assert all(point.low is not None and point.high is not None for point in curve.points)


def test_where_all_fell_it_ends_where_the_last_did(run: Callable[..., RunDirectory]) -> None:
    panel = distances(run([1] * 12 + [3] * 8))[0].panels[0]
    assert [text for _, text in panel.x_ticks] == ["0", "1/255", "3/255"]
    curve = next(line for line in panel.lines if line.role == "attack")
    assert len(curve.pieces[0].split()) == 5  # two steps down, each with its corner


def test_the_quantiles_are_told_and_those_that_do_not_exist_too(run: Callable[..., RunDirectory]) -> None:
    said = distances(run())[0].sentences[0].replace("\u00a0", " ")
    order = sorted(LEVELS, key=lambda level: np.inf if level is None else level)
    assert said == f"least, eps 8/255: of 20 images that were judged rightly half fall within {order[9]}/255 (L∞), a quarter within {order[4]}/255, three quarters within {order[14]}/255."
    said = distances(run([1] * 10 + [None] * 10))[0].sentences[0].replace("\u00a0", " ")
    assert said.endswith("half fall within 1/255 (L∞), a quarter within 1/255, three quarters within no budget up to 8/255.")


def test_too_few_groups_leave_the_words_and_no_drawing(run: Callable[..., RunDirectory]) -> None:
    (block,) = distances(run([1, 2, 3]))
    assert block.panels == () and len(block.sentences) == 1


def test_a_norm_that_only_the_attack_knows_is_taken_from_it(run: Callable[..., RunDirectory]) -> None:
    found = run()
    cell = next(c for c in found.summary["cells"] if c["attack"] == "least")
    cell |= {"norm": None, "eps": None, "distance_norm": "l2"}
    panel = distances(found)[0].panels[0]
    assert panel.x_label == "L2 radius"
    cell["distance_norm"] = None
    assert distances(found) == []


def test_page_markdown_and_drawings_hold_it(run: Callable[..., RunDirectory]) -> None:
    found = run()
    assert 'id="distances"' in render_html(found.path)
    assert "## How small a change is enough" in document(found)
    assert any("-distance-" in name for name in drawings(found))


def test_many_distances_are_thinned_out(run: Callable[..., RunDirectory]) -> None:
    found = run()
    cell = next(c for c in found.summary["cells"] if c["attack"] == "least")
    cell |= {"norm": "l2", "eps": None}
    answers = found.rows.answers[cell["key"]]
    found.rows.answers[cell["key"]] = [replace(answers[0], id=f"x{i}", group=f"x{i}", distance=0.1 + 0.013 * i) for i in range(90)]
    curve = next(line for line in distances(found)[0].panels[0].lines if line.role == "attack")
    assert len(curve.points) == 25
    assert curve.points[-1].y == height(0.0)
