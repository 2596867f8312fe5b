"""What pydantic found wrong with a component, in the project's own sentences."""

from __future__ import annotations

import dataclasses
import types
import typing
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import ValidationError

from redteam.component import interval
from redteam.scenario.document import Place
from redteam.scenario.reading import nearest
from redteam.scenario.scalars import Ratio, plain, shown

_EXPECTED = {
    "int_type": "an integer", "int_from_float": "an integer", "int_parsing": "an integer",
    "float_type": "a number", "float_parsing": "a number",
    "bool_type": "true or false", "bool_parsing": "true or false", "string_type": "text",
    "tuple_type": "a list", "list_type": "a list",
    "dict_type": "a mapping", "dataclass_type": "a mapping",
}
_LIMITS = {"greater_than_equal": (">=", "ge"), "greater_than": (">", "gt"), "less_than_equal": ("<=", "le"), "less_than": ("<", "lt")}
_ON_OFF = {"yes": "true", "on": "true", "y": "true", "no": "false", "off": "false", "n": "false"}


@dataclass(frozen=True)
class Complaint:
    """One thing wrong with the values of a component.

    at:    the place inside the values; of a missing key, where it should be
    known: the keys that there are, where one is unknown
    """

    code: str
    at: Place
    message: str = ""
    known: tuple[str, ...] = ()


def complaints(error: ValidationError, cls: type, values: dict[str, Any], name: str) -> list[Complaint]:
    """Everything that pydantic says about `values` for the component `name`; members of a union speak with one voice."""
    places: dict[Place, list[dict[str, Any]]] = {}
    for row in error.errors(include_url=False):
        places.setdefault(located(row, values), []).append(row)
    return [_complaint(at, rows, cls, values, name) for at, rows in places.items()]


def located(row: dict[str, Any], values: Any) -> Place:
    """Where in the values an error of pydantic belongs: its location without the names of union members."""
    path: list[str | int] = []
    *steps, last = row["loc"][1:] or [""]
    for step in [*steps, last]:
        inside = isinstance(values, dict) and step in values or isinstance(values, list) and isinstance(step, int) and step < len(values)
        if inside:
            path.append(step)
            values = values[step]
    absent = row["type"] == "missing" and not isinstance(values, list)
    return (*path, last) if absent else tuple(path)


def _complaint(at: Place, rows: list[dict[str, Any]], cls: type, values: dict[str, Any], name: str) -> Complaint:
    first = rows[0]
    value, hint, owner = _value(values, at), hint_at(cls, at), hint_at(cls, at[:-1])
    if _is_sweep(value) or _is_sweep(_value(values, at[:-1])):
        place = at if _is_sweep(value) else at[:-1]
        return Complaint("RT203", place, "a sweep must be the whole value of one parameter of an attack; write one value here, or several entries")
    if first["type"] == "missing":
        if isinstance(first["input"], list):
            return Complaint("RT103", at, f"must be a list of {_length(hint)}, got {shown(value)}")
        return Complaint("RT101", at, f"{name if len(at) == 1 else at[-2]} needs it")
    if first["type"] == "unexpected_keyword_argument":
        return Complaint("RT102", at, known=tuple(visible(found) if (found := _class_in(owner)) else ()))
    if first["type"] in ("value_error", "assertion_error"):
        return Complaint("RT105", at, str(first["ctx"]["error"]))
    expected = " or ".join(dict.fromkeys(_expected(row, hint, len(rows) > 1) for row in rows))
    code = "RT103" if all(row["type"] in (*_EXPECTED, "too_short", "too_long") for row in rows) else "RT104"
    return Complaint(code, at, f"{expected}, got {shown(value)}{_repaired(first, value)}".replace(" or must be ", " or "))


def visible(cls: type) -> list[str]:
    """The fields that a scenario may write."""
    return [field.name for field in dataclasses.fields(cls) if not field.metadata.get("internal")]


def _expected(row: dict[str, Any], hint: Any, several: bool) -> str:
    kind, context = row["type"], row.get("ctx", {})
    if kind in _EXPECTED:
        return f"must be {_EXPECTED[kind]}"
    if kind in ("literal_error", "enum"):
        return f"must be {context['expected']}"
    if kind in _LIMITS:
        sign, name = _LIMITS[kind]
        limits = interval(hint)
        return f"must lie in {limits}" if limits and not several else f"must be {sign} {context[name]}"
    if kind in ("too_short", "too_long"):
        return f"must be a list of {_length(hint) or context.get('min_length', context.get('max_length'))}"
    if kind == "string_pattern_mismatch":
        return f"must be text like {context['pattern']}"
    return f"must be valid ({row['msg']})"


def _repaired(row: dict[str, Any], value: Any) -> str:
    kind = row["type"]
    if kind in ("literal_error", "enum") and isinstance(value, str):
        found = nearest(value, [part.strip("' ") for part in row["ctx"]["expected"].replace(" or ", ",").split(",")])
        return f"; did you mean {found!r}?" if found else ""
    if kind == "string_type" and isinstance(value, (int, float)):
        return "; quote it"
    if kind == "bool_type" and isinstance(value, str) and value.lower() in _ON_OFF:
        return f"; write {_ON_OFF[value.lower()]}"
    if kind == "bool_type" and value in (0, 1):
        return f"; write {'true' if value else 'false'}"
    return _number_repair(kind, value) if kind.startswith(("int_", "float_")) else ""


def _number_repair(kind: str, value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        return f"; write {int(value)}"
    if not isinstance(value, str):
        return ""
    text = value.replace("_", "")
    try:
        number = plain(text)
    except ValueError:
        return ""
    fits = isinstance(number, int) or isinstance(number, float) and kind.startswith("float_")
    return f"; write {text} without quotes" if fits and text == value else f"; write {text}" if fits and not isinstance(number, (bool, Ratio)) else ""


def hint_at(hint: Any, at: Place) -> Any:
    """The type that a component declares at a place inside its values; None where it declares none."""
    for step in at:
        hint = _inside(hint, step)
    return hint


def _inside(hint: Any, step: str | int) -> Any:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        return _inside(args[0], step)
    if origin in (typing.Union, types.UnionType):
        return next((found for arg in args if (found := _inside(arg, step)) is not None), None)
    if dataclasses.is_dataclass(hint):
        return typing.get_type_hints(hint, include_extras=True).get(step)
    if origin is dict:
        return args[1]
    if origin in (list, tuple) and isinstance(step, int):
        return args[min(step, len(args) - 1)] if Ellipsis not in args else args[0]
    return None


def _class_in(hint: Any) -> type | None:
    candidates = [hint, *typing.get_args(hint)]
    return next((candidate for candidate in candidates if dataclasses.is_dataclass(candidate)), None)


def _length(hint: Any) -> int | None:
    for candidate in (hint, *typing.get_args(hint)):
        if typing.get_origin(candidate) is tuple and Ellipsis not in typing.get_args(candidate):
            return len(typing.get_args(candidate))
    return None


def _value(values: Any, at: Place) -> Any:
    for step in at:
        if not (isinstance(values, dict) and step in values or isinstance(values, list) and isinstance(step, int) and step < len(values)):
            return None
        values = values[step]
    return values


def _is_sweep(value: Any) -> bool:
    return isinstance(value, dict) and set(value) == {"sweep"} and isinstance(value["sweep"], list)
