"""How well scores separate fake from real: ROC, thresholds, rates and calibration; label 1 is fake, a higher score says so.

Source: each function names its own.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

Floats = NDArray[np.float64]


class RocCurve(NamedTuple):
    """The points of a ROC curve from (0, 0) to (1, 1), one for each distinct score and one more.

    fpr:        (m,) share of label 0 above the threshold
    tpr:        (m,) share of label 1 above the threshold
    thresholds: (m,) falling, in the unit of the scores; the last is -inf
    """

    fpr: Floats
    tpr: Floats
    thresholds: Floats


class Rates(NamedTuple):
    """What a threshold does, each in [0, 1].

    tpr:               share of label 1 called fake
    fpr:               share of label 0 called fake
    balanced_accuracy: mean of tpr and 1 - fpr
    """

    tpr: float
    fpr: float
    balanced_accuracy: float


def roc_auc(scores: ArrayLike, labels: ArrayLike) -> float:
    """Scores (n,) and labels (n,) of 0 and 1 -> probability in [0, 1] that a fake scores above a real; ties count half.

    Source: Hanley & McNeil, "The Meaning and Use of the Area under a ROC Curve", Radiology 143, 1982.

    >>> roc_auc([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1])
    0.75
    """
    s, y = _scores_and_labels("roc_auc", scores, labels)
    negatives = np.sort(s[y == 0])
    below = np.searchsorted(negatives, s[y == 1], side="left")
    up_to = np.searchsorted(negatives, s[y == 1], side="right")
    return float((below + up_to).sum() / 2 / (len(negatives) * len(below)))


def roc_curve(scores: ArrayLike, labels: ArrayLike) -> RocCurve:
    """Scores (n,) and labels (n,) of 0 and 1 -> both rates at each distinct decision "fake iff score > threshold".

    Source: Fawcett, "An Introduction to ROC Analysis", Pattern Recognition Letters 27, 2006, algorithm 1.

    >>> roc_curve([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1]).tpr.tolist()
    [0.0, 0.5, 0.5, 1.0, 1.0]
    """
    s, y = _scores_and_labels("roc_curve", scores, labels)
    distinct, codes = np.unique(-s, return_inverse=True)  # falling scores
    fakes, reals = np.bincount(codes, y), np.bincount(codes, 1 - y)
    return RocCurve(
        fpr=np.r_[0.0, np.cumsum(reals) / reals.sum()],
        tpr=np.r_[0.0, np.cumsum(fakes) / fakes.sum()],
        thresholds=np.r_[-distinct, -np.inf],
    )


def threshold_at_fpr(negatives: ArrayLike, fpr: float) -> float:
    """Finite scores of negatives (n,) -> the lowest threshold t with share(score > t) <= fpr, in the unit of the scores.

    No given score equals t: it lies halfway between two neighbours, or a millionth outside the extremes (relative,
    from 1 on), so that the last bit of a score never decides. The share on these negatives may be below fpr, never above.

    >>> threshold_at_fpr([0.0, 1.0, 2.0, 3.0], fpr=0.25)
    2.5
    >>> threshold_at_fpr([0.0, 1.0, 2.0, 2.0], fpr=0.25)
    2.000002
    """
    s = np.asarray(negatives, dtype=np.float64)
    if s.ndim != 1 or not len(s) or not np.isfinite(s).all():
        raise ValueError("threshold_at_fpr: negatives must be a list of at least one finite score; images without a score are left out by the caller")
    if not 0 <= fpr <= 1:
        raise ValueError(f"threshold_at_fpr: fpr must lie in [0, 1], got {fpr}")
    distinct, counts = np.unique(s, return_counts=True)
    margin = 1e-6 * np.maximum(1.0, np.abs(distinct[[0, -1]]))
    lower, upper = np.r_[-np.inf, distinct], np.r_[distinct, np.inf]
    middle = np.r_[distinct[0] - margin[0], distinct[:-1] / 2 + distinct[1:] / 2, distinct[-1] + margin[1]]
    share_above = np.r_[len(s), len(s) - np.cumsum(counts)] / len(s)
    allowed = (share_above <= fpr) & (lower < middle) & (middle < upper)  # neighbouring floats leave no room between them
    return float(middle[allowed][0])


def rates(scores: ArrayLike, labels: ArrayLike, threshold: float) -> Rates:
    """Scores (n,), labels (n,) of 0 and 1 and a threshold in the unit of the scores -> rates of the decision "fake iff score > threshold".

    >>> rates([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1], threshold=0.5)
    Rates(tpr=0.5, fpr=0.0, balanced_accuracy=0.75)
    """
    s, y = _scores_and_labels("rates", scores, labels)
    if np.isnan(threshold):
        raise ValueError("rates: threshold must be a number, got NaN")
    tpr, fpr = float((s[y == 1] > threshold).mean()), float((s[y == 0] > threshold).mean())
    return Rates(tpr, fpr, (tpr + 1 - fpr) / 2)


def expected_calibration_error(logits: ArrayLike, labels: ArrayLike, bins: int = 15) -> float:
    """Log-odds (n,) of label 1 and labels (n,) of 0 and 1 -> mean gap in [0, 1] between stated and observed probability of fake.

    Bins of equal width over (0, 1]; one class alone is allowed, since confidence in the wrong class is what attacks cause.
    Source: Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, arXiv:1706.04599, eq. 3.
    Deviation: the probability of label 1 is binned, not that of the predicted class, which would merge p with 1 - p.

    >>> round(expected_calibration_error([0.0, 0.0, 2.0, 2.0], [0, 1, 1, 0]), 4)
    0.1904
    """
    s, y = _scores_and_labels("expected_calibration_error", logits, labels, both=False)
    if bins < 1:
        raise ValueError(f"expected_calibration_error: bins must be at least 1, got {bins}")
    p = special.expit(s)
    codes = np.maximum(np.ceil(p * bins).astype(np.intp) - 1, 0)
    return float(np.abs(np.bincount(codes, p - y)).sum() / len(y))


def _scores_and_labels(where: str, scores: ArrayLike, labels: ArrayLike, both: bool = True) -> tuple[Floats, Floats]:
    s, y = np.asarray(scores, dtype=np.float64), np.asarray(labels, dtype=np.float64)
    if s.ndim != 1 or s.shape != y.shape or not len(s):
        raise ValueError(f"{where}: scores and labels must both be (n,) with n >= 1, got {s.shape} and {y.shape}")
    if np.isnan(s).any():
        raise ValueError(f"{where}: scores must be numbers, got {np.isnan(s).sum()} NaN of {len(s)}; unscoreable images are left out and counted")
    if not np.isin(y, (0, 1)).all():
        raise ValueError(f"{where}: labels must be 0 or 1, got {y[~np.isin(y, (0, 1))][0]}")
    if both and len(np.unique(y)) < 2:
        raise ValueError(f"{where}: labels must hold both 0 and 1, got only {int(y[0])}; each class needs at least one image")
    return s, y
