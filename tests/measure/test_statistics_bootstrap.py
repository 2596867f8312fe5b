"""Cluster bootstrap of means and of the area under the ROC curve."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from redteam.measure.statistics import Unresolvable, bootstrap_auc, bootstrap_mean, clopper_pearson


def names(codes):
    return [f"g{c:04d}" for c in codes]


def two_classes(rng, n, gap=1.0):
    labels = np.arange(n) % 2
    return rng.normal(size=n) + gap * labels, labels


def area_by_pairs(scores, labels):
    fakes, reals = scores[labels == 1][:, None], scores[labels == 0]
    return np.mean((fakes > reals) + 0.5 * (fakes == reals))


def test_the_mean_is_resampled_by_group():
    rng = np.random.default_rng(0)
    codes = rng.integers(30, size=120)
    values = rng.normal(size=30)[codes] + rng.normal(size=120)
    present = np.unique(codes)
    means = []
    for _ in range(4000):
        rows = np.concatenate([np.flatnonzero(codes == g) for g in rng.choice(present, len(present))])
        means.append(values[rows].mean())
    e = bootstrap_mean(values, names(codes), seed=3, draws=4000)
    assert (e.low, e.high) == pytest.approx(np.quantile(means, [0.025, 0.975]), abs=0.02)
    assert (e.value, e.n, e.n_eff) == (pytest.approx(values.mean()), 120, len(present))


def test_the_area_is_resampled_by_group():
    rng = np.random.default_rng(1)
    scores, labels = two_classes(rng, 160)
    scores = scores.round(1)  # with ties
    codes = np.arange(160) // 4
    areas = []
    for _ in range(2000):
        rows = np.concatenate([np.arange(4 * g, 4 * g + 4) for g in rng.integers(40, size=40)])
        areas.append(area_by_pairs(scores[rows], labels[rows]))
    e = bootstrap_auc(scores, labels, names(codes), seed=5, draws=2000)
    assert (e.low, e.high) == pytest.approx(np.quantile(areas, [0.025, 0.975]), abs=0.01)
    assert (e.value, e.n, e.n_eff) == (pytest.approx(roc_auc_score(labels, scores)), 160, 40)


def test_the_area_of_one_draw_is_that_of_the_drawn_rows():
    rng = np.random.default_rng(2)
    scores, labels = two_classes(rng, 40)
    drawn = np.random.default_rng(9).integers(20, size=(1, 20))[0]  # the stream that seed 9 gives
    rows = np.concatenate([[2 * g, 2 * g + 1] for g in drawn])
    e = bootstrap_auc(scores, labels, names(np.arange(40) // 2), seed=9, draws=1)
    one = roc_auc_score(labels[rows], scores[rows])
    assert one in (pytest.approx(e.low), pytest.approx(e.high))


@settings(deadline=None, max_examples=40)
@given(st.lists(st.floats(-100, 100), min_size=10, max_size=40), st.integers(0, 2**32))
def test_intervals_hold_their_value_and_repeat_with_the_seed(values, seed):
    groups = names(range(len(values)))
    e = bootstrap_mean(values, groups, seed, draws=100)
    assert e.low <= e.value <= e.high
    assert e == bootstrap_mean(values, groups, seed, draws=100)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(-3, 3), min_size=20, max_size=40), st.integers(0, 2**32))
def test_areas_hold_their_value_and_survive_monotone_maps(scores, seed):
    labels, groups = np.arange(len(scores)) % 2, names(range(len(scores)))
    e = bootstrap_auc(scores, labels, groups, seed, draws=100)
    assert 0 <= e.low <= e.value <= e.high <= 1
    assert e == bootstrap_auc(np.exp(scores), labels, groups, seed, draws=100)


def test_the_area_s_interval_covers_about_95_times_in_100():
    rng = np.random.default_rng(3)
    truth = 0.7602499  # Phi(1 / sqrt 2)
    groups = names(range(100))
    estimates = [bootstrap_auc(*two_classes(rng, 100), groups, seed=i, draws=300) for i in range(200)]
    assert 0.90 <= np.mean([e.low <= truth <= e.high for e in estimates]) <= 0.98


def test_complete_separation_has_an_exact_bound_instead_of_no_width():
    labels = np.repeat([0, 1], [30, 20])
    right = bootstrap_auc(labels + 0.1, labels, names(range(50)), seed=0)
    wrong = bootstrap_auc(-labels, labels, names(range(50)), seed=0)
    bound = clopper_pearson(20, 20).low
    assert (right.value, right.low, right.high, right.n, right.n_eff) == (1.0, pytest.approx(bound), 1.0, 50, 20)
    assert (wrong.value, wrong.low, wrong.high) == (0.0, 0.0, pytest.approx(1 - bound))


def test_groups_with_both_classes_form_half_as_many_independent_pairs():
    labels = np.arange(60) % 2
    e = bootstrap_auc(labels, labels, names(np.arange(60) // 2), seed=0)
    assert (e.low, e.n_eff) == (pytest.approx(clopper_pearson(15, 15).low), 15)


def test_a_constant_score_is_a_half_but_not_exactly_known_to_be():
    labels = np.arange(40) % 2
    e = bootstrap_auc(np.zeros(40), labels, names(range(40)), seed=0)
    slack = clopper_pearson(0, 20).high / 2
    assert (e.value, e.low, e.high) == (0.5, pytest.approx(0.5 - slack), pytest.approx(0.5 + slack))


def test_infinite_scores_rank_like_others():
    scores, labels = two_classes(np.random.default_rng(4), 40)
    infinite = np.where(scores == scores.max(), np.inf, scores)
    groups = names(range(40))
    assert bootstrap_auc(infinite, labels, groups, seed=0) == bootstrap_auc(scores, labels, groups, seed=0)


def test_the_order_of_rows_does_not_matter():
    scores, labels = two_classes(np.random.default_rng(5), 60)
    groups = names(np.arange(60) // 3)
    e, turned = bootstrap_auc(scores, labels, groups, 0), bootstrap_auc(scores[::-1], labels[::-1], groups[::-1], 0)
    assert (e.low, e.high) == (turned.low, turned.high)


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (lambda: bootstrap_mean([1.0, 2.0], ["a", "b"], 0), "2 groups, fewer than 10"),
        (lambda: bootstrap_auc(range(30), [0] * 3 + [1] * 27, names(range(30)), 0), "3 groups with label 0, fewer than 10"),
        (lambda: bootstrap_auc(range(30), [0] * 29 + [1], names(range(30)), 0), "1 group with label 1, fewer than 10"),
    ],
)
def test_too_few_groups_are_not_resolvable(call, reason):
    with pytest.raises(Unresolvable) as caught:
        call()
    assert caught.value.reason == reason


def test_an_infinite_value_has_no_mean():
    message = "bootstrap_mean: values must be finite, got inf at 1; leave such images out and say how many"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        bootstrap_mean([30.0, np.inf], ["a", "b"], 0)
