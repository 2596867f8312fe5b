"""How far two measurements of the same images lie apart: tests and intervals for rates and areas under the ROC curve.

Source: each function names its own. A group is the source image; images of one group are not independent.
Deviation: rates take an interval of Newcombe's kind and no bootstrap, since resampling never draws a change that it has not seen and so
gives two equal measurements of 40 images an interval of no width.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from redteam.measure.statistics import Estimate, bootstrap_auc, check_groups, grouped, mcnemar_exact, resampled_areas, wilson

DRAWS = 2000
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Difference:
    """What changed from a first measurement to a second.

    first, second: the two figures
    value: second - first
    low, high: ends of its 95% interval
    p:     two-sided p in (0, 1] that nothing changed
    n:     images behind both figures; behind the smaller one where they are of different images
    rose, fell: images whose outcome went from 0 to 1, and from 1 to 0; None where images are not compared one by one
    """

    first: float
    second: float
    value: float
    low: float
    high: float
    p: float
    n: int
    rose: int | None = None
    fell: int | None = None


def paired_rates(first: ArrayLike, second: ArrayLike, groups: Sequence[str]) -> Difference:
    """Outcomes (n,) of 0 and 1 of the same images, twice -> the difference of their means in [-1, 1].

    The test is McNemar's, exact; where groups hold several images, its extension to groups (see `sign_flip`).
    Source: Newcombe, "Improved Confidence Intervals for the Difference between Binomial Proportions Based on Paired Data",
    Statistics in Medicine 17, 1998, method 10, on n over the design effect of the differences.

    Raises:
        Unresolvable: fewer than ten groups.

    >>> e = paired_rates([1] * 30 + [0] * 10, [1] * 20 + [0] * 18 + [1] * 2, [str(i) for i in range(40)])
    >>> e.value, round(e.low, 3), round(e.high, 3), round(e.p, 4), e.rose, e.fell
    (-0.2, -0.353, -0.031, 0.0386, 2, 10)
    """
    one, two = _outcomes(first), _outcomes(second)
    if one.shape != two.shape:
        raise ValueError(f"paired_rates: both measurements must be of the same images, got {len(one)} and {len(two)}")
    change = two - one
    codes, sizes = grouped(change, groups)
    check_groups(len(sizes))
    p = sign_flip(np.bincount(codes, change))
    low, high = _newcombe(one, two, len(one) / _effect(change, codes, sizes))
    value = float(change.mean())
    return Difference(float(one.mean()), float(two.mean()), value, min(low, value), max(high, value), p, len(one), int((change > 0).sum()), int((change < 0).sum()))


def sign_flip(sums: ArrayLike) -> float:
    """Whole-numbered changes, summed over each group (m,) -> two-sided p in (0, 1] that each group might as well have changed the other way.

    Every assignment of signs to the groups is counted, none drawn at random. Groups of one image make it McNemar's exact test.
    Source: Fisher, "The Design of Experiments", 1935, section 21.

    >>> round(sign_flip([1] * 2 + [-1] * 10), 4), sign_flip([3, 2, 1])
    (0.0386, 0.25)
    """
    s = np.rint(np.asarray(sums, dtype=np.float64)).astype(np.int64)
    sizes = np.abs(s[s != 0])
    if not (sizes > 1).any():
        return mcnemar_exact(int((s > 0).sum()), int((s < 0).sum()))
    total = int(sizes.sum())
    chance = np.zeros(total + 1)  # of each sum over the groups whose sign is +
    chance[0] = 1.0
    for size in sizes:
        moved = np.r_[np.zeros(size), chance[:-size]]
        chance = (chance + moved) / 2
    reached = np.abs(2 * np.arange(total + 1) - total) >= abs(int(s.sum()))
    return min(1.0, float(chance[reached].sum()))


def paired_areas(first: ArrayLike, second: ArrayLike, labels: ArrayLike, groups: Sequence[str], seed: int) -> Difference:
    """Scores (n,) of the same images, twice, and labels (n,) of 0 and 1 -> the difference of the areas under the ROC curve in [-1, 1].

    The interval is the percentile interval over resampled groups, the same groups for both; p is read off the interval. Where one
    of the areas cannot vary (complete separation, all ties) it is that of `apart`, which is wider.
    Source: Davison & Hinkley, "Bootstrap Methods and their Application", 1997, section 3.8 and 5.3.1.

    Raises:
        Unresolvable: a class has fewer than ten groups.

    >>> even = [str(i) for i in range(40)]
    >>> e = paired_areas(range(40), range(0, -40, -1), [0] * 20 + [1] * 20, even, seed=0)
    >>> e.value, round(e.low, 3), round(e.high, 3), e.p < 0.001
    (-1.0, -1.0, -0.762, True)
    """
    one, two = (bootstrap_auc(scores, labels, groups, seed, DRAWS) for scores in (first, second))
    s, y = np.asarray(first, dtype=np.float64), np.asarray(labels, dtype=np.float64)
    codes, _ = grouped(s, groups)
    areas = [resampled_areas(np.asarray(scores, dtype=np.float64), y, codes, seed, DRAWS) for scores in (first, second)]
    if any(np.nanmin(draws) == np.nanmax(draws) for draws in areas):
        return apart(one, two)
    changes = areas[1] - areas[0]
    low, high = np.quantile(changes[~np.isnan(changes)], [0.025, 0.975])
    value = two.value - one.value
    low, high = min(float(low), value), max(float(high), value)
    return Difference(one.value, two.value, value, low, high, p_of_interval(value, low, high), len(s))


def apart(first: Estimate, second: Estimate) -> Difference:
    """Two figures of different images, with their intervals -> their difference; for the same images it is too wide, never too narrow.

    Source: Zou & Donner, "Construction of Confidence Limits about Effect Measures: A General Approach", Statistics in Medicine 27,
    2008, eq. 3; for Wilson's intervals it is Newcombe's method 10 for independent proportions, Statistics in Medicine 17, 1998.

    >>> e = apart(wilson(56, 70), wilson(48, 80))
    >>> round(e.value, 2), round(e.low, 4), round(e.high, 4)
    (-0.2, -0.3339, -0.0524)
    """
    value = second.value - first.value
    low = value - math.hypot(second.value - second.low, first.high - first.value)
    high = value + math.hypot(second.high - second.value, first.value - first.low)
    return Difference(first.value, second.value, value, max(low, -1.0), min(high, 1.0), p_of_interval(value, low, high), min(first.n, second.n))


def p_of_interval(value: float, low: float, high: float) -> float:
    """A difference and its 95% interval -> two-sided p in (0, 1] that it is zero; below 0.05 exactly where the interval leaves out zero.

    Source: Altman & Bland, "How to Obtain the P Value from a Confidence Interval", BMJ 343, 2011; taken at the end toward zero.

    >>> round(p_of_interval(0.2, 0.0, 0.5), 3), p_of_interval(0.0, -0.1, 0.1)
    (0.05, 1.0)
    """
    if value == 0:
        return 1.0
    half = value - low if value > 0 else high - value
    z = abs(value) / half * float(special.ndtri(0.975)) if half > 0 else math.inf
    return max(2 * float(special.ndtr(-z)), float(np.finfo(np.float64).tiny))


def _newcombe(one: Floats, two: Floats, n: float) -> tuple[float, float]:
    """The interval of mean(two) - mean(one), as if from n independent images."""
    share = n / len(one)
    both, neither = float((one * two).sum()) * share, float(((1 - one) * (1 - two)).sum()) * share
    rose, fell = float(((1 - one) * two).sum()) * share, float((one * (1 - two)).sum()) * share
    first, second = wilson(both + fell, n), wilson(both + rose, n)
    margins = (both + fell) * (rose + neither) * (both + rose) * (fell + neither)
    product = both * neither - rose * fell
    phi = (max(product - n / 2, 0.0) if product > 0 else product) / math.sqrt(margins) if margins > 0 else 0.0
    value = second.value - first.value
    return value - _joined(second.value - second.low, first.high - first.value, phi), value + _joined(second.high - second.value, first.value - first.low, phi)


def _joined(a: float, b: float, phi: float) -> float:
    """The length of two half-widths together, correlated by phi."""
    return math.sqrt(max(a * a - 2 * phi * a * b + b * b, 0.0))


def _effect(values: Floats, codes: NDArray[np.intp], sizes: Floats) -> float:
    """How many times the variance of the mean of values (n,) grows because images share groups; at least 1. See `statistics.design_effect`."""
    n, mean = len(values), values.mean()
    spread = ((values - mean) ** 2).sum()
    if spread == 0:
        return float((sizes**2).sum() / sizes.sum())
    residuals = np.bincount(codes, values) - mean * sizes
    between = len(sizes) / (len(sizes) - 1) * (residuals**2).sum() / n**2
    return max(1.0, float(between / (spread / (n * (n - 1)))))


def _outcomes(outcomes: ArrayLike) -> Floats:
    y = np.asarray(outcomes, dtype=np.float64)
    if y.ndim != 1 or not np.isin(y, (0, 1)).all():
        raise ValueError(f"paired_rates: outcomes must be a list of 0 and 1, got {outcomes!r}")
    return y
