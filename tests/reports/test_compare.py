"""Two runs compared: independent counts, signs that turn with the order, and no win where an evaluation is broken."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from scipy import stats

from redteam.protocols.detection_metrics import figures
from redteam.record import Cell, Record, rid
from redteam.reports.compare import Options, compare, harm
from redteam.reports.comparison import as_json, gate_line, markdown, terminal
from redteam.reports.pairing import NotTheSame, Unfinished

Rows = dict[str, list[Record]]
N = 48  # images: fakes and real ones in turn, each of a source of its own


@dataclass
class Made:
    """A run of one target as its files say it; `answers` maps an attack to the decisions about each image, None where there is none."""

    answers: dict[str, list[int | None]]
    target: str = "mine"
    cells: dict[str, dict[str, Any]] = field(default_factory=dict)
    changes: dict[str, Any] = field(default_factory=dict)
    image: Callable[[int], dict[str, Any]] = lambda i: {}
    group: Callable[[int], str] = lambda i: f"scene-{i}"
    score: Callable[[str, int, int], float] = lambda attack, i, decision: 2.0 * decision - 1 + 0.01 * i

    def write(self, path: Path) -> Path:
        cells, rows = [], []
        for attack, decisions in self.answers.items():
            cell = Cell(data="camera", target=self.target, defense="none", attack=attack, goal="evade+frame", kind=attack, control=attack in ("identity", "noise"))
            of_cell = [self._row(cell, i, decision) for i, decision in enumerate(decisions)]
            found = figures(of_cell, 1)
            base = {**vars(cell), "controls": [], "key": cell.key, "label": cell.label, "n": len(of_cell), "errors": 0, "unscoreable": decisions.count(None), "verdict": "valid", "flags": [], "metrics": found.metrics, "absent": found.absent}
            cells.append(base | self.cells.get(attack, {}))
            rows += of_cell
        path.mkdir(exist_ok=True)
        told = {"schema": "redteam.summary/1", "scenario": path.name, "status": "complete", "file": {"format": "png", "quality": 95}, "cells": cells}
        for name, value in (("summary.json", told | self.changes), ("gates.json", {"gates": []}), ("run.json", {}), ("scenario.lock.json", {})):
            (path / name).write_text(json.dumps(value))
        (path / "results.jsonl").write_text("".join(f"{row.to_json()}\n" for row in rows))
        return path

    def _row(self, cell: Cell, i: int, decision: int | None) -> Record:
        label = 1 - i % 2
        clean = self.answers["identity"][i]
        outcome = {"score": None if decision is None else self.score(cell.attack, i, decision), "decision": decision, "attackable": clean == label}
        if cell.attack != "identity":
            outcome["success"] = None if decision is None else clean == label and decision != label
        row = Record(
            rid=rid(cell.key, f"image{i}"), cell=cell.key, data="camera", target=self.target, defense="none", attack=cell.attack, strength={}, repeat=0,
            id=f"image{i}", sha256=f"{i:064d}", label=label, group=self.group(i), height=8, width=8, goal="evade", outcome=outcome,
        )  # fmt: skip
        return replace(row, **self.image(i))


def right(n: int = N, *, but: dict[int, int | None] | None = None) -> list[int | None]:
    """Right about every image but some."""
    return [(but or {}).get(i, 1 - i % 2) for i in range(n)]


def random_run(seed: int) -> Made:
    rng = np.random.default_rng(seed)
    flips = {name: rng.random(N) < share for name, share in (("identity", 0.1), ("pgd", 0.6), ("jpeg", 0.3))}
    noise = rng.normal(size=(3, N))
    return Made({name: [int((1 - i % 2) != f) for i, f in enumerate(flip)] for name, flip in flips.items()}, score=lambda a, i, d: 2.0 * d - 1 + float(noise[len(a) % 3, i]))


@pytest.fixture
def pair(tmp_path: Path) -> Callable[..., Any]:
    """Writes two runs and compares the second with the first."""

    def make(first: Made, second: Made, options: Options = Options()) -> Any:
        return compare(first.write(tmp_path / "a"), second.write(tmp_path / "b"), options)

    return make


def figure(found: Any, attack: str, metric: str) -> Any:
    return next(c for c in found.comparisons if (c.cell["attack"], c.metric) == (attack, metric))


@pytest.mark.parametrize("seed", range(3))
def test_a_run_compared_with_itself_shows_no_change(pair, seed):
    found = pair(random_run(seed), random_run(seed))
    assert len(found.comparisons) == 12 and found.untold == ()
    assert {(c.difference.value, c.p_holm, c.verdict, c.left_out) for c in found.comparisons} == {(0.0, 1.0, "open", 0)}
    assert all(c.difference.low <= 0 <= c.difference.high for c in found.comparisons) and found.gate() == "pass"


def test_the_other_order_turns_every_sign_and_no_p(pair):
    there, back = pair(random_run(1), random_run(2)), pair(random_run(2), random_run(1))
    for a, b in zip(there.comparisons, back.comparisons, strict=True):
        assert (a.difference.value, a.difference.low, a.difference.high) == pytest.approx((-b.difference.value, -b.difference.high, -b.difference.low), abs=1e-12)
        assert a.p_holm == pytest.approx(b.p_holm) and {"worse": "better", "better": "worse", "open": "open"}[a.verdict] == b.verdict


def counted(made: Made, attack: str, metric: str) -> dict[int, bool]:
    """Which images count and how, written down again."""
    found = {}
    for i, decision in enumerate(made.answers[attack]):
        label, clean = 1 - i % 2, made.answers["identity"][i]
        wanted = {"attack_success_rate": 1, "tpr": 1, "frame_rate": 0, "fpr": 0}.get(metric)
        if wanted not in (None, label) or (metric in ("attack_success_rate", "frame_rate") and clean != label):
            continue
        found[i] = decision != label if metric in ("attack_success_rate", "frame_rate") else decision == 1 if metric in ("tpr", "fpr") else decision == label
    return found


def test_p_is_mcnemars_over_the_images_that_count_in_both_and_holms_over_all(pair):
    one, two = random_run(1), random_run(5)
    found = pair(one, two)
    by_hand = []
    for c in found.comparisons:
        if c.metric == "auc":
            by_hand.append(c.difference.p)
            continue
        first, second = counted(one, c.cell["attack"], c.metric), counted(two, c.cell["attack"], c.metric)
        both = first.keys() & second.keys()
        rose, fell = sum(second[i] and not first[i] for i in both), sum(first[i] and not second[i] for i in both)
        assert (c.difference.n, c.difference.rose, c.difference.fell, c.left_out) == (len(both), rose, fell, len(first.keys() ^ second.keys()))
        assert c.difference.value == pytest.approx((rose - fell) / len(both))
        by_hand.append(stats.binomtest(rose, rose + fell).pvalue if rose + fell else 1.0)
        assert c.difference.p == pytest.approx(by_hand[-1])
    order, largest = np.argsort(by_hand), 0.0
    for rank, at in enumerate(order):
        largest = max(largest, min(1.0, by_hand[at] * (len(by_hand) - rank)))
        assert found.comparisons[at].p_holm == pytest.approx(largest)


ATTACKS = {"identity": right(), "pgd": right()}
LENIENT = {"limits": {"max_error_rate": 0.1}}
FAKES_PASS = {"identity": right(), "pgd": right(but=dict.fromkeys(range(0, N, 2), 0))}


def test_what_got_worse_fails_the_gate_and_its_reverse_passes(pair):
    found = pair(Made(ATTACKS), Made(FAKES_PASS))
    worse = figure(found, "pgd", "attack_success_rate")
    assert (worse.difference.first, worse.difference.second, worse.verdict, worse.difference.rose) == (0, 1, "worse", 24)
    assert found.gate() == "fail" and gate_line(found) == "gate: fail; nothing got worse: 3 worse"
    back = pair(Made(FAKES_PASS), Made(ATTACKS))
    assert (figure(back, "pgd", "attack_success_rate").verdict, back.gate()) == ("better", "pass")


def test_the_price_on_clean_images_is_shown(pair):
    careful = Made({"identity": right(but=dict.fromkeys(range(1, 31, 2), 1)), "pgd": right()})
    found = pair(Made(FAKES_PASS), careful)
    assert (figure(found, "identity", "fpr").verdict, figure(found, "identity", "tpr").verdict, figure(found, "pgd", "attack_success_rate").verdict) == ("worse", "open", "better")
    assert found.gate() == "fail"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"sha256": "f" * 64}, "camera: 1 image has other pixels (such as image3)"),
        ({"group": "other"}, "camera: 1 image has another source group (such as image3: scene-3 and other)"),
        ({"label": 1}, "camera: 1 image has another label (such as image3: 0 and 1)"),
        ({"id": "\x1b[31mnew"}, "camera: 1 image is only in the first run (such as image3)"),
    ],
)
def test_other_images_are_refused_and_named(pair, change, said):
    with pytest.raises(NotTheSame) as refusal:
        pair(Made(ATTACKS), Made(ATTACKS, image=lambda i: change if i == 3 else {}))
    assert str(refusal.value) == f"{said}; give both runs the same images, or compare them as different samples with --unpaired"


def test_different_samples_are_compared_by_their_intervals_when_asked(pair):
    found = pair(Made(FAKES_PASS), Made(FAKES_PASS | {"pgd": right(but=dict.fromkeys(range(0, 24, 2), 0))}, image=lambda i: {"sha256": "f" * 64}), Options(paired=False))
    rate = figure(found, "pgd", "attack_success_rate").difference
    assert (rate.first, rate.second, rate.n, rate.rose) == (1, 0.5, 24, None)
    low, high = (stats.binomtest(k, 24).proportion_ci(method="wilson") for k in (24, 12))
    assert rate.low == pytest.approx(-0.5 - np.hypot(0.5 - high.low, low.high - 1)) and rate.high == pytest.approx(-0.5 + np.hypot(high.high - 0.5, 1 - low.low))
    assert "Not paired" in as_text(found)


def broken(flag: str = "R1") -> dict[str, Any]:
    return {"verdict": "invalid", "flags": [{"id": flag, "severity": "invalid", "detail": "."}, {"id": "R8", "severity": "note", "detail": "."}]}


@pytest.mark.parametrize(
    ("first", "second", "reason", "gate"),
    [
        ({}, broken(), "invalid in the second run (R1)", "inconclusive"),
        (broken("R4"), {}, "invalid in the first run (R4)", "pass"),
        (broken("R4"), broken(), "invalid in both runs (R1, R4)", "pass"),
    ],
)
def test_an_invalid_cell_is_never_a_win(pair, first, second, reason, gate):
    found = pair(Made(FAKES_PASS, cells={"pgd": first}), Made(ATTACKS, cells={"pgd": second}))
    assert [(entry.cell["attack"], entry.reason) for entry in found.untold] == [("pgd", reason)]
    assert {c.cell["attack"] for c in found.comparisons} == {"identity"} and found.gate() == gate


def test_another_attack_of_the_same_name_is_not_compared(pair):
    found = pair(Made(ATTACKS, cells={"pgd": {"params": {"steps": 40, "eps": 0.1}}}), Made(ATTACKS, cells={"pgd": {"params": {"steps": 5, "eps": 0.1}}}))
    assert [(entry.reason, entry.lost) for entry in found.untold] == [("the attack is another: steps 40 and 5", True)]


def test_a_cell_that_one_run_lacks_is_listed(pair):
    more = ATTACKS | {"jpeg": right()}
    assert [(e.cell["attack"], e.reason, e.lost) for e in pair(Made(more), Made(ATTACKS)).untold] == [("jpeg", "only in the first run", True)]
    said = " ".join(as_text(pair(Made(more | {"blur": right()}), Made(ATTACKS))).split())
    assert "Not comparable: camera / mine / none: jpeg; blur (Fakes that pass, Real images accused, Accuracy, AUC): only in the first run." in said and "8 open; 8 not comparable." in said
    assert [(e.cell["attack"], e.reason, e.lost) for e in pair(Made(ATTACKS), Made(more)).untold] == [("jpeg", "only in the second run", False)]


def test_a_win_of_an_upper_bound_is_one_at_best(pair):
    found = pair(Made(FAKES_PASS), Made(ATTACKS, cells={"pgd": {"verdict": "upper_bound"}}))
    assert figure(found, "pgd", "attack_success_rate").at_best and "better at best" in as_text(found, 120)
    assert not any(c.at_best for c in pair(Made(FAKES_PASS, cells={"pgd": {"verdict": "upper_bound"}}), Made(ATTACKS)).comparisons)


def test_images_without_a_score_are_left_out_and_counted(pair):
    found = pair(Made(ATTACKS, changes=LENIENT), Made(ATTACKS | {"pgd": right(but={0: None, 2: None})}, changes=LENIENT))
    rate = figure(found, "pgd", "attack_success_rate")
    assert (rate.difference.n, rate.left_out) == (22, 2) and "Up to 2 images of a comparison counted in one run only and are left out of it." in as_text(found)


def test_a_run_that_lost_more_images_than_it_may_has_not_got_better(pair):
    mute = Made(ATTACKS | {"pgd": right(but=dict.fromkeys(range(0, 12, 2)))}, changes=LENIENT)
    found = pair(Made(FAKES_PASS, changes=LENIENT), mute)
    assert [(e.cell["attack"], e.reason, e.lost) for e in found.untold] == [("pgd", "0% of the images have no score in the first run and 12% in the second, and only 10% may be lost", True)]
    assert (found.gate(), pair(mute, Made(FAKES_PASS, changes=LENIENT)).untold[0].lost) == ("inconclusive", False)


def test_a_figure_that_a_run_gives_no_reason_to_trust_is_not_compared(pair):
    found = pair(Made(ATTACKS), Made(ATTACKS, cells={"pgd": {"metrics": {}, "absent": {"auc": "the target gives decisions, not scores (R19)"}}}))
    assert [(e.metrics, e.reason, e.lost) for e in found.untold] == [(("auc",), "the target gives decisions, not scores (R19)", True)]


def test_too_few_sources_are_said(pair):
    found = pair(Made(ATTACKS, group=lambda i: f"scene-{i // 8}"), Made(ATTACKS, group=lambda i: f"scene-{i // 8}"))
    assert found.comparisons == () and {e.reason for e in found.untold} == {"6 groups, fewer than 10", "6 groups with label 0, fewer than 10"} and found.gate() == "pass"


def test_a_margin_asks_for_room_and_a_small_run_has_none(pair):
    small = pair(Made(ATTACKS), Made(ATTACKS), Options(margin=0.05))
    assert (small.gate(), {c.within for c in small.comparisons if c.metric == "robust_accuracy"}) == ("inconclusive", {False})
    assert pair(Made(ATTACKS), Made(ATTACKS), Options(margin=0.5)).gate() == "pass"
    tolerant = pair(Made(ATTACKS), Made(FAKES_PASS), Options(margin=1.0))
    assert figure(tolerant, "pgd", "attack_success_rate").verdict == "worse" and tolerant.gate() == "pass"
    assert pair(Made(ATTACKS), Made(FAKES_PASS), Options(margin=0.3)).gate() == "fail"


def test_targets_of_other_names_are_compared_when_told(pair, tmp_path):
    with pytest.raises(NotTheSame, match="^the runs have no cell in common; their targets are mine and yours: say --target mine=yours$"):
        pair(Made(ATTACKS), Made(ATTACKS, target="yours"))
    found = pair(Made(ATTACKS), Made(ATTACKS, target="yours"), Options(targets={"mine": "yours"}))
    narrow = pair(Made(ATTACKS), Made(ATTACKS, target="yours"), Options(lambda cell: cell["target"] == "mine", targets={"mine": "yours"}))
    assert len(narrow.comparisons) == len(found.comparisons) == 8 and narrow.untold == ()
    assert {c.target for c in found.comparisons} == {"yours"} and "camera / mine → yours / none" in as_text(found)


def test_other_files_and_unfinished_and_broken_runs_are_refused(pair, tmp_path):
    with pytest.raises(NotTheSame, match="^the first run scores images saved as png, the second as jpeg of quality 80; run both with the same `file`$"):
        pair(Made(ATTACKS), Made(ATTACKS, changes={"file": {"format": "jpeg", "quality": 80}}))
    with pytest.raises(Unfinished, match="b: must be complete, got a run with missing units; finish it with: redteam resume "):
        pair(Made(ATTACKS), Made(ATTACKS, changes={"status": "incomplete"}))
    pair(Made(ATTACKS), Made(ATTACKS))
    (tmp_path / "b" / "results.jsonl").write_text('{"rid": 1}\n')
    with pytest.raises(NotTheSame, match=r"results.jsonl: must hold a record on every line, got KeyError; write it again with: redteam resume "):
        compare(tmp_path / "a", tmp_path / "b")


def as_text(found: Any, width: int = 100) -> str:
    console = Console(width=width, file=io.StringIO(), record=True)
    console.print(terminal(found, ["targets.mine.fingerprint"]))
    return console.export_text()


def test_the_table_says_what_changed_in_points_with_signs(pair):
    said = as_text(pair(Made(ATTACKS), Made(FAKES_PASS)))
    line = next(line for line in said.splitlines() if line.startswith("pgd"))
    assert line.replace("\u00a0", " ").split() == ["pgd", "Fakes", "that", "pass", "24", "0", "%", "100", "%", "+100", "[+80,", "+100]", "<0.001", "worse"]
    assert "The runs differ in: targets.mine.fingerprint." in said and "8 comparisons: 3 worse, 0 better, 5 open." in said


def test_hostile_names_are_shown_and_never_interpreted(pair):
    name = "[red]x[/red]|<b>\x1b[31m"
    found = pair(Made(ATTACKS, target=name), Made(FAKES_PASS, target=name))
    assert "[red]x[/red]|<b>\\x1b[31m" in as_text(found, 200)
    page = markdown(found, [])
    assert "\x1b" not in page and "<b>" not in page and "nothing that a lock records" in page


def test_json_is_strict_and_holds_every_comparison(pair):
    found = pair(Made(ATTACKS), Made(FAKES_PASS, cells={"identity": broken()}), Options(margin=0.1))
    read = json.loads(json.dumps(as_json(found, ["seed"]), allow_nan=False))
    assert (read["schema"], read["differs"], read["counts"], read["margin"]) == ("redteam.compare/1", ["seed"], {"worse": 3, "open": 1}, 0.1)
    assert read["comparisons"][0]["difference"]["value"] == 1.0 and read["comparisons"][0]["within_margin"] is False
    assert read["not_comparable"][0]["reason"] == "invalid in the second run (R1)"


@pytest.mark.parametrize(("metric", "sign"), [("robust_accuracy", -1), ("auc", -1), ("tpr", -1), ("fpr", 1), ("attack_success_rate", 1), ("frame_rate", 1)])
def test_harm_is_what_hurts_the_defender(metric, sign):
    assert harm(metric, 0.5) == 0.5 * sign
