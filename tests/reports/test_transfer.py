"""The transfer matrix: which cells stand where, beside which noise, and what is said where there is none."""

from __future__ import annotations

import copy

import pytest

from redteam.reports import html
from redteam.reports.directory import RunDirectory
from redteam.reports.transfer import matrices


def cell(target, defense, attack, value, **fields):
    share = {"value": value, "low": max(0.0, value - 0.1), "high": min(1.0, value + 0.1), "n": 40}
    base = {"key": f"{target}-{defense}-{attack}", "data": "camera", "target": target, "defense": defense, "attack": attack, "kind": "mi", "goal": "evade+frame", "strength": {"eps": 4 / 255}}
    base |= {"norm": "linf", "eps": 4 / 255, "control": False, "controls": [f"{target}-{defense}-noise"], "verdict": "valid", "flags": [], "absent": {}, "surrogates": [], "resamples": False}
    return base | {"metrics": {"attack_success_rate": share, "frame_rate": share}} | fields


def told():
    """Two detectors, one of them also behind JPEG; one attack made on each, one made on both for one target only."""
    cells = []
    for target, defense in (("npr", "none"), ("npr", "jpeg"), ("other", "none")):
        cells += [
            cell(target, defense, "noise", 0.1, control=True, kind="noise", controls=[], strength={}),
            cell(target, defense, "pgd", 1.0, kind="pgd"),
            cell(target, defense, "from-npr", 0.9 if target == "npr" else 0.2, surrogates=["npr"]),
            cell(target, defense, "turned", 0.3, surrogates=["npr"], kind="bsr", resamples=True, verdict="invalid"),
        ]
    cells.append(cell("other", "none", "from-both", 0.8, surrogates=["npr", "other"]))
    return {"cells": cells, "defenses": [{"id": "none", "kind": "none"}, {"id": "jpeg", "kind": "jpeg"}], "worst_case": []}


def test_targets_are_columns_and_surrogates_are_groups_of_rows_with_the_noise_last():
    passes, accused = matrices(told())
    assert (passes.metric, accused.metric) == ("attack_success_rate", "frame_rate")
    assert [(c.target, c.defense, c.defended) for c in passes.columns] == [("npr", "none", False), ("npr", "jpeg", True), ("other", "none", False)]
    assert [title for title, _ in passes.groups] == ["Made on npr", "Made on npr and other", "Random noise of the same size: nobody attacks here"]
    labels = [[line.label.replace("\u00a0", " ") for line in lines] for _, lines in passes.groups]
    assert labels == [["from-npr, eps 4/255", "turned, eps 4/255"], ["from-both, eps 4/255"], ["noise, eps 4/255"]]


def test_each_entry_has_its_interval_its_noise_and_says_whether_anything_had_to_carry_over():
    (_, (line, turned)), _, _ = matrices(told())[0].groups
    assert [entry.shown.value for entry in line.entries] == [0.9, 0.9, 0.2]
    assert [entry.own for entry in line.entries] == [True, True, False]
    assert {entry.shown.mark for entry in line.entries} == {0.1}
    assert line.entries[2].shown.interval.replace("\u00a0", " ") == "[10, 30] %"
    assert (line.detail, turned.detail) == ("mi", "bsr, resamples")
    assert turned.entries[0].verdict == "invalid"


def test_what_is_not_part_of_the_scenario_is_a_dash_with_its_reason():
    matrix = matrices(told())[0]
    (line,) = matrix.groups[1][1]
    assert [entry.shown.text for entry in line.entries] == ["–", "–", "80\u00a0%"]
    assert matrix.notes == ("not part of this scenario",)


def test_without_surrogates_or_without_a_figure_there_is_no_matrix():
    none = told()
    none["cells"] = [c for c in none["cells"] if not c["surrogates"]]
    assert matrices(none) == []
    unresolvable = told()
    for c in unresolvable["cells"]:
        c["metrics"], c["absent"] = {}, {"attack_success_rate": "3 groups, fewer than 10"}
    assert matrices(unresolvable) == []


@pytest.fixture
def page(parts, tmp_path):
    summary = copy.deepcopy(parts[0])
    return html.page(RunDirectory(tmp_path, {**summary, **told()}, (), {}, {}, None, ()))


def test_the_page_shows_it_and_names_verdicts_that_are_not_valid(page):
    section = page.split('id="transfer"')[1].split("</section>")[0]
    assert section.count("data-transfer=") == 2 * 4
    assert "behind <bdi>jpeg</bdi>" in section
    assert "same detector" in section and "not part of this scenario" in section
    assert "n&nbsp;40, same detector, invalid" in section
