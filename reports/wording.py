"""Numbers and names as a person reads them: never more digits than the images behind a figure carry."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from redteam.measure.names import CERTAINTY, METRICS, Metric

DASH = "–"
SPACE = "\u00a0"  # keeps a number and its unit on one line
REORDERING = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # marks that turn the reading direction
UNSAFE = re.compile(f"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff{REORDERING}\ufffe\uffff]")  # and controls, line ends, halves of pairs, what XML forbids
DECIMAL_SHARES = ("auc", *CERTAINTY)  # shares that the field writes as 0.94, not as 94 %
RECALL_REAL = Metric("Real images cleared", "Of the real images, the share that is called real (recall of label 0).", "share", "higher")
KNOWN = {**METRICS, **CERTAINTY, "recall_real": RECALL_REAL}


def plain(text: object) -> str:
    r"""Untrusted text on one line, with nothing in it that moves the cursor or turns the reading direction.

    >>> plain("a\x1b[31m\nb")
    'a\\x1b[31m\\nb'
    """
    return UNSAFE.sub(lambda found: found[0].encode("unicode_escape").decode(), str(text))


def number(value: object) -> float | None:
    """A finite number, or None; what is absent must never be read as 0."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def metric_named(name: str) -> Metric:
    """The entry of the metric table; a name that it does not know stands for itself."""
    return KNOWN.get(name) or Metric(plain(name), "", "", "neither")


def direction(name: str) -> str:
    """Which way is better for the defender, for a heading; empty where neither is.

    >>> direction("frame_rate")
    'lower is better'
    """
    better = metric_named(name).better
    return "" if better == "neither" else f"{better} is better"


def percent(value: float, n: float | None = None) -> str:
    """A share as a percentage; one decimal from 1000 images on, and never a rounded 0 or 100.

    >>> percent(0.8768, 96), percent(0.8768, 2000), percent(0.001, 500)
    ('88\\xa0%', '87.7\\xa0%', '<1\\xa0%')
    """
    digits = _percent_digits(n)
    shown = f"{100 * value:.{digits}f}"
    least = f"{10.0**-digits:.{digits}f}"
    if value > 0 and float(shown) <= 0:
        shown = f"<{least}"
    elif value < 1 and float(shown) >= 100:
        shown = f">{100 - float(least):.{digits}f}"
    return f"{shown}{SPACE}%"


def percent_bounds(low: float, high: float, n: float | None = None) -> tuple[str, str]:
    """The ends of an interval of a share in percent, rounded outward.

    >>> percent_bounds(0.914, 0.956, 96)
    ('91', '96')
    """
    digits = _percent_digits(n)
    return _outward(100 * low, 100 * high, digits)


def figure(name: str, value: float, n: float | None = None) -> str:
    """The value of a metric in its unit.

    >>> figure("psnr_db", 41.234), figure("auc", 0.9871), figure("ssim", 0.99987), figure("queries", 1234.0)
    ('41.2', '0.99', '>0.999', '1,234')
    """
    if name in DECIMAL_SHARES or name == "ssim":
        return _decimal(value, _decimals(name, n))
    unit = metric_named(name).unit
    if unit == "share":
        return percent(value, n)
    if unit == "dB" or unit == "levels":
        return f"{value:.1f}"
    return f"{value:.2f}" if unit == "image units" else significant(value)


def interval(name: str, low: float, high: float, n: float | None = None) -> str:
    """An interval of a metric, its ends rounded outward.

    >>> interval("tpr", 0.914, 0.956), interval("psnr_db", 40.02, 41.77)
    ('[91, 96]\\xa0%', '[40.0, 41.8]')
    """
    if name not in DECIMAL_SHARES and metric_named(name).unit == "share":
        return f"[{', '.join(percent_bounds(low, high, n))}]{SPACE}%"
    if name in KNOWN and metric_named(name).unit != "count":
        return f"[{', '.join(_outward(low, high, _decimals(name, n)))}]"
    return f"[{significant(low)}, {significant(high)}]"


def significant(value: float) -> str:
    """Three significant digits, without an exponent where a person would not write one.

    >>> significant(40.0), significant(0.012345), significant(1234567.0)
    ('40', '0.0123', '1,234,567')
    """
    if value and not 1e-4 <= abs(value) < 1e9:
        return f"{value:.2e}"
    if abs(value) >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{float(f'{value:.3g}'):g}"


