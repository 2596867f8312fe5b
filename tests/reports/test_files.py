"""Markdown, CSV, JUnit, the terminal table, and writing them."""

from __future__ import annotations

import csv
import io
import json
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from redteam.record import Record
from redteam.reports import RunDirectoryError, headline, write_reports
from redteam.reports.csv import COLUMNS, render_csv
from redteam.reports.junit import render_junit
from redteam.reports.markdown import render_markdown
from redteam.reports.terminal import WIDTH, closing_table

HOSTILE = "<script>alert(1)</script>|x`[a](http://evil.example)\n# head\x1b[31m \u202e"


def printed(told: dict, judged: dict, width: int = WIDTH) -> str:
    console = Console(width=width, file=io.StringIO(), color_system=None, legacy_windows=False)
    console.print(closing_table(told, judged))
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_four_files_are_written_and_no_other_is_left(make_run: Callable[..., Path]) -> None:
    run = make_run()
    before = {path.name for path in run.iterdir()}
    written = write_reports(run)
    assert [path.name for path in written] == ["report.html", "report.md", "report.csv", "junit.xml"]
    assert {path.name for path in run.iterdir()} - before == {path.name for path in written}


def test_a_second_report_replaces_the_first(make_run: Callable[..., Path], parts: tuple[dict, dict]) -> None:
    run = make_run()
    write_reports(run, ("md",))
    make_run({**parts[0], "scenario": "renamed"})
    (path,) = write_reports(run, ("md",))
    assert path.read_text(encoding="utf-8").startswith("# Robustness of renamed\n")


def test_nothing_is_written_where_the_summary_is_broken(make_run: Callable[..., Path]) -> None:
    run = make_run()
    (run / "summary.json").write_text("{")
    with pytest.raises(RunDirectoryError):
        write_reports(run)
    assert not (run / "report.html").exists()


def test_an_unknown_format_is_refused_with_the_nearest(make_run: Callable[..., Path]) -> None:
    with pytest.raises(ValueError, match=r"^formats: must be among html, md, csv, junit, svg, got 'htm'; did you mean 'html'\?$"):
        write_reports(make_run(), ("htm",))


def test_the_csv_holds_each_metric_of_each_cell_with_all_its_digits(make_run: Callable[..., Path], parts: tuple[dict, dict]) -> None:
    told, _ = parts
    rows = list(csv.DictReader(io.StringIO(render_csv(make_run(told)))))
    assert tuple(rows[0]) == COLUMNS
    found = {(row["key"], row["metric"]): row for row in rows}
    assert len(found) == len(rows) == sum(len(cell["metrics"]) + len(cell["absent"]) for cell in told["cells"])
    for cell in told["cells"]:
        for name, metric in cell["metrics"].items():
            row = found[cell["key"], name]
            assert {end: float(row[end]) for end in ("value", "low", "high")} == {end: metric[end] for end in ("value", "low", "high")}
            assert (int(row["n"]), json.loads(row["strength"]), row["verdict"]) == (metric["n"], cell["strength"], cell["verdict"])
        for name, reason in cell["absent"].items():
            assert (found[cell["key"], name]["value"], found[cell["key"], name]["absent"]) == ("", reason)


@pytest.mark.parametrize("name", ["=cmd()", "+1", "-2", "@x", "\tx"])
def test_a_spreadsheet_does_not_take_a_name_for_a_formula(make_run: Callable[..., Path], parts: tuple[dict, dict], name: str) -> None:
    told, _ = parts
    told["cells"][0]["target"] = name
    assert next(csv.DictReader(io.StringIO(render_csv(make_run(told)))))["target"] == f"'{name}"


def test_each_gate_is_a_test_case_with_the_outcome_that_a_server_understands(make_run: Callable[..., Path]) -> None:
    suite = ET.fromstring(render_junit(make_run())).find("testsuite")
    assert suite is not None
    assert {name: suite.get(name) for name in ("tests", "failures", "errors", "skipped")} == {"tests": "4", "failures": "1", "errors": "1", "skipped": "1"}
    assert [(case.get("name"), [child.tag for child in case]) for case in suite] == [("clean", []), ("linf4", ["failure"]), ("jpeg", ["skipped"]), ("mine4", ["error"])]
    skipped = suite.find("testcase/skipped")
    assert skipped is not None and skipped.get("message") == "n = 92 is below min_n = 200."


def test_gates_that_cannot_be_read_are_an_error_and_not_silence(make_run: Callable[..., Path]) -> None:
    run = make_run()
    (run / "gates.json").unlink()
    suite = ET.fromstring(render_junit(run)).find("testsuite")
    assert suite is not None and (suite.get("tests"), suite.get("errors")) == ("1", "1")


def test_hostile_text_gives_well_formed_xml(make_run: Callable[..., Path], parts: tuple[dict, dict]) -> None:
    told, judged = parts
    judged["gates"][1] |= {"id": HOSTILE, "detail": HOSTILE + "\x00\ufffe"}
    suite = ET.fromstring(render_junit(make_run({**told, "scenario": HOSTILE}, judged))).find("testsuite")
    assert suite is not None and "<script>" in (suite[1].get("name") or "")


