"""Intervals and tests for rates, means and areas under the ROC curve of images that come in groups.

Source: each function names its own. A group is the source image; images of one group are not independent.
Deviation: a claim that the groups cannot carry raises `Unresolvable` instead of returning a wide or a wrong interval.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from redteam.measure.detection import roc_auc

FEWEST_GROUPS = 10  # a variance between fewer groups is itself too uncertain to build an interval on
CELLS_AT_ONCE = 2_000_000  # bootstrap draws x images held in memory together

Floats = NDArray[np.float64]


class Unresolvable(Exception):
    """The data cannot carry an interval; `reason` is a plain sentence for the reader of the report."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class Estimate:
    """A figure with its interval (95% unless the function was told otherwise).

    value: the figure itself
    low:   lower end of the interval, at most value
    high:  upper end of the interval, at least value
    n:     images behind the figure
    n_eff: independent observations that the interval rests on
    """

    value: float
    low: float
    high: float
    n: int
    n_eff: float


def wilson(k: float, n: float, confidence: float = 0.95) -> Estimate:
    """k successes of n trials in [0, 1]; both may be fractions, for a sample of effective size n.

    Source: Wilson, "Probable Inference, the Law of Succession, and Statistical Inference", JASA 22, 1927.

    >>> e = wilson(50, 100)
    >>> round(e.low, 3), round(e.high, 3)
    (0.404, 0.596)
    """
    _check_counts("wilson", k, n)
    z = float(special.ndtri(0.5 + confidence / 2))
    p = float(k / n)
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(max(p * (1 - p), 0.0) / n + z * z / (4 * n * n))
    return Estimate(p, min(max(centre - half, 0.0), p), max(min(centre + half, 1.0), p), round(n), float(n))


def clopper_pearson(k: float, n: float, confidence: float = 0.95) -> Estimate:
    """k successes of n trials in [0, 1]; the exact two-sided interval, never too narrow.

    Source: Clopper & Pearson, "The Use of Confidence or Fiducial Limits", Biometrika 26, 1934.

    >>> round(clopper_pearson(0, 100).high, 4)
    0.0362
    """
    _check_counts("clopper_pearson", k, n)
    p, tail = float(k / n), (1 - confidence) / 2
    low = float(special.betaincinv(k, n - k + 1, tail)) if k > 0 else 0.0
    high = float(special.betaincinv(k + 1, n - k, 1 - tail)) if k < n else 1.0
    return Estimate(p, min(low, p), max(high, p), round(n), float(n))


def false_positive_bound(k: int, n: int) -> Estimate:
    """k of n negatives accused -> the false-positive rate in [0, 1] with its exact 95% interval.

    >>> round(false_positive_bound(0, 1000).high, 4)
    0.0037
    """
    return clopper_pearson(k, n)


def smallest_fpr(negatives: int) -> float:
    """The smallest false-positive rate in (0, 1] that so many negatives can support: 3 / n.

    Source: Hanley & Lippman-Hand, "If Nothing Goes Wrong, Is Everything All Right?", JAMA 249, 1983.

    >>> smallest_fpr(300)
    0.01
    """
    if negatives < 1:
        raise ValueError(f"smallest_fpr: negatives must be at least 1, got {negatives}; add images with label 0")
    return min(1.0, 3 / negatives)


def design_effect(outcomes: ArrayLike, groups: Sequence[str]) -> float:
    """Outcomes (n,) of 0 and 1 -> how many times the variance of their mean grows because images share groups; at least 1.

    Source: Rao & Scott, "A Simple Method for the Analysis of Clustered Binary Data", Biometrics 48, 1992, section 2;
    for equal outcomes Kish, "Survey Sampling", 1965, section 5.4, with an intraclass correlation of 1.
    Deviation: the variance under simple random sampling divides by n - 1, so that groups of one image give exactly 1.

    >>> round(design_effect([1, 1, 0, 0, 1, 1], ["a", "a", "b", "b", "c", "c"]), 6)
    2.5
    >>> design_effect([1, 1, 1, 1], ["a", "a", "a", "b"])
    2.5
    """
    y = _outcomes(outcomes)
    codes, sizes = grouped(y, groups)
    rate = y.mean()
    if rate in (0.0, 1.0) or len(sizes) == 1:
        return float((sizes**2).sum() / sizes.sum())  # nothing varies: the weighted mean size of a group
    residuals = np.bincount(codes, y) - rate * sizes
    between = len(sizes) / (len(sizes) - 1) * (residuals**2).sum() / len(y) ** 2
    return max(1.0, float(between / (rate * (1 - rate) / (len(y) - 1))))


