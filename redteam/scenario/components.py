"""Builds components from what a scenario writes; every complaint lands on the line that it is about."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError

from redteam import registry
from redteam.scenario.complaints import Complaint, complaints, located, visible
from redteam.scenario.document import Place
from redteam.scenario.reading import Reading, repair
from redteam.scenario.references import anchored, check_reference, references
from redteam.scenario.scalars import Ratio, shown

WORDS = {"attacks": "attack", "defenses": "defense", "targets": "target", "corpora": "data", "forgeries": "forge"}  # as `redteam show` says them
NOUNS = WORDS | {"corpora": "corpus", "forgeries": "forgery", "models": "model"}


@dataclass(frozen=True)
class Placed:
    """A value and where it stands."""

    value: Any
    path: Place


@dataclass(frozen=True)
class Part:
    """A component before it is built.

    params: what the scenario writes, by field; a sweep's value stands at its own place
    home:   the place of the whole
    name:   as messages call it
    hint:   the command that shows its fields
    """

    cls: type
    params: dict[str, Placed]
    home: Place
    name: str
    hint: str | None = None

    def place(self, at: Place) -> Place:
        """A place inside the values -> the place in the document."""
        return (*self.params[at[0]].path, *at[1:]) if at and at[0] in self.params else self.home


def kinds(group: str) -> list[str]:
    """The kinds that a scenario may write; a chain is written otherwise."""
    return [name for name in registry.names(group) if (group, name) != ("attacks", "chain")]


def placed(entry: dict[str, Any], path: Place, without: tuple[str, ...] = ()) -> dict[str, Placed]:
    """The keys of an entry with their places."""
    return {name: Placed(value, (*path, name)) for name, value in entry.items() if name not in without}


def component(reading: Reading, group: str, kind: Any, path: Place) -> type | None:
    """The class of a kind; notes an error at `path` and gives None where there is none or it cannot be imported."""
    if not isinstance(kind, str):
        reading.error("RT103", path, f"must be text, got {shown(kind)}; name a kind: {', '.join(kinds(group))}")
        return None
    try:
        return registry.get(group, kind)
    except registry.UnknownComponent:
        reading.error("RT109", path, f"unknown {NOUNS[group]} {kind!r}; {repair(kind, kinds(group), 'there are')}", "redteam list")
    except (ImportError, AttributeError) as error:
        reading.error("RT110", path, f"{kind} cannot be imported: {error}", "redteam list")
    return None


def refuse_unknown(reading: Reading, part: Part) -> Part:
    """The part without the keys that its class does not have; each is an error at its key."""
    known = visible(part.cls)
    for name, param in part.params.items():
        if name not in known:
            reading.unknown(param.path, known, f"{part.name} takes", part.hint)
    return dataclasses.replace(part, params={name: param for name, param in part.params.items() if name in known})


def build(reading: Reading, part: Part, *, paths: bool = True) -> Any:
    """The component of a part, or None with its errors noted. Relative paths start at the scenario's folder where `paths`."""
    before = len(reading.problems)
    part = refuse_unknown(reading, part)
    groups = {field.name: field.metadata["components"] for field in dataclasses.fields(part.cls) if "components" in field.metadata and field.name in part.params}
    nested = {name: _mapping_of(reading, part.params[name], group) for name, group in groups.items()}
    built = _validated(reading, part, {name: param.value for name, param in part.params.items() if name not in nested})
    if built is None or len(reading.problems) > before:
        return None
    built = _replaced(reading, part, built, nested)
    if built is None:
        return None
    for reference, text, at in references(built, part.cls):
        check_reference(reading, reference, text, part.place(at))
    return anchored(built, lambda at: reading.folder_of(part.place(at))) if paths else built


def _replaced(reading: Reading, part: Part, built: Any, nested: dict[str, Any]) -> Any:
    """With the components that were built apart, and the folder of what is written where the class asks for it."""
    asked = [field for field in dataclasses.fields(part.cls) if field.name == "folder" and field.metadata.get("internal")]
    inner = {field.name: reading.folder_of(part.place((field.metadata.get("of"),))) for field in asked}
    try:
        return dataclasses.replace(built, **nested, **inner) if nested or inner else built
    except ValueError as error:
        reading.error("RT105", part.home, str(error), part.hint)
        return None


def _mapping_of(reading: Reading, param: Placed, group: str) -> dict[str, Any]:
    """{kind: weight or settings} -> {kind: component}."""
    if not isinstance(param.value, dict):
        reading.error("RT103", param.path, f"must be a mapping, got {shown(param.value)}; write {{{registry.names(group)[0] if registry.names(group) else 'kind'}: 1}}")
        return {}
    return {kind: _member(reading, group, kind, value, (*param.path, kind)) for kind, value in param.value.items()}


def _member(reading: Reading, group: str, kind: str, value: Any, path: Place) -> Any:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number and not isinstance(value, dict):
        return reading.error("RT103", path, f"must be a weight or a mapping, got {shown(value)}; write {kind}: 1")
    cls = component_key(reading, group, kind, path)
    params = {"weight": Placed(value, path)} if is_number else placed(value, path)
    return cls and build(reading, Part(cls, params, path, kind, f"redteam show {WORDS[group]}/{kind}"))


def component_key(reading: Reading, group: str, kind: str, path: Place) -> type | None:
    """As `component`, where the kind is a key."""
    if kind in registry.names(group):
        return component(reading, group, kind, path)
    reading.key_error("RT109", path, f"unknown {NOUNS[group]} {kind!r}; {repair(kind, registry.names(group), 'there are')}", "redteam list")
    return None


def _validated(reading: Reading, part: Part, values: dict[str, Any]) -> Any:
    while True:
        try:
            return _adapter(part.cls).validate_json(json.dumps([values]), strict=True)[0]
        except ValidationError as error:
            texts = [located(row, values) for row in error.errors(include_url=False) if row["type"] == "string_type"]
            ratios = [at for at in texts if isinstance(_at(values, at), Ratio)]
            if not ratios:
                return _complain(reading, part, complaints(error, part.cls, values, part.name))
            for at in ratios:  # a text field has its text back
                values = _changed(values, at, lambda ratio: ratio.text)


def _complain(reading: Reading, part: Part, found: list[Complaint]) -> None:
    for complaint in sorted(found, key=lambda complaint: complaint.code == "RT101"):  # a misspelt key is not missing too
        path = part.place(complaint.at)
        if complaint.code == "RT101":
            reading.missing((*part.place(complaint.at[:-1]), complaint.at[-1]), complaint.message, part.hint)
        elif complaint.code == "RT102":
            reading.unknown(path, complaint.known, f"{complaint.at[-2]} takes", part.hint)
        else:
            reading.error(complaint.code, path, complaint.message, part.hint)


@cache
def _adapter(cls: type) -> TypeAdapter[tuple[Any]]:
    """Strict JSON: no text becomes a number, no number a flag; unknown keys are refused at every depth."""
    return TypeAdapter(tuple[cls], config=ConfigDict(extra="forbid"))


def _at(value: Any, at: Place) -> Any:
    for step in at:
        value = value[step]
    return value


def _changed(value: Any, at: Place, change: Callable[[Any], Any]) -> Any:
    if not at:
        return change(value)
    changed = _changed(value[at[0]], at[1:], change)
    return {**value, at[0]: changed} if isinstance(value, dict) else [*value[: at[0]], changed, *value[at[0] + 1 :]]
