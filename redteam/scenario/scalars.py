"""What an unquoted YAML scalar means: the core schema of YAML 1.2, plus ratios such as 8/255.

Deviation: integers with a leading zero and in other bases are refused, since YAML 1.1 and 1.2 read them differently.
"""

from __future__ import annotations

import math
import re
from typing import Self

_CONSTANTS = {**dict.fromkeys(("", "~", "null", "Null", "NULL")), **dict.fromkeys(("true", "True", "TRUE"), True), **dict.fromkeys(("false", "False", "FALSE"), False)}
_INTEGER = re.compile(r"[-+]?[0-9]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_RATIO = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*/\s*([0-9]+(?:\.[0-9]+)?)")
_BASED = re.compile(r"0[xX][0-9a-fA-F]+|0[oO][0-7]+|0[bB][01]+")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")

Scalar = str | int | float | bool | None


class Written(float):
    """A number that remembers how it was written, so that a message can quote it: 1.10 and not 1.1.

    >>> Written("1e3"), Written("1e3").text
    (1000.0, '1e3')
    """

    text: str

    def __new__(cls, text: str) -> Self:
        number = super().__new__(cls, cls._value(text))
        number.text = text
        return number

    def __getnewargs__(self) -> tuple[str]:
        return (self.text,)

    @staticmethod
    def _value(text: str) -> float:
        return float(text)


class Ratio(Written):
    """A number that was written as a ratio; a field that wants text can have the text back.

    >>> Ratio("8/255").text, round(Ratio("8/255"), 4)
    ('8/255', 0.0314)
    """

    @staticmethod
    def _value(text: str) -> float:
        over, under = _RATIO.fullmatch(text).groups()
        return float(over) / float(under)


class Unfit(ValueError):
    """A scalar that a scenario must not hold; `code` is that of the problem."""

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        super().__init__(message)


def plain(text: str) -> Scalar:
    """The value of an unquoted scalar. Raises Unfit.

    >>> plain("1e-3"), plain("no"), plain("12:30"), plain("~")
    (0.001, 'no', '12:30', None)
    """
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if _NOT_FINITE.fullmatch(text):
        raise Unfit("RT132", f"a number must be finite, got {text}; write a number, or quote it if it is text")
    if _BASED.fullmatch(text):
        raise Unfit("RT131", f"a number must be decimal, got {text}; write {int(text, 0)}, or quote it if it is text")
    if _INTEGER.fullmatch(text):
        return _integer(text)
    if _RATIO.fullmatch(text):
        return _ratio(text)
    return _float(text) if _FLOAT.fullmatch(text) else text


def _integer(text: str) -> int:
    digits = text.lstrip("+-")
    if len(digits) > 19:
        raise Unfit("RT132", f"an integer must have at most 19 digits, got {len(digits)}; quote it if it is text")
    if len(digits) > 1 and digits[0] == "0":
        raise Unfit("RT131", f"an integer must not start with 0, got {text}; write {int(text)}, or quote it if it is text")
    return int(text)


def _float(text: str) -> float:
    if not math.isfinite(float(text)):
        raise Unfit("RT132", f"a number must be finite, got {text}; write a smaller one, or quote it if it is text")
    return Written(text)


def _ratio(text: str) -> Ratio:
    if float(_RATIO.fullmatch(text)[2]) == 0:
        raise Unfit("RT132", f"a ratio must not divide by 0, got {text}; quote it if it is text")
    if not math.isfinite(number := Ratio(text)):
        raise Unfit("RT132", f"a number must be finite, got {text[:20]}...; write a smaller one, or quote it if it is text")
    return number


def shown(value: object) -> str:
    """A value as a message quotes it, never long and never a control character.

    >>> shown(True), shown("yes"), shown({"a": 1})
    ('true', "'yes'", 'a mapping')
    """
    if isinstance(value, (dict, list)):
        return "a mapping" if isinstance(value, dict) else f"a list of {len(value)}" if value else "an empty list"
    if isinstance(value, bool) or value is None:
        return {None: "nothing", True: "true", False: "false"}[value]
    if isinstance(value, Written):
        return value.text
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:56]}...{text[0] if isinstance(value, str) else ''}"
