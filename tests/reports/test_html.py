"""report.html: what stands in it, and that nothing in a run can turn it into something else."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from redteam import reports
from redteam.reports import RunDirectoryError, render_html, wording

VOID = {"meta", "img", "link", "br", "hr", "input"}
HOSTILE = '</script></style><script>alert(1)</script>"\' onload=x =cmd() \u202egnp.exe \U0001f600 ' + "Q" * 400 + " https://evil.example/x &amp; {{ 7*7 }} ]]><!--"


class Page(HTMLParser):
    """Tags with their attributes, the text of each, and whether they nest."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.figures: dict[tuple[str, str], list[str]] = {}
        self.words: list[str] = []
        self.open: list[str] = []
        self.own: list[str] = []  # styles and script
        self._cell, self._metric = "", ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.tags.append((tag, found))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self._cell = found.get("data-cell") or ""
        if tag == "td":
            self._metric = found.get("data-metric") or ""
            if self._metric:
                self.figures.setdefault((self._cell, self._metric), []).append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
        if tag == "td":
            self._metric = ""

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("style", "script"):
            self.own.append(data)
            return
        self.words.append(data)
        if self._metric:
            self.figures[self._cell, self._metric][-1] += data

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def test_the_tags_nest_and_the_sections_stand_in_order(make_run: Callable[..., Path]) -> None:
    page = Page(render_html(make_run()))
    ids = [attrs.get("id") for tag, attrs in page.tags if tag == "h2"]
    assert page.open == []
    assert ids == ["findings", "reading", "gates", "cells", "worst", "quality", "curves", "classes", "groups", "gallery", "flags", "reproduction"]


def test_the_page_asks_for_nothing_outside_itself(make_run: Callable[..., Path]) -> None:
    html = render_html(make_run())
    page = Page(html)
    policy = [attrs["content"] for tag, attrs in page.tags if tag == "meta" and attrs.get("http-equiv") == "Content-Security-Policy"]
    style, plot_style, script = (f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for text in page.own)
    assert policy == [f"default-src 'none'; img-src data:; style-src {style} {plot_style}; script-src {script}; base-uri 'none'; form-action 'none'"]
    assert {tag for tag, _ in page.tags} & {"link", "iframe", "object", "embed", "form", "base"} == set()
    assert [attrs for tag, attrs in page.tags if tag == "script"] == [{}]
    for tag, attrs in page.tags:
        assert not any(name.startswith("on") or name == "style" for name in attrs), (tag, attrs)
        assert attrs.get("src", "data:image/webp;base64,").startswith("data:image/webp;base64,")  # type: ignore[union-attr]
        assert attrs.get("href", "#").startswith("#")  # type: ignore[union-attr]
    assert "url(" not in html and "@import" not in html


def test_links_lead_to_something_and_no_id_stands_twice(make_run: Callable[..., Path]) -> None:
    page = Page(render_html(make_run()))
    ids = [attrs["id"] for _, attrs in page.tags if attrs.get("id")]
    linked = {attrs["href"][1:] for _, attrs in page.tags if attrs.get("href")}  # type: ignore[index]
    named = {name for _, attrs in page.tags for name in (attrs.get("aria-labelledby") or "").split()}
    assert len(ids) == len(set(ids))
    assert linked | named <= set(ids)


def test_every_metric_of_every_cell_is_shown_once_and_as_the_table_says(make_run: Callable[..., Path], parts: tuple[dict, dict]) -> None:
    told, _ = parts
    page = Page(render_html(make_run(told)))
    for cell in told["cells"]:
        for name, metric in cell["metrics"].items():
            shown = page.figures[cell["key"], name]
            assert len(shown) == 1, (cell["key"], name)
            assert wording.figure(name, metric["value"], metric["n"]) in shown[0]
            if metric["low"] != metric["high"]:
                assert wording.interval(name, metric["low"], metric["high"], metric["n"]) in shown[0]


def test_an_absent_figure_is_a_dash_with_its_reason_and_never_a_zero(make_run: Callable[..., Path], parts: tuple[dict, dict]) -> None:
    told, _ = parts
    page = Page(render_html(make_run(told)))
    for cell in told["cells"]:
        for name in set(cell["absent"]) - {"psnr_db"}:
            assert page.figures[cell["key"], name][0].startswith("–")
    assert "scores take only 2 values" in page.text and "3 groups, fewer than 10" in page.text