def radius(eps: float, norm: str | None = None) -> str:
    """A budget or a step in 8-bit levels where it is one.

    >>> radius(4 / 255), radius(0.5 / 255, "linf"), radius(2.0, "l2")
    ('4/255', '0.5/255', '2')
    """
    levels = 2 * eps * 255
    if norm != "l2" and 0 < eps < 1 and abs(levels - round(levels)) < 2e-3 and round(levels):
        return f"{round(levels) / 2:g}/255"
    return significant(eps)


def strength(name: str, value: object, norm: str | None = None) -> str:
    """One strength in words: `eps 4/255`, `quality 75`."""
    return f"{plain(name)}{SPACE}{strength_value(name, value, norm)}"


def strength_value(name: str, value: object, norm: str | None = None) -> str:
    """The number of one strength; a radius in 8-bit levels."""
    amount = number(value)
    if amount is None:
        return plain(value)
    return radius(amount, norm) if name.rpartition(".")[2] == "eps" else significant(amount)


def attack_name(cell: Mapping[str, Any]) -> str:
    """How a person would call the attack of a cell: `pgd, eps 4/255`."""
    parts = [strength(name, value, cell.get("norm")) for name, value in (cell.get("strength") or {}).items()]
    if not parts and cell.get("control") and number(cell.get("eps")) is not None:
        parts = [strength("eps", cell["eps"], cell.get("norm"))]  # a noise arm takes its budget from the attack that it serves
    if cell.get("repeat"):
        parts.append(f"repeat{SPACE}{cell['repeat']}")
    return ", ".join([plain(cell["attack"]), *parts])


def cell_name(cell: Mapping[str, Any]) -> str:
    """A cell outside its block: `camera / npr / jpeg75: pgd, eps 4/255`."""
    return f"{plain(cell['data'])} / {plain(cell['target'])} / {plain(cell['defense'])}: {attack_name(cell)}"


def attack_names(cells: Sequence[Mapping[str, Any]]) -> list[str]:
    """Attacks in words, those that differ in one strength only drawn together: `jpeg, quality 95, 85, 75`."""
    families: dict[tuple[str, str], list[str]] = {}
    for cell in cells:
        strengths = cell.get("strength") or {}
        if len(strengths) == 1 and not cell.get("repeat"):
            (name, value), *_ = strengths.items()
            families.setdefault((plain(cell["attack"]), plain(name)), []).append(strength_value(name, value, cell.get("norm")))
        else:
            families.setdefault((attack_name(cell), ""), [])
    return [f"{attack}, {name}{SPACE}{', '.join(dict.fromkeys(values))}" if name else attack for (attack, name), values in families.items()]


def norm_name(norm: object) -> str:
    """The name of a norm in print."""
    return {"linf": "L∞", "l2": "L2"}.get(str(norm), plain(norm))


def counted(n: int, singular: str, plural: str | None = None) -> str:
    """A number with its noun.

    >>> counted(1, "cell"), counted(3, "cell")
    ('1 cell', '3 cells')
    """
    return f"{n} {singular if n == 1 else plural or singular + 's'}"


def listed(names: list[str], most: int = 3) -> str:
    """Names in a sentence, the later ones counted.

    >>> listed(["a", "b", "c", "d"]), listed(["a", "b"])
    ('a; b; c; and 1 more', 'a; b')
    """
    rest = len(names) - most
    return "; ".join(names if rest <= 0 else [*names[:most], f"and {rest} more"])


def _percent_digits(n: float | None) -> int:
    return 1 if n is not None and n >= 1000 else 0


def _decimals(name: str, n: float | None) -> int:
    if name == "ssim":
        return 3
    return (3 if n is not None and n >= 1000 else 2) if name in DECIMAL_SHARES else 2 if metric_named(name).unit == "image units" else 1


def _decimal(value: float, digits: int) -> str:
    shown = f"{value:.{digits}f}"
    if value < 1 and float(shown) >= 1:
        return f">{1 - 10.0**-digits:.{digits}f}"
    return f"<{10.0**-digits:.{digits}f}" if value > 0 and float(shown) == 0 else shown


def _outward(low: float, high: float, digits: int) -> tuple[str, str]:
    scale = 10**digits
    down, up = math.floor(low * scale + 1e-9) / scale, math.ceil(high * scale - 1e-9) / scale
    return f"{down:.{digits}f}", f"{up:.{digits}f}"
