"""What a scenario adds up to: the file, the one file that it extends, and what the command line sets over both."""

from __future__ import annotations

import copy
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from redteam.scenario.document import LISTS, Document, Place, Text, value_at, words
from redteam.scenario.errors import Mark, Problem, ScenarioError
from redteam.scenario.reading import repair
from redteam.scenario.scalars import Unfit, plain, shown

COPY = "base.yaml"  # what a run calls its copy of the file that its scenario extends
_START = Mark(1, 1)


def read_layers(path: Path, *, name: str | None = None, folder: Path | None = None, sets: Sequence[str] = ()) -> Document:
    """The document of a scenario file with everything over and under it.

    name:   of the file, as problems print it
    folder: the scenario's own, where the file is a run's copy of it; the copy of what it extends lies beside it
    sets:   KEY=VALUE of the command line, in their order
    """
    own = Document.read(path, name)
    document = _on_base(own, path, folder) if own.complete and isinstance(own.data, dict) and "extends" in own.data else own
    if document.complete and isinstance(document.data, dict):
        for text in sets:
            document = _with_set(document, text)
    return document


def extended_file(path: Path) -> Path | None:
    """The file that a scenario extends; None where it extends none, or cannot be read. Raises ScenarioError."""
    named = value_at(Document.read(path).data, ("extends",))
    return path.parent / named if isinstance(named, str) else None


def _on_base(own: Document, path: Path, folder: Path | None) -> Document:
    named = own.data["extends"]
    if not isinstance(named, str):
        return _refused(own, "RT103", f"must be text, got {shown(named)}; name one scenario file")
    home = (folder or path.absolute().parent) / named
    file = path.with_name(COPY) if folder else home
    if file.resolve() == path.resolve():
        return _refused(own, "RT141", "a scenario must not extend itself; name another file")
    try:
        base = Document.read(file, os.path.normpath(Path(own.name).parent / named))
    except ScenarioError as error:
        found = error.problems[0]
        return _refused(own, "RT141", f"{found.file} {found.message}")
    if not base.complete:
        return replace(own, problems=(*own.problems, *base.problems), complete=False)
    if not isinstance(base.data, dict):
        return _refused(own, "RT141", f"must name a scenario, got a file that holds {shown(base.data)}")
    merged = _merged(base, own, home.parent)
    if "extends" in base.data:
        problem = Problem("RT141", "extends", replace(base.mark(("extends",), key=True), part=1), "a file that is extended must not extend another; one level is all there is, so copy what is needed")
        merged = replace(merged, problems=(*merged.problems, merged.pointed(problem)))
    return merged


def _refused(document: Document, code: str, message: str) -> Document:
    problem = Problem(code, "extends", document.mark(("extends",)), message)
    return replace(document, problems=(*document.problems, document.pointed(problem)))


def _merged(base: Document, own: Document, home: Path) -> Document:
    """The document of a base with another over it: the keys of a section replace those of the base, as do those of an entry with the same id."""
    tree = _Tree(base, part=1)
    for key, value in own.data.items():
        under = value_at(base.data, (key,))
        if key in LISTS and isinstance(value, list) and isinstance(under, list):
            _merge_entries(tree, own, key, under)
        elif isinstance(value, dict) and isinstance(under, dict):
            tree.update((key,), own, (key,))
        else:
            tree.put((key,), own, (key,))
    tree.values[()] = own.mark(())
    tree.gaps |= {place for place in own.gaps if place == ()}
    texts = (*own.texts, replace(base.texts[0], folder=home))
    below = [replace(problem, mark=replace(problem.mark, part=1)) for problem in base.problems]
    return tree.document(texts, (*own.problems, *below))


def _merge_entries(tree: _Tree, own: Document, key: str, under: list[Any]) -> None:
    """An entry updates the one of the base that has its id, or replaces it where it names another kind; any other comes after those of the base."""
    places: dict[str, int] = {}
    for i, entry in enumerate(under):
        if isinstance(name := value_at(entry, ("id",)), str):
            places.setdefault(name, i)
    for i, entry in enumerate(own.data[key]):
        name = value_at(entry, ("id",))
        place = places.pop(name, None) if isinstance(name, str) else None
        if place is None:
            tree.put((key, len(tree.data[key])), own, (key, i))
        elif _kind(entry) in (None, _kind(under[place])):
            tree.update((key, place), own, (key, i))
        else:
            tree.put((key, place), own, (key, i))


def _kind(entry: dict[str, Any]) -> Any:
    return "chain" if "chain" in entry else entry.get("kind")


