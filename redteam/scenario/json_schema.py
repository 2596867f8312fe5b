"""A JSON Schema of scenario files, for editors, made from the components themselves.

Source: JSON Schema draft 2020-12. It knows shapes, names, choices and ranges; what only a whole scenario can tell (whether an id exists,
whether an attack has the access that it needs) is said by `redteam validate`.
"""

from __future__ import annotations

import dataclasses
import inspect
import types
import typing
from functools import cache
from typing import Annotated, Any

from pydantic import TypeAdapter

from redteam import registry
from redteam.component import field_docs
from redteam.files import FileFormat
from redteam.measure.names import METRICS
from redteam.objective import GOALS
from redteam.scenario.complaints import visible
from redteam.scenario.components import WORDS, kinds
from redteam.scenario.document import SLUG
from redteam.scenario.exclusions import SECTIONS
from redteam.scenario.gates import Form
from redteam.scenario.load import REQUIRED, Head
from redteam.scenario.model import CONTROLS, ROLES, Limits

Json = dict[str, Any]

DIALECT = "https://json-schema.org/draft/2020-12/schema"
RATIO = r"^\s*[0-9]+(\.[0-9]+)?\s*/\s*[0-9]+(\.[0-9]+)?\s*$"
REQUIREMENT = r"^\s*(<=|>=|<|>)\s*\S+\s*$"


def scenario_schema() -> Json:
    """The schema of a scenario file, of one that extends another, and of all that both are made of."""
    entries = {"data": _corpus(), "targets": _targets(), "defenses": _union("defenses"), "attacks": _attacks(), "gates": _gate()}
    return {
        "$schema": DIALECT,
        "title": "redteam scenario",
        "type": "object",
        "if": {"required": ["extends"]},
        "then": {"properties": _sections(extending=True), "additionalProperties": False},
        "else": {"properties": _sections(extending=False), "required": list(REQUIRED), "additionalProperties": False},
        "$defs": entries,
    }


def _sections(extending: bool) -> Json:
    """The top-level keys; where a file extends another, an entry may hold an id and what it changes."""

    def entries(section: str) -> Json:
        return {"anyOf": [_ref(section), _CHANGE]} if extending else _ref(section)

    head = of_fields(Head)["properties"]
    return {
        **head,
        "name": {**head["name"], "pattern": f"^{SLUG.pattern}$"},
        **({"extends": {"type": "string", "description": "Another scenario, relative to this file: what is not said here is as there."}} if extending else {}),
        "data": {
            "type": "object", "description": "Corpora by role.", "additionalProperties": False, **({} if extending else {"required": ["eval"]}),
            "properties": {role: {"anyOf": [_ref("data"), {"type": "array", "items": _ref("data"), "minItems": 1}]} for role in ROLES},
        },
        "targets": {"type": "array", "minItems": 1, "items": entries("targets"), "description": "What is attacked."},
        "defenses": {"type": "array", "minItems": 1, "items": entries("defenses"), "description": "What stands before the targets; the attacker sees both together."},
        "attacks": {"type": "array", "items": entries("attacks"), "description": "Control arms are added by themselves."},
        "file": of_fields(FileFormat), "limits": of_fields(Limits),
        "matrix": {"type": "object", "additionalProperties": False, "properties": {"exclude": {"type": "array", "items": _exclusion()}}},
        "gates": {"type": "array", "items": entries("gates"), "description": "What is promised of the figures."},
    }  # fmt: skip


_CHANGE = {"type": "object", "required": ["id"], "properties": {"kind": False, "chain": False}, "description": "Changes the entry of that id in the scenario that is extended."}


def _ref(name: str) -> Json:
    return {"$ref": f"#/$defs/{name}"}


def _id(reserved: bool = False) -> Json:
    return {"type": "string", "pattern": f"^{SLUG.pattern}$", **({"not": {"enum": list(CONTROLS)}} if reserved else {})}


def _corpus() -> Json:
    return {"oneOf": [_kind("corpora", name, required=("kind",)) for name in kinds("corpora")]}


def _union(group: str) -> Json:
    return {"oneOf": [_kind(group, name) for name in kinds(group)]}


def _targets() -> Json:
    own = [_kind("targets", name) for name in kinds("targets") if name != "zoo"]
    models = [name for name in registry.names("models") if getattr(_class("models", name), "role", None) in GOALS]
    return {"oneOf": [*own, *(_zoo(name) for name in models)]}


def _zoo(name: str) -> Json:
    """A reference model, whose kind names it."""
    schema = _kind("targets", "zoo")
    properties = {key: value for key, value in schema["properties"].items() if key != "model"} | {"kind": {"const": f"zoo/{name}"}}
    return {**schema, "description": _class("models", name).summary(), "properties": properties, "required": ["id", "kind"]}


