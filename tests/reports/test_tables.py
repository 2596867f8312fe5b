"""Rows, worst cases, reasons and groups: what every report takes from the summary."""

from __future__ import annotations

from redteam.reports import environment, headline, tables
from redteam.reports.groups import MOST, group_tables
from redteam.reports.tables import Notes


def test_cells_stand_in_blocks_in_the_order_of_the_summary(parts: tuple[dict, dict]) -> None:
    blocks = tables.blocks(parts[0])
    assert [(b.data, b.target, b.defense) for b in blocks] == [("camera", "npr", "none"), ("camera", "npr", "jpeg75"), ("camera", "mine", "none"), ("photos", "npr", "none")]
    assert [len(rows) for rows in (blocks[0].attacks, blocks[0].worst, blocks[0].controls)] == [7, 4, 4]


def test_a_worst_case_is_no_better_founded_than_its_attacks(parts: tuple[dict, dict]) -> None:
    _, bounded, mine, _ = tables.blocks(parts[0])
    assert [row.verdict for row in mine.worst] == ["invalid", "invalid", "invalid", "valid"]
    assert [row.verdict for row in bounded.worst] == ["upper_bound", "upper_bound", "upper_bound", "valid"]


def test_worst_cases_name_their_attacks_as_the_rows_do(parts: tuple[dict, dict]) -> None:
    details = [row.detail.replace("\u00a0", " ") for row in tables.blocks(parts[0])[0].worst]
    assert details == ["over pgd, eps 1/255", "over pgd, eps 1/255, 2/255", "over pgd, eps 1/255, 2/255, 4/255", "over jpeg, quality 95, 85, 75, 60"]


def test_the_bar_of_an_attack_carries_the_level_of_its_noise(parts: tuple[dict, dict]) -> None:
    told = parts[0]
    arm = next(c for c in told["cells"] if c["attack"] == "noise" and c["eps"] == 4 / 255)
    row = next(row for row in tables.blocks(told)[0].attacks if row.label == "pgd, eps\u00a04/255")
    assert row.shown["frame_rate"].mark == arm["metrics"]["frame_rate"]["value"]


def test_an_attack_through_a_surrogate_says_so_even_within_a_chain(parts: tuple[dict, dict]) -> None:
    told = parts[0]
    told["cells"][2]["params"] = {"surrogates": ["spectrum"], "steps": 8}
    told["cells"][4]["params"] = {"stages": [{"kind": "pgd", "surrogates": ["spectrum", "mine"]}, {"kind": "jpeg"}]}
    details = [row.detail for row in tables.blocks(told)[0].attacks]
    assert details[:3] == ["made on the surrogate spectrum, then shown to the target", "made on the surrogate spectrum; mine, then shown to the target", ""]


def test_each_reason_has_one_footnote(parts: tuple[dict, dict]) -> None:
    assert tables.blocks(parts[0])[3].notes == ("3 groups, fewer than 10", tables.NOT_FOR_WORST, "no image changed")[:2]


def test_what_the_summary_does_not_say_is_explained_and_not_invented(parts: tuple[dict, dict]) -> None:
    identity = next(row for row in tables.blocks(parts[0])[0].controls if row.label == "identity")
    assert (identity.shown["frame_rate"].text, identity.shown["frame_rate"].reason) == ("–", tables.NOT_ATTACKED)
    assert identity.shown["queries"].reason == tables.ASKS_NOTHING
    assert tables.shown({"metrics": {}}, "auc", Notes()).reason == tables.NO_REASON


def test_a_figure_that_is_the_same_for_every_image_has_no_interval(parts: tuple[dict, dict]) -> None:
    row = tables.blocks(parts[0])[0].attacks[0]
    assert (row.shown["queries"].text, row.shown["queries"].interval) == ("40", "")


def test_a_metric_that_the_table_of_names_does_not_know_gets_a_column(parts: tuple[dict, dict]) -> None:
    for cell in parts[0]["cells"]:
        cell["metrics"]["bit_accuracy"] = {"value": 0.987, "low": 0.97, "high": 0.99, "n": 96}
    block = tables.blocks(parts[0])[0]
    assert block.columns[-1] == "bit_accuracy"
    assert (block.attacks[0].shown["bit_accuracy"].text, block.attacks[0].shown["bit_accuracy"].interval) == ("0.987", "[0.97, 0.99]")


def test_groups_are_counted_image_by_image_and_only_where_there_is_no_figure_over_all(parts: tuple[dict, dict]) -> None:
    told = parts[0]
    told["cells"][1]["by_group"] = {"scene": {"frame_rate": {"value": 0.5, "n": 2}}}  # has a figure over all groups as well
    found = group_tables(told)
    assert [(table.data, table.metric, table.groups) for table in found] == [("photos", metric, ("chelsea", "coffee", "flower")) for metric in ("attack_success_rate", "frame_rate", "robust_accuracy")]
    assert dict((name.replace("\u00a0", " "), values) for _, name, values in found[0].rows)["pgd, eps 4/255"] == ("6 of 8", "6 of 8", "6 of 8")


def test_more_groups_than_a_page_holds_are_counted(parts: tuple[dict, dict]) -> None:
    told = parts[0]
    for cell in told["cells"][-4:]:
        cell["by_group"] = {f"g{i}": {"frame_rate": {"value": 0.5, "n": 2}} for i in range(30)}
    table = next(table for table in group_tables(told) if table.metric == "frame_rate")
    assert len(table.groups) == MOST and table.left_out == 30 + 3 - MOST


def test_a_threshold_says_how_it_was_set(parts: tuple[dict, dict]) -> None:
    told = parts[0]
    told["thresholds"][0]["at_fpr"] = 0.05
    rows = [tuple(text.replace("\u00a0", " ") for text in row) for row in environment.thresholds(told)]
    assert rows[0] == ("npr", "none", "−0.310", "set on clean calibration images to 5 % false alarms (400 real images)")
    assert rows[1] == ("mine", "none", "0.000", "fixed in the scenario")


def test_an_l2_budget_is_a_length_and_comes_after_the_largest_change(parts: tuple[dict, dict]) -> None:
    told = parts[0]
    told["worst_case"].insert(0, {**told["worst_case"][0], "norm": "l2", "eps": 0.5, "attacks": ["pgd-l2"]})
    assert [row.label for row in tables.blocks(told)[0].worst][3] == "Worst case, L2\u00a0≤\u00a00.5"
    assert "An attacker who may change an image by an L2 length of 0.5 makes" in headline.findings(told)[0].sentences[2]
