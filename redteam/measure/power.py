"""What a number of images can show at all: how wide an interval is at worst, and how small a difference can still be told from chance."""

from __future__ import annotations

from scipy import special, stats

from redteam.measure.statistics import mcnemar_exact, wilson

POWER, ALPHA = 0.80, 0.05  # chance to notice a difference that is there, and to claim one that is not


def half_width(n: int) -> float:
    """Independent images -> half the width of the 95% interval of a share, where it is widest; in [0, 1].

    >>> round(half_width(40), 3), round(half_width(1000), 3)
    (0.148, 0.031)
    """
    if n < 1:
        raise ValueError(f"half_width: n must be at least 1, got {n}")
    widest = wilson(n / 2, n)
    return (widest.high - widest.low) / 2


def least_difference(pairs: int, power: float = POWER, alpha: float = ALPHA) -> float | None:
    """Independent images judged twice -> the smallest share on which the two may differ and still be told apart with that power; None where none is.

    McNemar's exact test, in the best case: every image that differs, differs the same way. Where some differ the other way it takes more.
    Source: the exact power of the test, from the binomial distribution of the images that differ; Lachin, "Power and Sample Size Evaluation
    for the McNemar Test", Statistics in Medicine 11, 1992, section 2.

    >>> round(least_difference(40), 3), round(least_difference(1000), 4), least_difference(5)
    (0.19, 0.0079, None)
    """
    fewest = next(k for k in range(1, 64) if mcnemar_exact(0, k) < alpha)  # images that must differ for the test to say so
    if pairs < fewest:
        return None
    return float(special.betaincinv(fewest, pairs - fewest + 1, power))  # where P(at least `fewest` of `pairs`) reaches the power


def chance_to_notice(pairs: int, difference: float, alpha: float = ALPHA) -> float:
    """Independent images judged twice, of which so large a share differs one way -> the chance in [0, 1] that the exact test says so.

    >>> round(chance_to_notice(40, 0.19), 2)
    0.8
    """
    fewest = next(k for k in range(1, 64) if mcnemar_exact(0, k) < alpha)
    return float(stats.binom.sf(fewest - 1, pairs, difference))
