"""Rates, their intervals, and the tests between them, against scipy and simulation."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from redteam.measure.statistics import (
    Unresolvable,
    clopper_pearson,
    clustered_rate,
    design_effect,
    false_positive_bound,
    holm,
    mcnemar_exact,
    smallest_fpr,
    wilson,
)

COUNTS = [(0, 1), (1, 1), (0, 100), (50, 100), (99, 100), (500, 1000), (3, 7)]


@pytest.mark.parametrize(("k", "n"), COUNTS)
@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_both_binomial_intervals_are_those_of_scipy(k, n, confidence):
    for ours, method in ((wilson, "wilson"), (clopper_pearson, "exact")):
        theirs = stats.binomtest(k, n).proportion_ci(confidence, method=method)
        e = ours(k, n, confidence)
        assert (e.low, e.high) == pytest.approx((theirs.low, theirs.high), abs=1e-12)
        assert (e.value, e.n, e.n_eff) == (k / n, n, n)


def test_the_intervals_are_the_ones_that_the_design_quotes():
    assert [round(x, 3) for x in (wilson(50, 100).low, wilson(50, 100).high)] == [0.404, 0.596]
    assert [round(x, 3) for x in (wilson(500, 1000).low, wilson(500, 1000).high)] == [0.469, 0.531]
    assert round(false_positive_bound(0, 100).high, 3) == 0.036
    assert round(false_positive_bound(0, 1000).high, 4) == 0.0037


@given(n=st.floats(0.5, 1e5), share=st.floats(0, 1))
def test_an_interval_holds_its_value_and_stays_in_the_unit_interval(n, share):
    for method in (wilson, clopper_pearson):
        e = method(share * n, n)
        assert 0 <= e.low <= e.value <= e.high <= 1


@pytest.mark.parametrize("rate", [0.1, 0.3, 0.5])
def test_wilson_covers_the_truth_about_95_times_in_100(rate):
    hits = np.random.default_rng(0).binomial(100, rate, size=4000)
    covered = {k: (e := wilson(int(k), 100)).low <= rate <= e.high for k in np.unique(hits)}
    assert 0.93 <= np.mean([covered[k] for k in hits]) <= 0.97


def test_the_clustered_interval_covers_where_the_plain_one_does_not():
    rng = np.random.default_rng(1)
    groups = [str(i // 5) for i in range(200)]
    clustered, plain = [], []
    for _ in range(400):
        outcomes = (rng.random(200) < np.repeat(rng.beta(1, 1, size=40), 5)).astype(int)
        for kept, e in ((clustered, clustered_rate(outcomes, groups)), (plain, wilson(outcomes.sum(), 200))):
            kept.append(e.low <= 0.5 <= e.high)
    assert 0.92 <= np.mean(clustered) <= 0.98
    assert np.mean(plain) < 0.85


def test_the_design_effect_is_the_ratio_estimators_variance_over_simple_random_sampling():
    rng = np.random.default_rng(2)
    groups = [f"scene-{i}" for i in rng.integers(12, size=60)]
    outcomes = np.array([int(g[6:]) % 2 for g in groups]) ^ (rng.random(60) < 0.2)
    rate, between = outcomes.mean(), 0.0
    for g in set(groups):
        members = [y for y, h in zip(outcomes, groups, strict=True) if h == g]
        between += (sum(members) - rate * len(members)) ** 2
    between *= 12 / 11 / 60**2
    assert design_effect(outcomes, groups) == pytest.approx(between / (rate * (1 - rate) / 59))


@given(st.lists(st.integers(0, 1), min_size=10, max_size=60))
def test_groups_of_one_image_give_the_plain_wilson_interval(outcomes):
    groups = [str(i) for i in range(len(outcomes))]
    e, plain = clustered_rate(outcomes, groups), wilson(sum(outcomes), len(outcomes))
    assert (e.low, e.high, e.n_eff) == pytest.approx((plain.low, plain.high, plain.n_eff))
    assert e.value == np.mean(outcomes)


@given(data=st.lists(st.tuples(st.integers(0, 1), st.integers(0, 4)), min_size=1, max_size=40))
def test_the_design_effect_is_at_least_one_and_blind_to_the_order_of_rows(data):
    outcomes, groups = [y for y, _ in data], [str(g) for _, g in data]
    effect = design_effect(outcomes, groups)
    assert effect >= 1
    assert design_effect(outcomes[::-1], groups[::-1]) == pytest.approx(effect)


def test_equal_outcomes_count_groups_and_not_images():
    groups = [str(i // 4) for i in range(80)]
    assert design_effect([1] * 80, groups) == 4
    e, twenty = clustered_rate([1] * 80, groups), wilson(20, 20)
    assert (e.value, e.low, e.high, e.n, e.n_eff) == (1.0, pytest.approx(twenty.low), 1.0, 80, 20.0)


@pytest.mark.parametrize(("groups", "reason"), [(1, "1 group, fewer than 10"), (8, "8 groups, fewer than 10")])
def test_fewer_than_ten_groups_carry_no_interval(groups, reason):
    with pytest.raises(Unresolvable) as caught:
        clustered_rate([0, 1] * groups, [str(i // 2) for i in range(2 * groups)])
    assert caught.value.reason == str(caught.value) == reason


@pytest.mark.parametrize(("b", "c"), [(0, 0), (0, 5), (2, 10), (7, 7), (40, 60)])
def test_mcnemar_is_the_exact_binomial_test(b, c):
    expected = stats.binomtest(b, b + c, 0.5).pvalue if b + c else 1.0
    assert mcnemar_exact(b, c) == mcnemar_exact(c, b) == pytest.approx(expected)


@given(st.lists(st.floats(0, 1), max_size=12))
def test_holm_rejects_what_the_step_down_procedure_rejects(pvalues):
    adjusted = holm(pvalues)
    for alpha in (0.011, 0.0512):
        rejected, still = set(), True
        for rank, i in enumerate(sorted(range(len(pvalues)), key=lambda i: pvalues[i])):
            still = still and pvalues[i] * (len(pvalues) - rank) <= alpha
            rejected |= {i} if still else set()
        assert {i for i, p in enumerate(adjusted) if p <= alpha} == rejected


def test_three_over_n_is_the_smallest_false_positive_rate():
    assert [smallest_fpr(n) for n in (1, 3, 300, 3000)] == [1.0, 1.0, 0.01, 0.001]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: wilson(1, 0), "wilson: counts must satisfy 0 <= k <= n and n > 0, got k = 1 and n = 0"),
        (lambda: clopper_pearson(3, 2), "clopper_pearson: counts must satisfy 0 <= k <= n and n > 0, got k = 3 and n = 2"),
        (lambda: smallest_fpr(0), "smallest_fpr: negatives must be at least 1, got 0; add images with label 0"),
        (lambda: mcnemar_exact(-1, 2), "mcnemar_exact: counts must be >= 0, got -1 and 2"),
        (lambda: holm([0.5, 1.5]), "holm: p values must be a list of numbers in [0, 1], got [0.5, 1.5]"),
        (lambda: design_effect([0.5], ["a"]), "outcomes must be 0 or 1, got 0.5; a mean of other values is bootstrap_mean's"),
        (lambda: design_effect([1, 0], ["a"]), "values must be (n,) with n >= 1 and one group each, got (2,) and 1 groups"),
        (lambda: clustered_rate([], []), "values must be (n,) with n >= 1 and one group each, got (0,) and 0 groups"),
    ],
)
def test_errors_say_what_was_expected_and_what_came(call, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        call()
