"""Reliability and calibration error against scikit-learn and loops."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.calibration import calibration_curve

from redteam.measure.calibration import calibrated_by_chance, calibration_error, reliability
from redteam.measure.statistics import Unresolvable, clustered_rate


def sample(n: int, scale: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Stated log-odds and labels; the true log-odds are the stated ones over `scale`."""
    rng = np.random.default_rng(seed)
    true = rng.normal(0, 2, n)
    return scale * true, (rng.random(n) < 1 / (1 + np.exp(-true))).astype(int)


def names(n: int) -> list[str]:
    return [f"g{i}" for i in range(n)]


def error(p: np.ndarray, labels: np.ndarray, bins: int) -> float:
    total = 0.0
    for i in range(bins):
        inside = (p > i / bins) & (p <= (i + 1) / bins)
        total += abs(np.sum(p[inside] - labels[inside]))
    return total / len(p)


@pytest.mark.parametrize("bins", [4, 10])
def test_bins_are_those_of_scikit_learn(bins: int) -> None:
    logits, labels = sample(500, 2.0)
    observed, stated = calibration_curve(labels, 1 / (1 + np.exp(-logits)), n_bins=bins)
    found = reliability(logits, labels, names(500), bins)
    assert [b.observed for b in found] == pytest.approx(observed)
    assert [b.stated for b in found] == pytest.approx(stated)
    assert sum(b.n for b in found) == 500


def test_a_bin_has_the_interval_of_its_images_and_groups_or_none_under_ten() -> None:
    logits = np.r_[np.full(40, 3.0), np.full(8, -3.0)]
    labels = np.r_[np.tile([1, 1, 1, 0], 10), np.zeros(8)]
    groups = [f"g{i // 2}" for i in range(48)]
    low, high = reliability(logits, labels, groups)
    expected = clustered_rate(labels[:40], groups[:40])
    assert (high.observed, high.low, high.high, high.n) == (0.75, expected.low, expected.high, 40)
    assert (low.observed, low.low, low.high, low.n) == (0.0, None, None, 8)


def test_the_interval_is_the_union_of_both_bootstraps_over_groups() -> None:
    logits, labels = sample(120, 6.0)
    p, rng = 1 / (1 + np.exp(-logits)), np.random.default_rng(7)
    drawn = []
    for _ in range(3000):
        rows = np.concatenate([np.arange(3 * g, 3 * g + 3) for g in rng.integers(40, size=40)])
        drawn.append(error(p[rows], labels[rows], 10))
    value = error(p, labels, 10)
    low, high = np.quantile(drawn, [0.025, 0.975])
    found = calibration_error(logits, labels, [f"g{i // 3}" for i in range(120)], seed=1, draws=3000)
    assert (found.value, found.n, found.n_eff) == (pytest.approx(value), 120, 40)
    assert (found.low, found.high) == pytest.approx((min(low, 2 * value - high), max(high, 2 * value - low)), abs=0.01)


def test_what_a_calibrated_target_shows_by_chance_is_found_by_drawing_labels() -> None:
    logits, _ = sample(90, 1.0)
    p, rng = 1 / (1 + np.exp(-logits)), np.random.default_rng(3)
    drawn = [error(p, (rng.random(90) < p).astype(int), 10) for _ in range(3000)]
    assert calibrated_by_chance(logits, seed=0, draws=3000) == pytest.approx(np.quantile(drawn, 0.975), abs=0.01)


@pytest.mark.parametrize(("scale", "n"), [(1.0, 80), (3.0, 200)])
def test_the_interval_holds_the_true_error_about_as_often_as_it_says(scale: float, n: int) -> None:
    logits, labels = sample(200_000, scale, seed=99)
    true = error(1 / (1 + np.exp(-logits)), labels, 10)
    held = 0
    for seed in range(60):
        found = calibration_error(*sample(n, scale, seed), names(n), seed=seed, draws=200)
        held += found.low <= true <= found.high
    assert held >= 52  # of 60; 57 are expected


def test_a_calibrated_target_is_not_called_miscalibrated() -> None:
    found = calibration_error(*sample(80, 1.0), names(80), seed=0)
    assert found.value > 0.05 and found.low == 0.0


def test_under_ten_groups_there_is_no_interval() -> None:
    with pytest.raises(Unresolvable, match=r"^9 groups, fewer than 10$"):
        calibration_error([0.0] * 9, [0, 1, 0, 1, 0, 1, 0, 1, 0], names(9), seed=0)


def test_one_class_alone_is_judged_too() -> None:
    found = calibration_error([4.0] * 20, [0] * 20, names(20), seed=0)
    assert found.value == pytest.approx(1 / (1 + np.exp(-4.0)))
    assert found.low == pytest.approx(found.value) == found.high
