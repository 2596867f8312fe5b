"""The table of a notebook's cell: the figures of the closing table, and no one else's markup."""

from __future__ import annotations

from html.parser import HTMLParser

from redteam.reports.compact import compact_html

SHARE = {"value": 0.25, "low": 0.125, "high": 0.5, "n": 16}


def summary(**names: str) -> dict:
    place = {"data": "d", "target": "t", "defense": "none", "attack": "pgd"} | names
    cell = place | {
        "label": place["attack"], "key": "k", "kind": "pgd", "goal": "evade+frame", "strength": {}, "repeat": 0, "n": 16, "errors": 0, "unscoreable": 0, "control": False, "controls": [],
        "metrics": {"attack_success_rate": SHARE, "robust_accuracy": SHARE}, "absent": {"frame_rate": "no real image", "auc": "one class"}, "verdict": "upper_bound", "flags": [{"id": "R5", "severity": "upper_bound", "detail": "x"}],
    }  # fmt: skip
    return {"cells": [cell], "worst_case": [], "defenses": [], "targets": [], "data": [], "thresholds": []}


class Cells(HTMLParser):
    """The texts of the table's cells, and every tag."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        if tag in ("td", "th", "li"):
            self.texts.append("")

    def handle_data(self, data):
        if self.texts:
            self.texts[-1] += data


def read(html: str) -> Cells:
    found = Cells()
    found.feed(html)
    return found


def test_a_row_has_the_figures_with_their_intervals_the_verdict_and_its_flags():
    found = read(compact_html(summary(), []))
    assert found.texts[:7] == ["attack", "n", "fakes pass", "accused", "accuracy", "AUC", "verdict"]
    assert found.texts[7] == "d / t / none"
    assert [text.replace("\u00a0", " ").split(".")[0] for text in found.texts[8:15]] == ["pgd", "16", "25 % [12, 50]", "–", "25 % [12, 50]", "–", "upper bound R5[a, b] is a 95 % interval; lower is better for the first two shares, higher for accuracy and AUC; – is absent, not 0"]


def test_notes_are_listed_under_the_table():
    assert read(compact_html(summary(), ["be careful"])).texts[-1].startswith("be careful")


def test_names_and_notes_are_shown_and_never_interpreted():
    hostile = "<script>alert(1)</script>{0}\x1b[31m"
    found = read(compact_html(summary(target=hostile, attack=hostile), [hostile]))
    assert found.tags == {"table", "thead", "tbody", "tr", "th", "td", "small", "ul", "li", "p"}
    assert "<script>alert(1)</script>{0}" in found.texts[7] and "\x1b" not in "".join(found.texts)
