"""Fields that name something else: another component, a zoo model, or a file beside the scenario."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

from redteam import registry
from redteam.component import Reference
from redteam.scenario.document import Place
from redteam.scenario.reading import Reading, repair


def references(value: Any, hint: Any, at: Place = ()) -> Iterator[tuple[Reference, str, Place]]:
    """Every reference inside a built component: what it must name, its text, and where it stands among the values."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if dataclasses.is_dataclass(value):
        hints = typing.get_type_hints(type(value), include_extras=True)
        for field in dataclasses.fields(value):
            yield from references(getattr(value, field.name), hints[field.name], (*at, field.name))
    elif origin is Annotated:
        marks = [mark for mark in args[1:] if isinstance(mark, Reference)]
        yield from ((mark, value, at) for mark in marks if isinstance(value, str))
        yield from () if marks else references(value, args[0], at)
    elif origin in (typing.Union, types.UnionType):
        for arg in args:
            yield from references(value, arg, at)
    elif isinstance(value, dict) and origin is dict:
        for key, item in value.items():
            yield from references(item, args[1], (*at, key))
    elif isinstance(value, (list, tuple)) and origin in (list, tuple):
        for i, item in enumerate(value):
            yield from references(item, args[0] if Ellipsis in args or len(args) == 1 else args[i], (*at, i))


def check_reference(reading: Reading, reference: Reference, text: str, path: Place) -> None:
    """Note an error where a reference leads nowhere: neither an id of the scenario, nor a zoo name, nor a file."""
    ids = list(reading.ids(f"{reference.group}s")) if reference.group != "model" else []
    loadable = reference.group != "target"  # a target is declared, with its input and output; a bare file says neither
    known = [*ids, *(f"zoo/{name}" for name in registry.names("models"))]
    if text not in known and not (loadable and (reading.folder_of(path) / text).exists()):
        what = {"target": "target id or zoo name", "attack": "attack id, zoo name or file", "model": "zoo name or file"}[reference.group]
        reading.error("RT221", path, f"no {what} {text!r}; {repair(text, known, 'there are')}")


def anchored(value: Any, folder: Callable[[Place], Path], at: Place = ()) -> Any:
    """The same value, every relative path inside it (in components, lists and mappings) made to start at the folder of its place."""
    if isinstance(value, Path):
        return folder(at) / value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        before = {field.name: getattr(value, field.name) for field in dataclasses.fields(value) if field.init}
        after = {name: anchored(item, folder, (*at, name)) for name, item in before.items()}
        return dataclasses.replace(value, **after) if any(after[name] is not before[name] for name in before) else value
    if isinstance(value, (list, tuple, dict)):
        return _anchored_items(value, folder, at)
    return value


def _anchored_items(value: Any, folder: Callable[[Place], Path], at: Place) -> Any:
    before = value if isinstance(value, dict) else dict(enumerate(value))
    after = {step: anchored(item, folder, (*at, step)) for step, item in before.items()}
    if all(after[step] is before[step] for step in before):
        return value
    return after if isinstance(value, dict) else type(value)(after.values())
