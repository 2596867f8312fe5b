"""What every component is: a frozen dataclass whose typed fields are its whole configuration."""

from __future__ import annotations

import dataclasses
import inspect
import re
import types
import typing
from abc import ABC
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BeforeValidator, Field, TypeAdapter
from pydantic.fields import FieldInfo


def _fraction(value: object) -> object:
    """'8/255' -> 0.0314; anything else as it is, for pydantic to judge."""
    if isinstance(value, str) and (match := re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*/\s*(\d+(?:\.\d+)?)\s*", value)) and float(match[2]):
        return float(match[1]) / float(match[2])
    return value


Number = Annotated[float, BeforeValidator(_fraction)]
Radius = Annotated[float, BeforeValidator(_fraction), Field(ge=0)]
Quality = Annotated[int, Field(ge=1, le=100)]


@dataclass(frozen=True)
class Reference:
    """Marks a field that names another component: an id of the scenario, a zoo name or a path."""

    group: Literal["target", "model", "attack"]


TargetRef = Annotated[str, Reference("target")]
ModelRef = Annotated[str, Reference("model")]
AttackRef = Annotated[str, Reference("attack")]


@dataclass(frozen=True)
class Parameter:
    """One field of a component as `redteam show` prints it."""

    name: str
    type: str
    default: Any
    required: bool
    range: str
    doc: str


@dataclass(frozen=True, kw_only=True)
class Component(ABC):
    """Frozen configuration. Subclasses add fields; what holds weights is what `load` returns.

    A class says where its method comes from in `source`, and the licence of what it ships, where it ships something.
    """

    source: ClassVar[str] = "redteam"
    licence: ClassVar[str] = "Apache-2.0"

    def params(self) -> dict[str, Any]:
        """Every field with its value, in plain JSON types."""
        return _adapter(type(self)).dump_python(self, mode="json", serialize_as_any=True)

    @classmethod
    def summary(cls) -> str:
        """The first sentence of the class's docstring."""
        return (inspect.getdoc(cls) or "").split("\n")[0]

    @classmethod
    def parameters(cls) -> list[Parameter]:
        """Every field with its type, default, range and line of documentation."""
        hints, documented = typing.get_type_hints(cls, include_extras=True), field_docs(cls)
        return [_parameter(field, hints[field.name], documented.get(field.name, "")) for field in dataclasses.fields(cls)]


@cache
def _adapter(cls: type) -> TypeAdapter[Any]:
    return TypeAdapter(cls)


def field_docs(cls: type) -> dict[str, str]:
    """The documentation line of each field, from the docstrings of the class and its bases."""
    found: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        for match in re.finditer(r"^(\w+): +(.+(?:\n {2,}.+)*)", inspect.cleandoc(base.__doc__ or ""), re.MULTILINE):
            found[match[1]] = " ".join(match[2].split())
    return found


def _parameter(field: dataclasses.Field, hint: Any, doc: str) -> Parameter:
    required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    default = None if required else field.default if field.default is not dataclasses.MISSING else field.default_factory()
    return Parameter(field.name, type_name(hint), default, required, interval(hint), doc)


def type_name(hint: Any) -> str:
    """A type as a reader of YAML would say it: number, integer, text, 'linf' | 'l2', list of ..."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        references = [m for m in args[1:] if isinstance(m, Reference)]
        return _reference_name(references[0]) if references else type_name(args[0])
    if origin is Literal:
        return " | ".join(repr(a) for a in args)
    if origin in (typing.Union, types.UnionType):
        return " | ".join(type_name(a) for a in args if a is not type(None)) + (" | null" if type(None) in args else "")
    if origin in (list, tuple):
        return "list of " + type_name(args[0])
    if origin is dict:
        return f"mapping to {type_name(args[1])}"
    plain = {float: "number", int: "integer", str: "text", bool: "true | false", Path: "path", Any: "anything"}
    return plain.get(hint, getattr(hint, "__name__", str(hint)))


def _reference_name(reference: Reference) -> str:
    return {"target": "target id or zoo name", "attack": "attack id, zoo name or path", "model": "zoo name or path"}[reference.group]


def interval(hint: Any) -> str:
    """The range that a field's constraints leave, as mathematics.

    >>> interval(Quality)
    '[1, 100]'
    """
    low = high = None
    for mark in _constraints(hint):
        if isinstance(mark, (Ge, Gt)):
            low = f"[{mark.ge}" if isinstance(mark, Ge) else f"({mark.gt}"
        if isinstance(mark, (Le, Lt)):
            high = f"{mark.le}]" if isinstance(mark, Le) else f"{mark.lt})"
    return f"{low or '(-inf'}, {high or 'inf)'}" if low or high else ""


def _constraints(hint: Any) -> list[Any]:
    marks: list[Any] = []
    for part in typing.get_args(hint):
        if isinstance(part, FieldInfo):
            marks += part.metadata
        elif typing.get_origin(part) is not None:
            marks += _constraints(part)
        else:
            marks.append(part)
    return marks
