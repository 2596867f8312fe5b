"""Flags that rest on what the preparation of a target found, and the verdict over all of them."""

from __future__ import annotations

import pytest

from redteam.attacks.fgsm import FGSM
from redteam.record import Cell, Record
from redteam.validity.flags import Flag, View, as_json, flags, verdict

CELL = Cell(data="d", target="t", defense="none", attack="fgsm", goal="evade+frame", kind="fgsm")
TRAIN = "model_in_train_mode: the scenario declares mode train, so BatchNorm is live"


def row(i, score, *, repeat=None, source=None, threshold=0.0, attack="identity", **changes):
    given = {
        "rid": str(i), "cell": "c", "data": "d", "target": "t", "defense": "none", "attack": attack, "strength": {}, "repeat": 0, "id": str(i), "sha256": None,
        "label": i % 2, "group": f"g{i}", "height": 8, "width": 8, "goal": "evade",
        "outcome": {"score": score, "threshold": threshold, "decision": None if score is None else int(score > threshold), "repeat_score": score if repeat is None else repeat, "source_score": score if source is None else source},
    }  # fmt: skip
    return Record(**given | changes)


def raised(facts=None, identity=None, rows=(), **changes):
    identity = [row(i, 10.0 * (i % 2) - 5 + 0.1 * i) for i in range(20)] if identity is None else identity
    given = {"clean": {}, "lossless": True, "groups": frozenset(r.group for r in identity), **changes}
    return {flag.id: flag for flag in flags(View(cell=CELL, attack=FGSM(), rows=list(rows), identity=identity, facts={"declared_logit": True, **(facts or {})}, **given))}


def test_nothing_is_raised_where_nothing_is_wrong():
    assert raised({"how": "default", "negatives": 0}) == {}


def test_nothing_is_raised_without_any_row():
    assert raised(identity=[]) == {}


def test_r3_names_a_module_in_train_mode_even_where_it_happens_to_agree():
    flag = raised({"notes": [TRAIN]})["R3"]
    assert (flag.severity, flag.detail) == ("note", "The scenario declares mode train, so BatchNorm is live.")


def test_r3_gives_train_mode_as_the_reason_where_answers_differ():
    identity = [row(i, 1.0, repeat=-1.0) for i in range(12)]
    flag = raised({"notes": [TRAIN]}, identity)["R3"]
    assert flag.severity == "invalid"
    assert flag.detail == (
        "Asked twice about the same file in another batch, the target changed 12 of 12 decisions (largest relative change of a score 1). The scenario declares mode train, so BatchNorm is live."
    )


@pytest.mark.parametrize(("repeat", "severity"), [(1e-9, None), (1e-6, None), (-1e-9, None), (2e-3, "upper_bound"), (-2e-4, "invalid")])
def test_r3_last_bits_beside_the_threshold_are_no_change_of_mind(repeat, severity):
    """Kernels may differ in the last bit with the shape of the batch, and a score may lie that close to the threshold."""
    flag = raised(identity=[row(0, 1e-9, repeat=repeat)] + [row(i, 5.0) for i in range(1, 12)]).get("R3")
    assert (flag and flag.severity) == severity


@pytest.mark.parametrize(("scores", "fires"), [([0.0, 1.0] * 6, True), ([0.5] * 12, False), ([-0.5, 0.0] * 6, True), ([0.0, 1.01] * 6, False), ([0.0, 1.0], False)])
def test_r4_looks_at_enough_scores_that_differ(scores, fires):
    assert ("R4" in raised(identity=[row(i, s) for i, s in enumerate(scores)])) == fires


def test_r4_needs_a_declared_logit_or_two_that_add_to_one():
    identity = [row(i, 0.1 + 0.04 * i) for i in range(20)]
    assert "R4" in raised(identity=identity)
    assert "R4" not in raised({"declared_logit": False}, identity)
    flag = raised({"notes": ["rows_sum_to_one: as it says"]})["R4"]
    assert flag.detail.startswith("The output is declared two logits, but on clean images they are never negative and add to 1")


def interval(low, value, high):
    return {"low": low, "value": value, "high": high}