def clustered_rate(outcomes: ArrayLike, groups: Sequence[str]) -> Estimate:
    """Outcomes (n,) of 0 and 1 -> their mean in [0, 1] with a 95% interval that knows of the groups.

    Wilson where each group has one image, else Wilson on n over the design effect.
    Source: as `design_effect`; Dean & Pagano, "Evaluating Confidence Interval Methods for Binomial Proportions
    in Clustered Surveys", J. Survey Statistics and Methodology 3, 2015.

    Raises:
        Unresolvable: fewer than ten groups.

    >>> e = clustered_rate([1, 1, 0, 0] * 10, [str(i // 2) for i in range(40)])
    >>> e.value, round(e.low, 3), round(e.high, 3), e.n, round(e.n_eff, 2)
    (0.5, 0.297, 0.703, 40, 19.49)
    """
    y = _outcomes(outcomes)
    check_groups(len(grouped(y, groups)[1]))
    n_eff = len(y) / design_effect(y, groups)
    return replace(wilson(y.mean() * n_eff, n_eff), value=float(y.mean()), n=len(y))


def bootstrap_mean(values: ArrayLike, groups: Sequence[str], seed: int, draws: int = 1000) -> Estimate:
    """Finite values (n,) in any unit -> their mean with the 95% percentile interval over resampled groups.

    Source: Davison & Hinkley, "Bootstrap Methods and their Application", 1997, sections 3.8 and 5.3.1.
    Deviation: the interval is widened to hold the mean where rounding or skew puts it outside. Equal values give an interval
    of no width: nothing is known about what was not seen of an unbounded quantity.

    Raises:
        Unresolvable: fewer than ten groups.

    >>> e = bootstrap_mean(range(20), [str(i) for i in range(20)], seed=0)
    >>> e.value, round(e.low, 1), round(e.high, 1)
    (9.5, 7.1, 12.1)
    """
    x = np.asarray(values, dtype=np.float64)
    codes, sizes = grouped(x, groups)
    if not np.isfinite(x).all():
        at = int(np.flatnonzero(~np.isfinite(x))[0])
        raise ValueError(f"bootstrap_mean: values must be finite, got {x[at]} at {at}; leave such images out and say how many")
    check_groups(len(sizes))
    sums = np.bincount(codes, x)
    means = np.concatenate([w @ sums / (w @ sizes) for w in _resampled(len(sizes), len(sizes), seed, draws)])
    return _percentile(float(x.mean()), means, len(x), len(sizes))


def bootstrap_auc(scores: ArrayLike, labels: ArrayLike, groups: Sequence[str], seed: int, draws: int = 1000) -> Estimate:
    """Scores (n,) and labels (n,) of 0 and 1 -> area under the ROC curve with the 95% percentile interval over resampled groups.

    Draws that lost a class are left out. Where the classes separate completely, or all scores are equal, each draw gives the
    same area. Then m pairs of one image of each class, no group in two of them, are m independent trials that all went one
    way, so another way has at most the probability s that Clopper-Pearson gives for 0 of m; the interval is the area
    +- s, or +- s / 2 for all ties, inside [0, 1]. It needs no assumption and is never too narrow.
    Source: Davison & Hinkley 1997 as above; Obuchowski & Lieber, "Confidence Bounds when the Estimated ROC Area is 1.0",
    Academic Radiology 9, 2002, for the failure; Clopper & Pearson 1934 for the bound.

    Raises:
        Unresolvable: a class has fewer than ten groups.

    >>> groups = [str(i) for i in range(40)]
    >>> e = bootstrap_auc(range(40), [0] * 20 + [1] * 20, groups, seed=0)
    >>> e.value, round(e.low, 3), e.high
    (1.0, 0.832, 1.0)
    """
    area = roc_auc(scores, labels)
    s, y = np.asarray(scores, dtype=np.float64), np.asarray(labels, dtype=np.float64)
    codes, sizes = grouped(s, groups)
    with_class = [len(np.unique(codes[y == label])) for label in (0, 1)]
    for label in (0, 1):
        check_groups(with_class[label], f" with label {label}")
    tied = bool((s == s[0]).all())
    if tied or area in (0.0, 1.0):
        pairs = min(*with_class, len(sizes) // 2)
        slack = clopper_pearson(0, pairs).high / (2 if tied else 1)
        return Estimate(area, max(0.0, area - slack), min(1.0, area + slack), len(s), float(pairs))
    areas = resampled_areas(s, y, codes, seed, draws)
    return _percentile(area, areas[~np.isnan(areas)], len(s), len(sizes))


def mcnemar_exact(b: int, c: int) -> float:
    """Pairs that changed one way (b) and the other (c) -> two-sided p in (0, 1] that the ways are equally likely.

    Source: McNemar, "Note on the Sampling Error of the Difference between Correlated Proportions", Psychometrika 12, 1947.

    >>> round(mcnemar_exact(2, 10), 4)
    0.0386
    """
    if min(b, c) < 0:
        raise ValueError(f"mcnemar_exact: counts must be >= 0, got {b} and {c}")
    return min(1.0, 2 * float(special.bdtr(min(b, c), b + c, 0.5))) if b + c else 1.0


def holm(pvalues: ArrayLike) -> Floats:
    """p values (m,) -> adjusted p values (m,) in the same order; those below alpha hold together at level alpha.

    Source: Holm, "A Simple Sequentially Rejective Multiple Test Procedure", Scand. J. Statistics 6, 1979.

    >>> holm([0.01, 0.04, 0.03]).round(2).tolist()
    [0.03, 0.06, 0.06]
    """
    p = np.asarray(pvalues, dtype=np.float64)
    if p.ndim != 1 or not ((p >= 0) & (p <= 1)).all():
        raise ValueError(f"holm: p values must be a list of numbers in [0, 1], got {p.tolist()}")
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)))
    return adjusted


