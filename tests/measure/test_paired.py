"""Differences of two measurements: exact tests by counting everything, intervals by published examples and by resampling."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import roc_auc_score

from redteam.measure.paired import apart, p_of_interval, paired_areas, paired_rates, sign_flip
from redteam.measure.statistics import Estimate, Unresolvable, bootstrap_auc, clustered_rate


def each(n):
    return [f"g{i:04d}" for i in range(n)]


def table(both, fell, rose, neither):
    """Two measurements with so many images in each corner of the fourfold table."""
    first = [1] * both + [1] * fell + [0] * rose + [0] * neither
    second = [1] * both + [0] * fell + [1] * rose + [0] * neither
    return first, second, each(len(first))


def by_all_signs(sums):
    """How many assignments of signs give a total at least as far from zero."""
    totals = [abs(sum(s * t for s, t in zip(sums, signs, strict=True))) for signs in itertools.product((1, -1), repeat=len(sums))]
    return sum(total >= abs(sum(sums)) for total in totals) / len(totals)


@given(st.lists(st.integers(-4, 4), min_size=1, max_size=10))
def test_the_test_of_groups_counts_every_assignment_of_signs(sums):
    assert sign_flip(sums) == pytest.approx(by_all_signs(sums))


@given(st.integers(0, 40), st.integers(0, 40))
def test_groups_of_one_image_make_it_the_exact_binomial_test(rose, fell):
    wanted = stats.binomtest(rose, rose + fell).pvalue if rose + fell else 1.0
    assert sign_flip([1] * rose + [-1] * fell) == pytest.approx(wanted)


def test_images_of_one_group_are_not_counted_as_independent():
    first, second = np.ones(48), np.repeat([0, 1], [24, 24])
    alone, together = paired_rates(first, second, each(48)), paired_rates(first, second, [f"g{i // 4}" for i in range(48)])
    assert alone.p == pytest.approx(2 * 0.5**24) and together.p == pytest.approx(2 * 0.5**6)
    assert together.high - together.low > 1.8 * (alone.high - alone.low)  # four images that move together are one: twice the width, nearly
    assert (alone.value, together.value) == (-0.5, -0.5)


@pytest.mark.parametrize(
    ("corners", "interval"),
    [((36, 12, 2, 0), (0.0569, 0.3404)), ((36, 14, 0, 0), (0.1528, 0.4167)), ((2, 97, 1, 0), (0.8721, 0.9854)), ((54, 0, 0, 0), (-0.0664, 0.0664))],
)
def test_the_interval_of_paired_rates_is_newcombes(corners, interval):
    e = paired_rates(*table(*corners))
    assert (-e.high, -e.low) == pytest.approx(interval, abs=2e-4)
    assert (e.rose, e.fell) == (corners[2], corners[1])


def test_two_equal_measurements_differ_by_nothing_but_may_still_hide_a_change():
    y = [1, 0] * 20
    e = paired_rates(y, y, each(40))
    assert (e.value, e.p, e.rose, e.fell) == (0, 1, 0, 0) and -0.1 < e.low < 0 < e.high < 0.1


@settings(max_examples=40)
@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.integers(0, 14)), min_size=30, max_size=60))
def test_the_other_order_turns_every_sign_and_keeps_every_p(rows):
    first, second, groups = [r[0] for r in rows], [r[1] for r in rows], [f"g{r[2]}" for r in rows]
    if len(set(groups)) < 10:
        with pytest.raises(Unresolvable, match="fewer than 10"):
            paired_rates(first, second, groups)
        return
    there, back = paired_rates(first, second, groups), paired_rates(second, first, groups)
    assert (there.value, there.low, there.high) == pytest.approx((-back.value, -back.high, -back.low), abs=1e-12)
    assert there.p == pytest.approx(back.p) and (there.rose, there.fell) == (back.fell, back.rose)


def scores_of(seed, n=80, gap=1.0):
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    shared = rng.normal(size=n) + gap * labels
    return shared, shared + rng.normal(size=n) * 0.7, labels


def area(scores, labels):
    """By all pairs of a fake and a real image."""
    fakes, reals = scores[labels == 1][:, None], scores[labels == 0]
    return np.mean((fakes > reals) + 0.5 * (fakes == reals))


def test_areas_are_resampled_together_by_group():
    first, second, labels = scores_of(0)
    codes = np.arange(80) // 2
    rng = np.random.default_rng(9)
    changes = []
    for _ in range(2000):
        rows = np.concatenate([np.flatnonzero(codes == g) for g in rng.integers(40, size=40)])
        changes.append(area(second[rows], labels[rows]) - area(first[rows], labels[rows]))
    e = paired_areas(first, second, labels, [f"g{c:02d}" for c in codes], seed=1)
    assert e.value == pytest.approx(roc_auc_score(labels, second) - roc_auc_score(labels, first))
    assert (e.low, e.high) == pytest.approx(np.quantile(changes, [0.025, 0.975]), abs=0.012)


def test_pairing_of_areas_takes_away_what_the_measurements_share():
    first, second, labels = scores_of(3, n=200)
    paired = paired_areas(first, second, labels, each(200), seed=1)
    unpaired = apart(bootstrap_auc(first, labels, each(200), 1), bootstrap_auc(second, labels, each(200), 1))
    assert paired.value == pytest.approx(unpaired.value) and paired.high - paired.low < 0.8 * (unpaired.high - unpaired.low)


def test_the_same_scores_have_the_same_area_and_the_other_order_turns_the_sign():
    first, second, labels = scores_of(4)
    same = paired_areas(first, first, labels, each(80), seed=1)
    assert (same.value, same.low, same.high, same.p) == (0, 0, 0, 1)
    there, back = (paired_areas(*pair, labels, each(80), seed=1) for pair in ((first, second), (second, first)))
    assert (there.value, there.low, there.high, there.p) == pytest.approx((-back.value, -back.high, -back.low, back.p), abs=1e-12)


def test_an_area_of_1_is_not_taken_for_certain():
    labels = np.arange(40) % 2
    e = paired_areas(labels * 1.0, labels * 2.0 - (np.arange(40) == 1) * 3, labels, each(40), seed=0)
    assert e.first == 1.0 and e.value == pytest.approx(-0.05) and e.low < -0.1 and e.high > 0.05


def test_figures_of_different_images_have_newcombes_interval_for_independent_proportions():
    first, second = clustered_rate([1] * 56 + [0] * 14, each(70)), clustered_rate([1] * 48 + [0] * 32, each(80))
    e = apart(first, second)
    assert (-e.high, -e.low) == pytest.approx((0.0524, 0.3339), abs=1e-4) and e.n == 70 and e.rose is None


@pytest.mark.parametrize(("z", "p"), [(1.959964, 0.05), (2.575829, 0.01), (1.0, 0.317311)])
def test_p_is_read_off_a_normal_interval(z, p):
    assert p_of_interval(z, z - 1.959964, z + 1.959964) == pytest.approx(p, abs=1e-5)
    assert p_of_interval(-z, -z - 1.959964, -z + 1.959964) == pytest.approx(p, abs=1e-5)


def test_p_of_an_interval_without_width_is_small_and_never_zero():
    assert 0 < p_of_interval(0.5, 0.5, 0.5) < 1e-300 and math.isfinite(p_of_interval(0.5, 0.5, 0.5))


def test_measurements_of_different_lengths_and_other_values_are_refused():
    with pytest.raises(ValueError, match="both measurements must be of the same images, got 12 and 11"):
        paired_rates([1] * 12, [1] * 11, each(12))
    with pytest.raises(ValueError, match=r"outcomes must be a list of 0 and 1, got \[0.5\]"):
        paired_rates([0.5], [1], each(1))
    assert apart(Estimate(0.5, 0.4, 0.6, 10, 10.0), Estimate(0.5, 0.4, 0.6, 20, 20.0)).p == 1