def test_the_markdown_has_a_row_for_each_cell_and_worst_case(make_run: Callable[..., Path], parts: tuple[dict, dict]) -> None:
    told, _ = parts
    text = render_markdown(make_run(told)).replace("\u00a0", " ")
    cells = text.split("## Cells")[1].split("## Quality")[0]
    rows = [line for line in cells.splitlines() if line.startswith("| ") and not line.startswith("| attack")]
    assert len(rows) == len(told["cells"]) + len(told["worst_case"])
    assert any(row.startswith("| pgd, eps 4/255 | 192 | 0 | 97 % [90, 99] % |") for row in rows)
    for table in cells.split("### ")[1:]:
        assert len({line.count("|") for line in table.splitlines() if line.startswith("|")}) == 1


def test_hostile_text_stays_in_its_cell_of_a_markdown_table(make_run: Callable[..., Path], parts: tuple[dict, dict]) -> None:
    told, judged = parts
    for cell in told["cells"]:
        cell |= {"target": HOSTILE, "attack": cell["attack"] if cell["control"] else HOSTILE}
    text = render_markdown(make_run(told, judged))
    assert "<script" not in text and "](http" not in text and "http://evil" not in text
    assert "\n# head" not in text and "\x1b" not in text and "\u202e" not in text
    lines = [line.replace("\\|", "") for line in text.split("## Cells")[1].splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in lines[:12]}) == 1


def test_the_closing_table_fits_a_hundred_columns_and_says_verdicts_in_words(parts: tuple[dict, dict]) -> None:
    text = printed(*parts)
    lines = [line.rstrip() for line in text.splitlines()]
    assert max(map(len, lines)) <= WIDTH
    assert any(line.split()[:3] == ["pgd,", "eps\u00a04/255", "192"] or "pgd, eps" in line and "97 [90, 99]" in line for line in lines)
    assert "upper bound R8" in text and "invalid R2" in text and "unresolvable" in text
    assert "gate linf4: fail" in text and "Gates: 1 pass, 1 fail, 1 inconclusive, 1 invalid (linf4; jpeg; mine4)." in text


def test_a_narrow_terminal_loses_no_column(parts: tuple[dict, dict]) -> None:
    narrow = printed(*parts, width=80)
    assert max(map(len, narrow.splitlines())) <= 80
    assert narrow.count("invalid R2") == 3 and "97 [90, 99]" in narrow


def test_a_block_without_figures_is_one_line_and_not_a_table_of_dashes(parts: tuple[dict, dict]) -> None:
    text = " ".join(printed(*parts).split())
    assert "photos / npr / none: 7 attacked cells (unresolvable) without a figure over all images: 3 groups, fewer than 10." in text


def test_markup_in_a_name_is_shown_and_not_obeyed(parts: tuple[dict, dict]) -> None:
    told, judged = parts
    for cell in told["cells"]:
        cell["target"] = "[red]x[/red]\x1b[31m"
    judged["gates"][0]["id"] = "[bold]g[/bold]"
    text = printed(told, judged)
    assert "[red]x[/red]\\x1b[31m" in text and "[bold]g[/bold]" in text


def test_an_incomplete_run_says_so_in_the_terminal(parts: tuple[dict, dict]) -> None:
    assert "This run is incomplete" in printed({**parts[0], "status": "incomplete"}, parts[1])


def test_ten_thousand_records_make_no_larger_report_than_the_cap_allows(make_run: Callable[..., Path], parts: tuple[dict, dict]) -> None:
    run = make_run(parts[0])
    row = next(Record.from_json(line) for line in (run / "results.jsonl").read_text().splitlines() if '"artifacts":{"a' in line)
    make_run(parts[0], rows=[replace(row, id=f"{i}", rid=f"{i}", cell=f"{i % 125}") for i in range(10_000)])
    (path,) = write_reports(run, ("html",))
    assert path.stat().st_size < 5_000_000


def test_the_headline_says_how_robust_to_what_and_how_sure(parts: tuple[dict, dict]) -> None:
    found = headline.findings(parts[0])
    said = [" ".join(finding.sentences).replace("\u00a0", " ") for finding in found]
    assert said[0].startswith(
        "npr calls 96 % of the clean images rightly (95 % interval 91 to 98 %, n = 192). "
        "An attacker who sees gradients and may change each pixel by up to 4/255 makes 97 % of the caught fakes pass (95 % interval 90 to 99 %, n = 92)"
    )
    assert "At 1/255, 47 % of the fakes pass. Random noise of 4/255 lets 1 % pass." in said[0]
    assert said[0].endswith("jpeg, quality 60 alone does as much. All 7 attacked cells passed every check.")
    assert said[1].startswith("npr behind jpeg75 calls") and said[1].endswith("Of 7 attacked cells, 6 valid, 1 upper bound.")
    assert said[3].startswith("photos has only 3 groups for an interval over all of them")


def test_where_no_worst_case_was_computed_the_strongest_attack_is_quoted(parts: tuple[dict, dict]) -> None:
    said = headline.findings({**parts[0], "worst_case": []})[0].sentences[1].replace("\u00a0", " ")
    assert said.startswith("The most harmful attack, pgd, eps 4/255, makes 97 % of the caught fakes pass")
