"""Curves: which are drawn, where their points lie, and what they say to those who do not see them."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import pytest

from redteam.reports import drawing, figures, render_html


def curve(told: dict, attack: str = "pgd") -> figures.Figure:
    return next(figure for figure in figures.curves(told) if figure.attack == attack)


def test_each_swept_attack_of_each_block_has_a_figure(parts: tuple[dict, dict]) -> None:
    drawn = [(f.data, f.target, f.defense, f.attack) for f in figures.curves(parts[0])]
    blocks = [("camera", "npr", "none"), ("camera", "npr", "jpeg75"), ("camera", "mine", "none")]
    assert drawn == [(*block, attack) for block in blocks for attack in ("pgd", "jpeg")]  # photos have no pooled figures to draw


def test_an_attack_with_one_strength_has_no_curve(parts: tuple[dict, dict]) -> None:
    told = {**parts[0], "cells": [c for c in parts[0]["cells"] if c["attack"] != "pgd" or c["eps"] == 4 / 255]}
    assert {figure.attack for figure in figures.curves(told)} == {"jpeg"}


def test_the_control_arms_are_drawn_with_the_attack(parts: tuple[dict, dict]) -> None:
    assert [line.role for line in curve(parts[0]).panels[0].lines] == ["noise", "attack"]
    assert [line.role for line in curve(parts[0], "jpeg").panels[0].lines] == ["attack"]


def test_the_level_of_unchanged_images_is_drawn_where_they_have_one(parts: tuple[dict, dict]) -> None:
    parts[0]["cells"][0]["metrics"]["attack_success_rate"] = {"value": 0.25, "low": 0.2, "high": 0.3, "n": 92}
    level = curve(parts[0], "jpeg").panels[0].lines[0]
    assert (level.role, {point.y for point in level.points}) == ("identity", {drawing.BOTTOM - (drawing.BOTTOM - drawing.TOP) / 4})


def test_points_lie_where_their_shares_are(parts: tuple[dict, dict]) -> None:
    panel = curve(parts[0]).panels[0]
    attack = panel.lines[-1]
    values = [c["metrics"]["attack_success_rate"]["value"] for c in parts[0]["cells"][:8] if c["attack"] == "pgd"]
    heights = [drawing.BOTTOM - (drawing.BOTTOM - drawing.TOP) * value for value in values]
    assert [point.y for point in attack.points] == pytest.approx(heights)
    assert all(point.high <= point.y <= point.low for point in attack.points)  # the y axis of a drawing points down


def test_the_radius_axis_starts_at_zero_and_is_labelled_in_8_bit_levels(parts: tuple[dict, dict]) -> None:
    panel = curve(parts[0]).panels[0]
    xs = [x for x, _ in panel.x_ticks]
    assert [text for _, text in panel.x_ticks] == ["1/255", "2/255", "4/255"]
    assert (xs[2] - xs[1]) == pytest.approx(2 * (xs[1] - xs[0]))
    assert panel.x_label == "eps, L∞ radius of the attack"


def test_quality_falls_to_the_right(parts: tuple[dict, dict]) -> None:
    ticks = curve(parts[0], "jpeg").panels[0].x_ticks
    assert [text for _, text in sorted(ticks)] == ["95", "85", "75", "60"]


def test_a_line_never_bridges_a_missing_point(parts: tuple[dict, dict]) -> None:
    told = parts[0]
    missing = next(c for c in told["cells"] if c["attack"] == "pgd" and c["eps"] == 2 / 255)
    del missing["metrics"]["attack_success_rate"]
    attack = curve(told).panels[0].lines[-1]
    assert attack.pieces == () and len(attack.points) == 2


def test_a_wide_sweep_is_drawn_on_a_logarithmic_axis(parts: tuple[dict, dict]) -> None:
    told = parts[0]
    for queries, c in zip((10, 100, 1000), [c for c in told["cells"] if c["attack"] == "pgd"][:3], strict=True):
        c["strength"] = {"queries": queries}
    xs = [x for x, _ in curve(told).panels[0].x_ticks]
    assert xs[1] - xs[0] == pytest.approx(xs[2] - xs[1])


def test_names_of_lines_do_not_lie_on_each_other_or_outside(parts: tuple[dict, dict]) -> None:
    for figure in figures.curves(parts[0]):
        for panel in figure.panels:
            places = sorted(line.name_y for line in panel.lines)
            assert all(b - a >= drawing.NAME_GAP - 1e-9 for a, b in zip(places, places[1:], strict=False))
            assert drawing.TOP - 1 <= places[0] and places[-1] <= drawing.BOTTOM + 1e-9


def test_a_curve_says_in_words_what_it_draws(parts: tuple[dict, dict]) -> None:
    said = curve(parts[0]).panels[0].description.replace("\u00a0", " ")
    assert said.startswith("Fakes that pass against eps. pgd: 1/255: 47 % [36, 57] %; 2/255:")
    assert said.endswith("4/255: 1 % [0, 6] %.")


def test_every_drawing_is_well_formed_and_has_a_title(make_run: Callable[..., Path]) -> None:
    html = render_html(make_run())
    drawings = [ET.fromstring(part.split("</svg>")[0].join(["<svg", "</svg>"])) for part in html.split("<svg")[1:]]
    plots = [svg for svg in drawings if svg.get("role") == "img"]
    assert len(plots) == 12 + 3 + 6  # curves, worst cases, quality
    assert all(svg.find("title").text and svg.find("desc").text for svg in plots)  # type: ignore[union-attr]
    assert all(svg.get("aria-hidden") == "true" for svg in drawings if svg not in plots)
