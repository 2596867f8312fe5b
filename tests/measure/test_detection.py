"""ROC, thresholds, rates and calibration against scikit-learn and loops."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from redteam.measure.detection import expected_calibration_error, rates, roc_auc, roc_curve, threshold_at_fpr

cases = st.lists(st.tuples(st.integers(-40, 40), st.integers(0, 1)), min_size=2, max_size=60).filter(lambda rows: len({y for _, y in rows}) == 2)
scores_of_reals = st.lists(st.floats(-50, 50, width=32), min_size=1, max_size=60)


@given(cases)
def test_area_and_curve_are_those_of_scikit_learn(rows):
    scores, labels = np.array(rows).T
    fpr, tpr, thresholds = metrics.roc_curve(labels, scores, drop_intermediate=False)
    curve = roc_curve(scores, labels)
    assert roc_auc(scores, labels) == pytest.approx(metrics.roc_auc_score(labels, scores))
    assert np.allclose(curve.fpr, fpr)
    assert np.allclose(curve.tpr, tpr)
    assert np.array_equal(curve.thresholds[:-1], thresholds[1:])
    assert curve.thresholds[-1] == -np.inf


@given(cases)
def test_each_point_of_the_curve_is_what_its_threshold_does(rows):
    scores, labels = np.array(rows).T
    for fpr, tpr, threshold in zip(*roc_curve(scores, labels), strict=True):
        assert rates(scores, labels, threshold)[:2] == pytest.approx((tpr, fpr))


@given(cases)
def test_the_area_survives_monotone_maps_and_turns_with_the_sign(rows):
    scores, labels = np.array(rows, dtype=float).T
    area = roc_auc(scores, labels)
    assert roc_auc(np.exp(scores / 20), labels) == roc_auc(scores**3, labels) == area
    assert roc_auc(-scores, labels) == pytest.approx(1 - area)


@given(negatives=scores_of_reals, fpr=st.floats(0, 1))
def test_a_threshold_keeps_the_rate_and_meets_no_score_and_no_lower_one_would_do(negatives, fpr):
    t = threshold_at_fpr(negatives, fpr)
    s = np.array(negatives)
    assert np.mean(s > t) <= fpr
    assert t not in s
    if (s < t).any():
        next_lower = s[s < t].max()
        assert np.mean(s >= next_lower) > fpr


def test_thresholds_lie_halfway_between_scores():
    negatives = [3.0, 0.0, 2.0, 1.0]
    assert [threshold_at_fpr(negatives, fpr) for fpr in (0.25, 0.3, 0.5, 0.99)] == [2.5, 2.5, 1.5, 0.5]
    assert threshold_at_fpr(negatives, 0) == 3.000003
    assert threshold_at_fpr(negatives, 1) == -1e-6
    assert threshold_at_fpr([5.0], 0) == pytest.approx(5.000005)


def test_every_whole_number_of_false_positives_is_reached_exactly():
    for n in (7, 100, 300):
        for k in range(n + 1):
            assert np.mean(np.arange(n) > threshold_at_fpr(np.arange(n), k / n)) == k / n


def test_floats_without_room_between_them_raise_the_threshold_to_the_next_gap():
    one, next_one = 1.0, math.nextafter(1.0, 2.0)
    assert threshold_at_fpr([0.0, one, next_one, 2.0], 0.5) == pytest.approx(1.5)


def test_rates_count_strictly_above_the_threshold():
    r = rates([0.0, 0.5, 0.5, 1.0], [0, 1, 0, 1], threshold=0.5)
    assert (r.tpr, r.fpr, r.balanced_accuracy) == (0.5, 0.0, 0.75)


@pytest.mark.parametrize("bins", [1, 10, 15])
def test_calibration_error_is_the_weighted_gap_of_the_bins(bins):
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(scale=3, size=500), rng.integers(0, 2, size=500)
    p, expected = 1 / (1 + np.exp(-logits)), 0.0
    for i in range(bins):
        inside = (p > i / bins) & (p <= (i + 1) / bins)
        if inside.any():
            expected += inside.mean() * abs(p[inside].mean() - labels[inside].mean())
    assert expected_calibration_error(logits, labels, bins) == pytest.approx(expected)


def test_calibration_error_is_zero_for_honest_and_one_for_inverted_certainty():
    assert expected_calibration_error([-np.inf, np.inf], [0, 1]) == 0
    assert expected_calibration_error([-np.inf, np.inf], [1, 0]) == 1
    assert expected_calibration_error([-800.0, -800.0], [1, 1]) == 1  # one class, confidently wrong


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: roc_auc([1.0, 2.0], [1, 1]), "roc_auc: labels must hold both 0 and 1, got only 1; each class needs at least one image"),
        (lambda: roc_curve([1.0], [0]), "roc_curve: labels must hold both 0 and 1, got only 0; each class needs at least one image"),
        (
            lambda: rates([1.0, np.nan], [1, 0], 0.0),
            "rates: scores must be numbers, got 1 NaN of 2; unscoreable images are left out and counted",
        ),
        (lambda: rates([1.0, 2.0], [1, 0], np.nan), "rates: threshold must be a number, got NaN"),
        (lambda: roc_auc([1.0, 2.0], [1, 2]), "roc_auc: labels must be 0 or 1, got 2.0"),
        (lambda: roc_auc([1.0, 2.0], [1]), "roc_auc: scores and labels must both be (n,) with n >= 1, got (2,) and (1,)"),
        (lambda: threshold_at_fpr([1.0], 1.5), "threshold_at_fpr: fpr must lie in [0, 1], got 1.5"),
        (
            lambda: threshold_at_fpr([1.0, np.inf], 0.1),
            "threshold_at_fpr: negatives must be a list of at least one finite score; images without a score are left out by the caller",
        ),
        (lambda: expected_calibration_error([0.0], [1], 0), "expected_calibration_error: bins must be at least 1, got 0"),
    ],
)
def test_errors_say_what_was_expected_and_what_came(call, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        call()