def _resampled(groups: int, width: int, seed: int, draws: int) -> Iterator[Floats]:
    """How often each group was drawn, (some draws, groups) at a time; `width` is the longest row that the caller builds."""
    rng = np.random.default_rng(seed)
    at_once = max(1, CELLS_AT_ONCE // width)
    for start in range(0, draws, at_once):
        rows = min(at_once, draws - start)
        drawn = rng.integers(groups, size=(rows, groups)) + groups * np.arange(rows)[:, None]
        yield np.bincount(drawn.ravel(), minlength=rows * groups).reshape(rows, groups).astype(np.float64)


def resampled_areas(scores: Floats, labels: Floats, codes: NDArray[np.intp], seed: int, draws: int) -> Floats:
    """The area under the ROC curve of each draw, (draws,); NaN where a class was not drawn."""
    order = np.argsort(scores, kind="stable")
    starts = np.flatnonzero(np.r_[True, scores[order][1:] != scores[order][:-1]])  # one for each distinct score
    areas = []
    for counts in _resampled(int(codes.max()) + 1, len(scores), seed, draws):
        weights = counts[:, codes[order]]  # (draws, n)
        positives = np.add.reduceat(weights * labels[order], starts, axis=1)
        negatives = np.add.reduceat(weights * (1 - labels[order]), starts, axis=1)
        below = np.cumsum(negatives, axis=1) - negatives / 2
        pairs = positives.sum(axis=1) * negatives.sum(axis=1)
        areas.append(np.where(pairs > 0, (positives * below).sum(axis=1) / np.maximum(pairs, 1), np.nan))
    return np.concatenate(areas)


def _percentile(value: float, draws: Floats, n: int, n_eff: float) -> Estimate:
    low, high = np.quantile(draws, [0.025, 0.975])
    return Estimate(value, min(float(low), value), max(float(high), value), n, float(n_eff))


def grouped(values: Floats, groups: Sequence[str]) -> tuple[NDArray[np.intp], Floats]:
    """The number of each value's group, and the size of each group; groups are sorted, so that the order of rows cannot matter."""
    if values.ndim != 1 or len(values) != len(groups) or not len(values):
        raise ValueError(f"values must be (n,) with n >= 1 and one group each, got {values.shape} and {len(groups)} groups")
    _, codes, sizes = np.unique(np.asarray(groups), return_inverse=True, return_counts=True)
    return codes, sizes.astype(np.float64)


def _outcomes(outcomes: ArrayLike) -> Floats:
    y = np.asarray(outcomes, dtype=np.float64)
    if not np.isin(y, (0, 1)).all():
        raise ValueError(f"outcomes must be 0 or 1, got {y[~np.isin(y, (0, 1))][0]}; a mean of other values is bootstrap_mean's")
    return y


def check_groups(groups: int, which: str = "") -> None:
    if groups < FEWEST_GROUPS:
        raise Unresolvable(f"{groups} group{'' if groups == 1 else 's'}{which}, fewer than {FEWEST_GROUPS}")


def _check_counts(where: str, k: float, n: float) -> None:
    if not (n > 0 and 0 <= k <= n):
        raise ValueError(f"{where}: counts must satisfy 0 <= k <= n and n > 0, got k = {k} and n = {n}")