def _attacks() -> Json:
    """Every attack with its parameters swept or not, and chains."""
    own = [_kind("attacks", name, swept=True) for name in kinds("attacks")]
    stages = [{**schema, "properties": {**schema["properties"], "id": False, "goal": False}, "required": [key for key in schema["required"] if key != "id"]} for schema in own]
    reference = {"type": "object", "required": ["ref"], "properties": {"ref": _id(), "kind": False, "goal": False}, "description": "An attack of this scenario, with other parameters where they are given."}
    chain = {
        "type": "object", "description": "Attacks one after the other; each stage names an attack by ref or by kind.", "required": ["id", "chain"], "additionalProperties": False,
        "properties": {"id": _id(reserved=True), "goal": {"type": "string"}, "chain": {"type": "array", "minItems": 1, "items": {"oneOf": [reference, *stages]}}},
    }  # fmt: skip
    return {"oneOf": [*own, chain]}


def _kind(group: str, name: str, *, swept: bool = False, required: tuple[str, ...] = ("id", "kind")) -> Json:
    """One entry: its kind, its id and the parameters of the component."""
    cls = _class(group, name)
    if cls is None:  # declared, but not importable here: `redteam doctor` says why
        return {"type": "object", "properties": {"kind": {"const": name}}, "required": list(required)}
    found = of_fields(cls)
    properties = {key: _swept(value) if swept else value for key, value in found["properties"].items()}
    fixed = {"id": _id(reserved=group == "attacks"), "kind": {"const": name, "description": f"{cls.summary()} `redteam show {WORDS[group]}/{name}`"}}
    return {**found, "properties": {**fixed, **properties}, "required": [*required, *found.get("required", [])]}


@cache
def _class(group: str, name: str) -> Any:
    try:
        return registry.get(group, name)
    except (ImportError, AttributeError):
        return None


def _swept(value: Json) -> Json:
    """A value, or several of them to run one after the other."""
    said = {key: value[key] for key in ("description", "default") if key in value}
    one = {key: value[key] for key in value if key not in said}
    sweep = {"type": "object", "required": ["sweep"], "additionalProperties": False, "properties": {"sweep": {"type": "array", "minItems": 1, "uniqueItems": True, "items": one}}}
    return {**said, "anyOf": [one, sweep]}


def _exclusion() -> Json:
    known = {name: {"type": "string"} for name in SECTIONS} | {"attack": {"type": "string", "not": {"enum": list(CONTROLS)}}}
    return {"type": "object", "minProperties": 1, "additionalProperties": False, "properties": known}


def _gate() -> Json:
    found = of_fields(Form)
    where = {"type": "object", "additionalProperties": {"type": ["string", "number"]}, "description": "Coordinates and strengths of the cells that are judged."}
    require = {"type": "string", "pattern": REQUIREMENT, "description": 'An operator and a number, such as "<= 0.40".'}
    metric = {"enum": list(METRICS), "description": "`redteam list metrics`"}
    return {**found, "properties": {**found["properties"], "id": _id(), "where": where, "require": require, "metric": metric}, "required": ["id", "metric", "require"]}


def of_fields(cls: type) -> Json:
    """A dataclass: its fields with their types, ranges, choices, defaults and documentation; no other keys."""
    hints, said = typing.get_type_hints(cls, include_extras=True), field_docs(cls)
    fields = [field for field in dataclasses.fields(cls) if field.name in visible(cls)]
    properties = {field.name: _documented(field, of_type(hints[field.name]), said.get(field.name)) for field in fields}
    required = [field.name for field in fields if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING]
    found = {"type": "object", "description": (inspect.getdoc(cls) or "").split("\n")[0], "properties": properties, "additionalProperties": False}
    return found | ({"required": required} if required else {})


def _documented(field: dataclasses.Field, schema: Json, said: str | None) -> Json:
    if group := field.metadata.get("components"):
        members = {name: {"anyOf": [{"type": "number", "exclusiveMinimum": 0}, _member(group, name)]} for name in registry.names(group)}
        schema = {"type": "object", "properties": members, "additionalProperties": False}
    plain = isinstance(field.default, (bool, int, float, str))
    return {**schema, **({"description": said} if said else {}), **({"default": field.default} if plain else {})}


def _member(group: str, name: str) -> Json:
    cls = _class(group, name)
    return of_fields(cls) if cls else {"type": "object"}


def of_type(hint: Any) -> Json:
    """A type as JSON Schema; a number may also be written as a ratio.

    >>> of_type(int | None)
    {'anyOf': [{'type': 'integer'}, {'type': 'null'}]}
    """
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if dataclasses.is_dataclass(hint):
        return of_fields(hint)
    if origin in (typing.Union, types.UnionType):
        return {"anyOf": [of_type(arg) for arg in args]}
    if origin is dict:
        return {"type": "object", "additionalProperties": of_type(args[1])}
    if origin in (list, tuple):
        return _array(origin, args)
    if origin is Annotated and typing.get_origin(args[0]) in (typing.Union, types.UnionType, dict, list, tuple):
        return of_type(args[0])
    found = {name: value for name, value in TypeAdapter(hint).json_schema().items() if name not in ("title", "description")}
    return {"anyOf": [found, {"type": "string", "pattern": RATIO}]} if found.get("type") == "number" else found


def _array(origin: Any, args: tuple[Any, ...]) -> Json:
    if origin is list or Ellipsis in args:
        return {"type": "array", "items": of_type(args[0])}
    return {"type": "array", "prefixItems": [of_type(arg) for arg in args], "minItems": len(args), "maxItems": len(args)}