def test_r14_another_input_range_that_serves_the_network_better():
    right, wrong = {"auc": interval(0.9, 0.95, 0.99), "accuracy": interval(0.8, 0.9, 0.95)}, {"auc": interval(0.4, 0.5, 0.6), "accuracy": interval(0.4, 0.5, 0.6)}
    flag = raised({"ranges": {"declared": wrong, "[0, 255]": right, "[-1, 1]": wrong}})["R14"]
    assert (flag.severity, flag.detail) == ("invalid", "Fed [0, 255] the network separates clean images with AUC 0.95, as declared with 0.50: input.range looks wrong.")
    assert "R14" not in raised({"ranges": {"declared": right, "[0, 255]": wrong}})
    assert "R14" not in raised({"ranges": {"declared": right, "[0, 255]": right}})
    assert "R14" not in raised({"ranges": {}})


def test_r17_a_change_that_turns_no_answers_is_no_flag_for_a_lossy_file():
    assert "R17" not in raised(identity=[row(i, 5.0, source=5.1) for i in range(20)], lossless=False)
    few = [row(i, -1.0 if i == 1 else 5.0, source=5.0) for i in range(20)]
    assert "R17" not in raised(identity=few, lossless=False)  # one of twenty may be chance
    assert "R17" in raised(identity=few, lossless=True)


def test_r18_files_that_tell_the_classes_apart_are_a_note_on_every_cell():
    flag = raised(files="file format alone tells real from fake images; save both classes alike")["R18"]
    assert (flag.severity, flag.detail) == ("note", "File format alone tells real from fake images; save both classes alike.")
    assert "R18" not in raised(files=None)


@pytest.mark.parametrize(("distinct", "n", "fires"), [(2, 12, True), (3, 12, True), (4, 12, False), (2, 9, False)])
def test_r19_counts_distinct_scores(distinct, n, fires):
    identity = [row(i, 2.0 + i % distinct) for i in range(n)]
    assert ("R19" in raised(identity=identity)) == fires


@pytest.mark.parametrize(("rate", "negatives", "needed"), [(0.01, 100, "1 % is not resolvable from 100 calibration images of label 0; it takes 300."), (0.001, 2999, "0.1 % is not resolvable from 2999 calibration images of label 0; it takes 3000."), (0.07, 40, "7 % is not resolvable from 40 calibration images of label 0; it takes 43.")])
def test_r20_too_few_negatives_for_the_rate_that_is_claimed(rate, negatives, needed):
    flag = raised({"how": "at_fpr", "at_fpr": rate, "negatives": negatives})["R20"]
    assert (flag.severity, flag.detail) == ("note", f"A false-positive rate of {needed}")


def test_r20_is_silent_where_they_are_enough():
    assert raised({"how": "at_fpr", "at_fpr": 0.01, "negatives": 300}) == {}


def test_r21_calibration_and_evaluation_share_source_images():
    flag = raised({"how": "at_fpr", "at_fpr": 0.5, "negatives": 99, "calib_groups": ["g1", "g2", "other"]})["R21"]
    assert (flag.severity, flag.detail) == ("upper_bound", "2 source images are in both the calibration and the evaluation data, so the threshold has seen them. Split by source image.")
    assert raised({"how": "at_fpr", "at_fpr": 0.5, "negatives": 99, "calib_groups": ["other"]}) == {}


def test_r21_a_threshold_that_was_given_is_noted():
    flag = raised({"how": "fixed", "negatives": 0})["R21"]
    assert (flag.severity, flag.detail) == ("note", "The threshold was given, not calibrated in this run: whether it was tuned on these images cannot be seen from here.")


@pytest.mark.parametrize(("high", "fires"), [(0.49, True), (0.5, False), (0.9, False)])
def test_r22_only_where_the_whole_interval_is_below_one_half(high, fires):
    assert ("R22" in raised(clean={"auc": interval(0.1, 0.3, high)})) == fires


def test_unscoreable_images_are_no_evidence():
    identity = [row(i, None, repeat=0.0, source=1.0) for i in range(20)]
    assert raised(identity=identity) == {}


@pytest.mark.parametrize(
    ("severities", "resolvable", "word"),
    [
        ([], True, "valid"),
        (["note", "note"], True, "valid"),
        (["note", "upper_bound"], True, "upper_bound"),
        (["upper_bound", "invalid", "note"], True, "invalid"),
        ([], False, "unresolvable"),
        (["upper_bound"], False, "unresolvable"),
        (["invalid"], False, "invalid"),
    ],
)
def test_the_verdict_is_the_gravest(severities, resolvable, word):
    assert verdict([Flag("R0", severity, "") for severity in severities], resolvable) == word


def test_flags_are_plain_in_the_summary():
    assert as_json([Flag("R1", "invalid", "so")]) == [{"id": "R1", "severity": "invalid", "detail": "so"}]