class _Tree:
    """A document that others are laid over; every value keeps the mark of the text that it came from."""

    def __init__(self, document: Document, part: int | None = None) -> None:
        self.data = copy.deepcopy(document.data)
        self.values = {place: mark if part is None else replace(mark, part=part) for place, mark in document.values.items()}
        self.keys = {place: mark if part is None else replace(mark, part=part) for place, mark in document.keys.items()}
        self.gaps = set(document.gaps)

    def document(self, texts: tuple[Text, ...], problems: tuple[Problem, ...]) -> Document:
        """What it has become."""
        return Document(self.data, problems, True, frozenset(self.gaps), texts, self.values, self.keys)

    def update(self, path: Place, other: Document, place: Place) -> None:
        """Put every key of a mapping of another document over the mapping at a path."""
        for name in value_at(other.data, place):
            self.put((*path, name), other, (*place, name))
        self.values[path] = other.mark(place)
        self.gaps |= {path} if place in other.gaps else set()

    def put(self, path: Place, other: Document, place: Place, part: int = 0) -> None:
        """Put a value of another document at a path, in the stead of what is there."""
        holder, here = self.data, ()
        for step in path[:-1]:
            here = (*here, step)
            if isinstance(holder, dict) and not isinstance(holder.get(step), (dict, list)):  # a section or a setting that is not written yet
                holder[step] = {}
                self.values[here] = replace(other.mark(place), part=part)
            holder = holder[step]
        value = copy.deepcopy(value_at(other.data, place))
        if isinstance(holder, list) and path[-1] == len(holder):
            holder.append(value)
        else:
            holder[path[-1]] = value
        self.values = _grafted(self.values, path, other.values, place, part)
        self.keys = _grafted(self.keys, path, other.keys, place, part)
        self.gaps = {gap for gap in self.gaps if gap[: len(path)] != path} | {(*path, *gap[len(place) :]) for gap in other.gaps if gap[: len(place)] == place}


def _grafted(table: dict[Place, Mark], path: Place, other: dict[Place, Mark], place: Place, part: int) -> dict[Place, Mark]:
    """The marks of a table, those under a path taken from under a place of another."""
    kept = {at: mark for at, mark in table.items() if at[: len(path)] != path}
    return kept | {(*path, *at[len(place) :]): replace(mark, part=part) for at, mark in other.items() if at[: len(place)] == place}


class _Lost(Exception):
    """A --set whose address leads nowhere."""


def _with_set(document: Document, text: str) -> Document:
    """The document with KEY=VALUE over it; a mistake in it becomes a problem that names it."""
    name = f"--set {text}"
    address, equals, written = text.partition("=")
    texts = (*document.texts, Text(name))
    try:
        if not equals or not address.strip():
            raise _Lost("must be KEY=VALUE; write --set attacks.pgd.steps=50")
        path = _place(document.data, address.strip())
        value = _value(written.strip(), name)
    except (_Lost, Unfit) as error:
        problem = Problem(getattr(error, "code", "RT142"), "", None, str(error), file=name)
        return replace(document, problems=(*document.problems, problem))
    if value.problems:
        found = [replace(problem, mark=None, file=name, source="", path=words(document.data, path)) for problem in value.problems]
        return replace(document, problems=(*document.problems, *found))
    tree = _Tree(document)
    tree.put(path, value, (), part=len(document.texts))
    tree.keys[path] = tree.values[path]
    return tree.document(texts, document.problems)


def _value(written: str, name: str) -> Document:
    """One unquoted scalar as a scenario reads it, or a quoted text, a list or a mapping in YAML's flow style. Raises Unfit."""
    if written[:1] in ("[", "{", '"', "'"):
        return Document.parse(written, name)
    return Document(plain(written), (), True, frozenset(), (Text(name),), {(): _START}, {})


def _place(data: Any, address: str) -> Place:
    """The place that an address names: keys of mappings, ids of entries, numbers from 0 in other lists. Raises _Lost."""
    path: Place = ()
    value, rest = data, address
    while rest:
        if isinstance(value, list):
            step, rest = _entry(value, rest, words(data, path))
        elif isinstance(value, dict) or value is None:
            step, _, rest = rest.partition(".")
        else:
            raise _Lost(f"{words(data, path)} is {shown(value)} and holds nothing by name; set it as a whole")
        path = (*path, step)
        value = value_at(value, (step,))
    if path[0] == "extends":
        raise _Lost("extends must be written in the scenario, since a run keeps both files")
    return path


def _entry(entries: list[Any], rest: str, where: str) -> tuple[int, str]:
    """The number of the entry that an address begins with, and the rest of the address; an id may hold dots, so the longest wins."""
    ids: dict[str, int] = {}
    for i, entry in enumerate(entries):
        name = value_at(entry, ("id",)) or (value_at(entry, ("kind",)) if where.startswith("data.") else None)  # a corpus is called by its kind
        if isinstance(name, str):
            ids.setdefault(name, i)
    meant = max((name for name in ids if f"{rest}.".startswith(f"{name}.")), key=len, default=None)
    if meant is not None:
        return ids[meant], rest[len(meant) + 1 :]
    first, _, left = rest.partition(".")
    if first.isdecimal() and int(first) < len(entries):
        return int(first), left
    numbers = f"give a number from 0 to {len(entries) - 1}" if entries else "it is empty"
    raise _Lost(f"{where} has no entry {first!r}; {repair(first, ids, 'there are') if ids else numbers}")
