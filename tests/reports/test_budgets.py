"""Worst case within a budget: what is drawn from the summary, and beside what."""

from __future__ import annotations

from redteam.reports.budgets import budgets
from redteam.reports.drawing import Line, Panel, height


def panels(told: dict) -> tuple[Panel, ...]:
    return budgets(told)[0].panels


def role(panel: Panel, name: str) -> Line:
    return next(line for line in panel.lines if line.role == name)


def accuracy(cell: dict) -> float:
    return height(cell["metrics"]["robust_accuracy"]["value"])


def test_the_worst_case_begins_at_the_clean_accuracy_and_follows_the_budgets(parts: tuple[dict, dict]) -> None:
    told = parts[0]
    (panel,) = panels(told)
    worst = [entry for entry in told["worst_case"][:4] if entry["norm"] == "linf"]
    assert [p.y for p in role(panel, "attack").points] == [accuracy(told["cells"][0]), *(accuracy(entry) for entry in worst)]
    assert all(p.low is not None and p.high is not None for p in role(panel, "attack").points)
    assert [text for _, text in panel.x_ticks] == ["0", "1/255", "2/255", "4/255"]


def test_noise_and_unchanged_images_are_drawn_beside_it(parts: tuple[dict, dict]) -> None:
    (panel,) = panels(parts[0])
    noise = [c for c in parts[0]["cells"][:8] if c["attack"] == "noise"]
    assert [p.y for p in role(panel, "noise").points][1:] == [accuracy(c) for c in noise]
    assert {p.y for p in role(panel, "identity").points} == {accuracy(parts[0]["cells"][0])}


def test_the_best_single_attack_is_drawn_only_where_it_does_less(parts: tuple[dict, dict]) -> None:
    told = parts[0]
    assert not any(line.role == "single" for line in panels(told)[0].lines)
    told["worst_case"][2]["metrics"] = {"robust_accuracy": {"value": 0.05, "low": 0.02, "high": 0.1, "n": 192}}
    single = role(panels(told)[0], "single")
    pgd = [c for c in told["cells"][:8] if c["attack"] == "pgd"]
    assert [p.y for p in single.points] == [accuracy(c) for c in pgd]
    assert single.points[2].tip.replace("\u00a0", " ").startswith("best single attack, pgd, eps 4/255: ")


def test_each_norm_has_its_drawing_and_what_has_no_budget_is_said(parts: tuple[dict, dict]) -> None:
    told = parts[0]
    told["worst_case"].insert(0, {**told["worst_case"][0], "norm": "l2", "eps": 0.5, "attacks": ["pgd-l2"]})
    block = budgets(told)[0]
    assert [panel.title for panel in block.panels] == ["Accuracy within an L∞ budget", "Accuracy within an L2 budget"]
    assert block.notes[0].replace("\u00a0", " ").startswith("Without a budget, over jpeg, quality 95, 85, 75, 60: ")


def test_a_worst_case_of_invalid_attacks_is_crossed_out(parts: tuple[dict, dict]) -> None:
    mine = next(block for block in budgets(parts[0]) if block.target == "mine")
    assert {p.verdict for p in role(mine.panels[0], "attack").points[1:]} == {"invalid"}


def test_blocks_without_a_budget_or_without_an_interval_have_no_drawing(parts: tuple[dict, dict]) -> None:
    assert {(block.data, block.target, block.defense) for block in budgets(parts[0])} == {("camera", "npr", "none"), ("camera", "npr", "jpeg75"), ("camera", "mine", "none")}
    assert budgets({**parts[0], "worst_case": []}) == []


def test_the_drawing_is_told_in_words(parts: tuple[dict, dict]) -> None:
    said = panels(parts[0])[0].description.replace("\u00a0", " ")
    assert said.startswith("Accuracy that is left, against the L∞ radius of the budget. worst case: unchanged: 96 % [91, 98] %; 1/255: 65 % [57, 72] %;")
