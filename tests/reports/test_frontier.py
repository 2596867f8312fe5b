"""Quality against robustness: the worst case per image under a least quality, and where the points of the drawing lie."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from redteam.measure.statistics import clustered_rate
from redteam.record import read_records
from redteam.reports.directory import read_run
from redteam.reports.drawing import BOTTOM, LEFT, WIDTH, height
from redteam.reports.frontier import END, Frontier, frontiers, worst_within
from redteam.reports.rows import Answer, Rows

CELLS = [{"key": "a", "verdict": "valid"}, {"key": "b", "verdict": "valid"}]


def answer(name: str, psnr: float | None, success: bool, **fields: Any) -> Answer:
    base = Answer(name, 1, name, 0.0, 0, attackable=True, success=success, kept=True, quality={} if psnr is None else {"psnr_db": psnr})
    return replace(base, **fields)


def shares(a: list[Answer], b: list[Answer], cells: list[dict] = CELLS) -> dict[float, float]:
    return {q: share.value for q, share in worst_within("attack_success_rate", "psnr_db", cells, Rows(answers={"a": a, "b": b}))}


def ten(psnr: float, success: bool) -> list[Answer]:
    return [answer(f"{i}", psnr, success) for i in range(10)]


def test_each_image_counts_with_the_best_quality_at_which_any_attack_turns_it() -> None:
    a = [answer(f"{i}", 30.0 + i, success=i < 5) for i in range(10)]
    b = [answer(f"{i}", 41.0, success=i == 9) for i in range(10)]
    assert shares(a, b) == {41.0: 0.1, 40.0: 0.1, 35.0: 0.1, 34.0: 0.2, 33.0: 0.3, 32.0: 0.4, 31.0: 0.5, 30.0: 0.6}


def test_an_attack_that_broke_its_budget_or_is_invalid_turns_nothing() -> None:
    broken = [answer(f"{i}", 40.0, success=True, kept=False) for i in range(10)]
    assert shares(broken, ten(30.0, True)) == {30.0: 1.0}
    assert shares(ten(40.0, True), ten(30.0, True), [{"key": "a", "verdict": "invalid"}, CELLS[1]]) == {30.0: 1.0}


def test_images_of_the_other_class_or_misjudged_when_clean_are_not_counted() -> None:
    others = [answer(f"r{i}", 40.0, success=True, label=0) for i in range(10)] + [answer(f"m{i}", 40.0, success=True, attackable=False) for i in range(10)]
    assert shares(others, ten(30.0, True)) == {30.0: 1.0}


def test_no_line_is_drawn_under_ten_groups() -> None:
    assert shares(ten(40.0, True)[:9], []) == {}


def test_the_line_is_that_of_a_loop_over_images_and_carries_the_interval_of_its_groups(full_run: Path) -> None:
    block = frontiers(read_run(full_run))[0]
    rows = [row for row in read_records(full_run / "results.jsonl") if (row.target, row.defense, row.label) == ("npr", "none", 1) and row.attack in ("pgd", "jpeg") and row.outcome["attackable"]]
    best = {row.id: -math.inf for row in rows}
    for row in rows:
        if row.outcome["success"]:
            best[row.id] = max(best[row.id], row.quality["psnr_db"])
    groups = {row.id: row.group for row in rows}
    expected = clustered_rate([float(best[name] >= 45.0) for name in best], [groups[name] for name in best])
    line = next(line for line in block.panels[0].lines if line.role == "single")
    point = next(point for point in line.points if point.tip.startswith("keeping 45 or more"))
    assert (point.y, point.low, point.high) == (height(expected.value), height(expected.low), height(expected.high))
    assert [p.y for p in line.points] == sorted((p.y for p in line.points), reverse=True)  # allowing more never does less harm


def test_each_attack_and_strength_is_a_point_at_its_quality_and_success(full_run: Path, parts: tuple[dict, dict]) -> None:
    panel = frontiers(read_run(full_run))[0].panels[0]
    cells = [c for c in parts[0]["cells"][:11] if not c["control"]]
    points = [point for line in panel.lines if line.role == "attack" for point in (line.points if line.name == "pgd" else line.points[::-1])]  # quality was swept downwards
    assert [point.y for point in points] == [height(c["metrics"]["attack_success_rate"]["value"]) for c in cells]
    xs = sorted((c["metrics"]["psnr_db"]["value"], point.x) for c, point in zip(cells, points, strict=True))
    assert [x for _, x in xs] == sorted(x for _, x in xs)
    assert points[0].tip.replace("\u00a0", " ") == "pgd, eps 1/255: 47 % [36, 57] %, n 92, valid, PSNR 38.2 dB"


def test_noise_is_drawn_in_and_a_budget_has_its_own_mark(full_run: Path) -> None:
    lines = frontiers(read_run(full_run))[0].panels[0].lines
    assert [len(line.points) for line in lines if line.role == "noise"] == [3]
    assert {line.name: {point.shape for point in line.points} for line in lines if line.role == "attack"} == {"pgd": {"dot"}, "jpeg": {"triangle"}}


def test_names_lie_inside_and_not_on_points_or_each_other(full_run: Path) -> None:
    for panel in (panel for block in frontiers(read_run(full_run)) for panel in block.panels):
        named = [line for line in panel.lines if line.name_y is not None]
        assert any(line.role == "attack" for line in named)
        boxes = [(line.name_x, line.name_y - 6, line.name_x + 7.0 * len(line.name), line.name_y + 6) for line in named]
        points = [(p.x, p.y) for line in panel.lines if line.marked for p in line.points]
        for i, (x0, y0, x1, y1) in enumerate(boxes):
            assert LEFT <= x0 and x1 <= WIDTH and y1 <= BOTTOM
            assert not any(x0 < x < x1 and y0 < y < y1 for x, y in points)
            assert not any(x0 < b[2] and b[0] < x1 and y0 < b[3] and b[1] < y1 for b in boxes[:i])


def test_attacks_that_move_pixels_are_named_and_not_placed(make_run: Callable[..., Path], parts: tuple[dict, dict]) -> None:
    for c in parts[0]["cells"]:
        if c["attack"] == "jpeg":
            c["metrics"].pop("psnr_db", None)
    block = frontiers(read_run(make_run(parts[0])))[0]
    assert block.notes == ("Not drawn, since without a PSNR: jpeg, quality\u00a095, 85, 75, 60.",)
    assert not any(line.name == "jpeg" for line in block.panels[0].lines)


def test_without_any_psnr_the_axis_is_ssim_and_ends_at_one(make_run: Callable[..., Path], parts: tuple[dict, dict]) -> None:
    for c in parts[0]["cells"]:
        c["metrics"].pop("psnr_db", None)
    panel = frontiers(read_run(make_run(parts[0])))[0].panels[0]
    assert panel.x_label.startswith("SSIM")
    assert all(LEFT <= x <= END and float(text or 0) <= 1 for x, text in panel.x_ticks)


def test_figures_of_two_corpora_are_never_pooled(make_run: Callable[..., Path], parts: tuple[dict, dict]) -> None:
    def of(run: Path) -> list[Frontier]:
        return [block for block in frontiers(read_run(run)) if block.data == "camera"]

    told = parts[0]
    alone = of(make_run(told))
    second = [{**c, "data": "other", "key": f"other{c['key']}"} for c in told["cells"] if c["data"] == "camera"]
    assert of(make_run({**told, "cells": [*told["cells"], *second]})) == alone


@pytest.mark.parametrize("metric", ["attack_success_rate", "frame_rate"])
def test_a_drawing_says_in_words_what_it_shows(full_run: Path, metric: str) -> None:
    panel = next(panel for panel in frontiers(read_run(full_run))[0].panels if panel.kind == metric)
    assert "pgd, eps 4/255 at 35.2 dB:" in panel.description.replace("\u00a0", " ")
    assert "Worst case per image: keeping 45 dB or more:" in panel.description