def test_unchanged_images_are_called_unchanged(make_run: Callable[..., Path], parts: tuple[dict, dict]) -> None:
    identity = parts[0]["cells"][0]
    assert Page(render_html(make_run(parts[0]))).figures[identity["key"], "psnr_db"] == ["unchanged"]


def test_worst_cases_stand_under_their_block(make_run: Callable[..., Path], parts: tuple[dict, dict]) -> None:
    page = Page(render_html(make_run(parts[0])))
    for word in ("Worst case, L∞ ≤ 4/255", "Worst case, no budget", "over jpeg, quality 95, 85, 75, 60"):
        assert word in page.text


def test_hostile_names_are_shown_and_never_obeyed(make_run: Callable[..., Path], parts: tuple[dict, dict]) -> None:
    told, judged = parts
    page = Page(render_html(make_run(*everything_named(HOSTILE, told, judged))))
    assert page.own == Page(render_html(make_run())).own and [tag for tag, _ in page.tags].count("script") == 1
    assert page.open == []
    assert not any(name.startswith("on") for _, attrs in page.tags for name in attrs)
    assert "<script>alert(1)</script>" in page.text
    assert "\u202e" not in page.text and "\\u202e" in page.text
    assert "{{ 7*7 }}" in page.text


def everything_named(name: str, told: dict[str, Any], judged: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Every name and sentence of a run replaced by a hostile one."""
    told = {**told, "scenario": name, "cells": told["cells"][:8], "worst_case": told["worst_case"][:3]}
    for i, cell in enumerate(told["cells"]):
        cell |= {"data": name, "target": name, "defense": name, "key": name + cell["key"], "goal": f"{name}{i}"}
        cell |= {"attack": cell["attack"] if cell["control"] else name, "strength": {name: 0.5} if cell["strength"] else {}}
        cell["absent"] = {name: name, "auc": name}
        cell["metrics"] = {**cell["metrics"], f"{name}2": {"value": 0.5, "low": 0.4, "high": 0.6, "n": 9}}
        cell["metrics"].pop("auc", None)
        cell["flags"] = [{"id": name, "severity": name, "detail": name}]
        cell["verdict"] = name
        cell["by_group"] = {name: {"frame_rate": {"value": 0.5, "n": 4}}}
    for entry in told["worst_case"]:
        entry |= {"data": name, "target": name, "defense": name, "attacks": [name], "norm": name, "absent": {"auc": name}}
    told["targets"] = [{"id": name, "kind": name, "access": name, "reference": True, "notes": [name]}]
    told["defenses"] = [{"id": name, "kind": name, "backward": name, "params": {name: name}}]
    told["data"] = [{"id": name, "kind": name, "n": 8, "label_1": 4, "label_0": 4, "groups": 8, "per_group": True}]
    told["thresholds"] = [{"target": name, "defense": name, "value": 0.1, "how": name, "negatives": 3}]
    gate = {**judged["gates"][0], "id": name, "metric": name, "where": {name: name}, "require": name, "on": name, "verdict": name, "detail": name}
    gate["cells"] = [{"key": name, "label": name, "value": 0.5, "low": 0.4, "high": 0.6, "n": 4, "verdict": name, "detail": name}]
    return told, {**judged, "gates": [gate]}


def test_an_incomplete_run_says_so_first(make_run: Callable[..., Path], parts: tuple[dict, dict]) -> None:
    told = {**parts[0], "status": "incomplete", "missing_units": 7}
    text = Page(render_html(make_run(told))).text
    assert "This run is incomplete: 7 units of the plan are missing." in text
    assert text.index("incomplete") < text.index("Findings")


def test_invalid_cells_stand_in_a_banner_and_their_figures_are_not_quoted(make_run: Callable[..., Path]) -> None:
    text = Page(render_html(make_run())).text
    assert "3 of 44 cells invalid: the evaluation is broken there" in text
    assert "The worst case, L∞ ≤ 4/255 is invalid" in text


def test_a_small_reference_model_is_called_one(make_run: Callable[..., Path], parts: tuple[dict, dict]) -> None:
    assert Page(render_html(make_run())).text.count("npr is a small reference model that ships with redteam") == 3
    told = {**parts[0], "targets": [{**target, "reference": False} for target in parts[0]["targets"]]}
    assert "small reference model" not in Page(render_html(make_run(told))).text


@pytest.mark.parametrize("name", ["gates.json", "run.json", "env.json", "results.jsonl", "scenario.lock.json"])
def test_a_missing_file_is_named_and_the_rest_is_shown(make_run: Callable[..., Path], name: str) -> None:
    run = make_run()
    (run / name).unlink()
    text = Page(render_html(run)).text
    assert f"{name} is missing" in text
    assert "97 %" in text


@pytest.mark.parametrize("name", ["gates.json", "run.json", "env.json", "results.jsonl"])
@pytest.mark.parametrize("content", [b"{", b"[1, 2]", b"\xff\xfe\x00", b'{"gates": 3}'])
def test_a_broken_file_does_not_stop_the_report(make_run: Callable[..., Path], name: str, content: bytes) -> None:
    run = make_run()
    (run / name).write_bytes(content)
    assert "Findings" in Page(render_html(run)).text


def test_a_run_without_a_summary_is_refused_in_one_sentence(make_run: Callable[..., Path]) -> None:
    run = make_run()
    (run / "summary.json").unlink()
    with pytest.raises(RunDirectoryError, match=r"summary\.json: must exist, got nothing; finish or resume the run first$"):
        render_html(run)


@pytest.mark.parametrize("content", ["[]", "{", '{"schema": "other/1"}', '{"schema": "redteam.summary/1", "cells": [{"data": 1}]}'])
def test_a_summary_of_another_shape_is_refused(make_run: Callable[..., Path], content: str) -> None:
    run = make_run()
    (run / "summary.json").write_text(content)
    with pytest.raises(RunDirectoryError, match=r"summary\.json: (must be|schema must be|cells must be)"):
        render_html(run)


def test_an_empty_run_is_shown_as_empty(make_run: Callable[..., Path], parts: tuple[dict, dict]) -> None:
    told = {"schema": "redteam.summary/1", "scenario": "empty", "status": "incomplete", "cells": []}
    text = Page(render_html(make_run(told, {"gates": []}, []))).text
    assert "No cell has been measured yet." in text and "This scenario has no gates." in text


def test_the_same_run_gives_the_same_page(make_run: Callable[..., Path]) -> None:
    run = make_run()
    assert render_html(run) == render_html(run)


def test_the_page_is_complete_without_its_script(full_run: Path) -> None:
    page = Page(render_html(full_run))
    assert not {"button", "input"} & {tag for tag, _ in page.tags}
    assert "hidden" not in {name for _, attrs in page.tags for name in attrs}
    figures = [attrs for tag, attrs in page.tags if tag == "figure" and attrs.get("class") == "panel"]
    assert len(figures) == page.text.count("In words") == 24


def test_every_table_has_headings_for_its_columns(full_run: Path) -> None:
    for table in re.findall(r"<table.*?</table>", render_html(full_run), re.S):
        heads = table.partition("</thead>")[0].count('scope="col"')
        rows = [row for row in re.findall(r"<tr.*?</tr>", table.partition("</thead>")[2], re.S) if "rowgroup" not in row]
        assert rows and {len(re.findall(r"<t[hd]\b", row)) for row in rows} == {heads}
        assert all('scope="row"' in row for row in rows)


def luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_text_has_enough_contrast(theme: int) -> None:
    style = (Path(reports.__file__).parent / "templates" / "style.css").read_text()
    colours = dict(re.findall(r"(--[\w-]+): (#[0-9a-f]{6});", re.findall(r":root \{.*?\}", style, re.S)[theme]))
    on_page = [(name, ground) for name in ("--ink", "--soft", "--blue", "--bar", "--bar2", "--bar3") for ground in ("--page", "--faint")]
    badges = [(f"--{name}", f"--{name}-bg") for name in ("ok", "warn", "bad", "dim")] + [("--ink", f"--{name}-bg") for name in ("warn", "bad", "dim")]
    for front, back in [*on_page, *badges, ("--page", "--ink")]:
        light, dark = sorted((luminance(colours[front]), luminance(colours[back])), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5, (front, back)


def test_the_style_has_a_light_a_dark_and_a_printed_form(make_run: Callable[..., Path]) -> None:
    html = render_html(make_run())
    assert all(rule in html for rule in ("@media (prefers-color-scheme: dark)", "@media print", "color-scheme: light dark"))
    assert re.search(r'<meta name="viewport" content="width=device-width', html)
