"""Both classes by themselves, and what stated probabilities are worth."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from redteam.record import Record, read_records
from redteam.reports.certainty import COLUMNS, certainty, measured
from redteam.reports.csv import render_csv
from redteam.reports.directory import read_run
from redteam.reports.drawing import height
from redteam.reports.markdown import render_markdown
from redteam.reports.rows import Answer


def answers(logits: list[float], labels: list[int]) -> list[Answer]:
    return [Answer(f"{i}", label, f"g{i}", logit, int(logit > 0), attackable=True, success=False, kept=True, quality={}) for i, (logit, label) in enumerate(zip(logits, labels, strict=True))]


def test_stated_probabilities_are_those_of_a_loop() -> None:
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(0, 3, 200), rng.integers(0, 2, 200)
    p = 1 / (1 + np.exp(-logits))
    found = measured(answers(logits.tolist(), labels.tolist()))
    wrong = [(1 - q if label else q) for q, label in zip(p, labels, strict=True) if (q > 0.5) != bool(label)]
    assert found["probability_fakes"]["value"] == pytest.approx(np.mean([q for q, label in zip(p, labels, strict=True) if label]))
    assert found["probability_reals"]["value"] == pytest.approx(np.mean([q for q, label in zip(p, labels, strict=True) if not label]))
    assert (found["certainty_when_wrong"]["value"], found["certainty_when_wrong"]["n"]) == (pytest.approx(np.mean(wrong)), len(wrong))
    gap = sum(abs(sum(q - label for q, label in zip(p, labels, strict=True) if i / 10 < q <= (i + 1) / 10)) for i in range(10)) / 200
    assert found["calibration_error"]["value"] == pytest.approx(gap)
    assert all(entry["low"] <= entry["value"] <= entry["high"] for entry in found.values())


def test_what_too_few_images_carry_is_left_out() -> None:
    assert measured(answers([1.0] * 9, [1] * 9)) == {}
    assert set(measured(answers([4.0] * 20, [1] * 20))) == {"probability_fakes"}  # one class, none judged wrongly


def test_both_classes_stand_side_by_side_with_their_clean_level(full_run: Path, parts: tuple[dict, dict]) -> None:
    told = parts[0]
    row = next(row for row in certainty(read_run(full_run))[0].rows if row.label == "pgd, eps\u00a04/255")
    cell = next(c for c in told["cells"] if c["attack"] == "pgd" and c["eps"] == 4 / 255)
    false_alarms, clean = cell["metrics"]["fpr"], told["cells"][0]["metrics"]
    real = row.shown["recall_real"]
    assert (real.value, real.low, real.high) == (1 - false_alarms["value"], 1 - false_alarms["high"], 1 - false_alarms["low"])
    assert (row.shown["tpr"].mark, real.mark) == (clean["tpr"]["value"], 1 - clean["fpr"]["value"])


def test_clean_images_come_first_then_attacks_then_noise(full_run: Path) -> None:
    rows = certainty(read_run(full_run))[0].rows
    assert [row.kind for row in rows] == ["clean", *["attack"] * 7, *["control"] * 3]
    assert rows[0].label == "unchanged images" and rows[0].shown["tpr"].mark is None


def test_the_diagram_shows_each_bin_where_its_images_are(full_run: Path) -> None:
    block = certainty(read_run(full_run))[0]
    rows = [row for row in read_records(full_run / "results.jsonl") if (row.target, row.defense, row.attack) == ("npr", "none", "identity")]
    top = [row for row in rows if 1 / (1 + np.exp(-row.outcome["score"])) > 0.9]
    assert block.panel is not None
    clean = next(line for line in block.panel.lines if line.role == "clean")
    assert clean.points[-1].y == height(np.mean([row.label for row in top]))
    assert clean.pieces == () and clean.points[-1].tip.endswith(f"n {len(top)}")
    assert {line.name for line in block.panel.lines} == {"as stated", "clean", "pgd"}  # the attack that leaves least accuracy
    assert len(block.panel.bars) == len(clean.points)


def test_the_error_is_told_with_its_binning_its_interval_and_what_chance_gives(full_run: Path) -> None:
    said = " ".join(certainty(read_run(full_run))[0].sentences).replace("\u00a0", " ")
    assert "calibration error over 10 bins of equal width, 95 % interval [0." in said and "n = 40)" in said
    assert "would show up to 0." in said and "this share of fakes, 50 %" in said


@pytest.mark.parametrize(("flag", "reason"), [("R4", "the target gives probabilities where log-odds were declared (R4)"), ("R19", "the target gives decisions, not scores (R19)")])
def test_scores_that_are_no_log_odds_are_not_taken_for_probabilities(make_run: Callable[..., Path], parts: tuple[dict, dict], full_run: Path, flag: str, reason: str) -> None:
    rows = list(read_records(full_run / "results.jsonl"))
    parts[0]["cells"][0]["flags"] = [{"id": flag, "severity": "invalid", "detail": ""}]
    block = certainty(read_run(make_run(parts[0], rows=rows)))[0]
    assert (block.panel, block.sentences) == (None, (f"No calibration: {reason}.",))
    assert {block.rows[1].shown[name].reason for name in COLUMNS[2:]} == {reason}
    assert block.rows[1].shown["tpr"].value is not None


def test_without_records_recall_is_still_shown_and_the_rest_says_why_not(make_run: Callable[..., Path]) -> None:
    run = make_run()
    (run / "results.jsonl").unlink()
    block = certainty(read_run(run))[0]
    assert block.panel is None
    assert block.rows[1].shown["recall_real"].value is not None
    assert block.rows[1].shown["probability_fakes"].reason == "images of fewer than 10 groups"


def test_csv_and_markdown_hold_the_same_figures_as_the_page(full_run: Path) -> None:
    shown = certainty(read_run(full_run))[0].rows[1]
    table = {(row["key"], row["metric"]): row for row in csv.DictReader(io.StringIO(render_csv(full_run)))}
    line = next(line for line in render_markdown(full_run).split("both classes")[1].splitlines() if line.startswith(f"| {shown.label} |"))
    names = [name for name in COLUMNS[2:] if shown.shown[name].value is not None]
    assert len(names) >= 3
    for name in names:
        assert float(table[shown.key, name]["value"]) == shown.shown[name].value
        assert shown.shown[name].text.replace("<", "&lt;").replace(">", "&gt;") in line


def test_rows_without_a_score_are_counted_by_their_status(make_run: Callable[..., Path], parts: tuple[dict, dict], full_run: Path) -> None:
    rows = list(read_records(full_run / "results.jsonl"))
    lost = [Record(**{**vars(row), "status": status, "outcome": {}}) for row, status in zip(rows[-3:], ("oom", "timeout", "oom"), strict=True)]
    run = read_run(make_run(parts[0], rows=[*rows[:-3], *lost]))
    assert run.rows.lost[lost[0].cell] == {"oom": 2, "timeout": 1}
