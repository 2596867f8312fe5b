"""A YAML file as a tree with positions: YAML 1.2 core scalars and nothing that could run, expand or merge."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml
from yaml import AliasEvent, DocumentStartEvent, Event, MappingEndEvent, MappingStartEvent, ScalarEvent, SequenceEndEvent, SequenceStartEvent

from redteam.scenario.errors import Mark, Problem, ScenarioError
from redteam.scenario.scalars import Unfit, plain, shown

Place = tuple[str | int, ...]  # a place in the tree: ("attacks", 2, "eps")

LARGEST = 1_000_000  # bytes; the pure-Python scanner reads about 150 kB a second
DEEPEST = 50
SLUG = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")  # an id: safe in a file name
LISTS = ("targets", "defenses", "attacks", "gates")  # sections whose entries have an id
_BREAKS = re.compile("\r\n|[\r\n\x85\u2028\u2029]")  # what YAML counts as a line break
_STANDARD = "tag:yaml.org,2002:"


@dataclass(frozen=True)
class Text:
    """One of the texts that a scenario is made of.

    name:   as problems call it
    lines:  what problems quote; None where the name says all, as that of a --set
    folder: where its relative paths start; None where they start with the scenario's
    """

    name: str
    lines: tuple[str, ...] | None = None
    folder: Path | None = None


@dataclass(frozen=True)
class Document:
    """What a scenario file says and where it says it.

    data:     plain dict, list, str, int, float, bool and None; None where the file is no YAML at all
    problems: what YAML itself allows and a scenario does not; the tree is read on without them
    complete: whether the whole file was read; not after a syntax error
    gaps:     mappings that lost a key, in which nothing is called missing
    texts:    what it was read from; marks count them by `part`
    values:   where each value stands
    keys:     where the key of each value stands
    """

    data: Any
    problems: tuple[Problem, ...]
    complete: bool
    gaps: frozenset[Place]
    texts: tuple[Text, ...] = field(repr=False)
    values: dict[Place, Mark] = field(repr=False)
    keys: dict[Place, Mark] = field(repr=False)

    @classmethod
    def read(cls, path: Path, name: str | None = None) -> Document:
        """The document in a file, called `name` in what is said of it. Raises ScenarioError where it cannot be read, is larger than 1 MB or is not UTF-8."""
        name = name or str(path)
        try:
            with open(path, "rb") as stream:
                raw = stream.read(LARGEST + 1)
        except OSError as error:
            raise ScenarioError([Problem("RT120", "", None, f"cannot be read: {error.strerror}; give the path of a scenario file", file=name)]) from None
        if len(raw) > LARGEST:
            raise ScenarioError([Problem("RT121", "", None, "must be at most 1 MB; a scenario names data and does not hold it", file=name)])
        try:
            return cls.parse(raw.decode("utf-8-sig"), name)
        except UnicodeDecodeError as error:
            at = Mark(raw.count(b"\n", 0, error.start) + 1, error.start - raw.rfind(b"\n", 0, error.start))
            message = f"must be UTF-8 text, got byte 0x{raw[error.start]:02x}; save it as UTF-8"
            source = raw.split(b"\n")[at.line - 1].decode("utf-8", "replace")
            raise ScenarioError([Problem("RT122", "", at, message, file=name, source=source)]) from None

    @classmethod
    def parse(cls, text: str, name: str) -> Document:
        """The document in a text; what is wrong with it stands in `problems`."""
        builder = _Builder(text, name)
        data = builder.document()
        return cls(data, builder.problems(data), builder.complete, frozenset(builder.gaps), (Text(name, builder.lines),), builder.values, builder.keys)

    @classmethod
    def of(cls, data: dict[str, Any], name: str) -> Document:
        """The document of values that were never written in a file: problems have a name and no line."""
        return cls(data, (), True, frozenset(), (Text(name),), {(): Mark(1, 1)}, {})

    @property
    def name(self) -> str:
        """Of the file, as problems print it."""
        return self.texts[0].name

    def mark(self, path: Place, key: bool = False) -> Mark:
        """Where a value (or its key) stands; where there is none, the nearest place that holds it."""
        table = self.keys if key and path in self.keys else self.values
        while path and path not in table:
            path, table = path[:-1], self.values
        return table.get(path, Mark(1, 1))

    def last_set(self, path: Place) -> Mark:
        """Where the last --set inside a value stands; where there is none, the value itself."""
        inside = [mark for place, mark in self.values.items() if place[: len(path)] == path and self.texts[mark.part].lines is None]
        return max(inside, default=self.mark(path))

    def pointed(self, problem: Problem) -> Problem:
        """The problem with the name of the text that its mark is in, and the line; a --set has no line to point into."""
        text = self.texts[problem.mark.part]
        if text.lines is None:
            return replace(problem, mark=None, file=text.name)
        return replace(problem, file=text.name, source=self.line_text(problem.mark.line, problem.mark.part))

    def line_text(self, line: int, part: int = 0) -> str:
        """One line of the file, from 1; empty beyond its end."""
        lines = self.texts[part].lines or ()
        return lines[line - 1] if 0 < line <= len(lines) else ""

    def folder(self, path: Place) -> Path | None:
        """Where the relative paths of a value start; None where they start with the scenario's."""
        return self.texts[self.mark(path).part].folder


def value_at(data: Any, path: Place) -> Any:
    """The value at a place of a tree; None where there is none.

    >>> value_at({"attacks": [{"id": "pgd"}]}, ("attacks", 0, "id"))
    'pgd'
    """
    for step in path:
        found = isinstance(data, dict) and step in data or isinstance(data, list) and isinstance(step, int) and step < len(data)
        data = data[step] if found else None
    return data


def words(data: Any, path: Place, steps: int | None = None) -> str:
    """A place (or its first steps) in words; what lies in an entry with an id names that too.

    >>> words({"attacks": [{"id": "pgd", "eps": 1}]}, ("attacks", 0, "eps"))
    'attacks.0.pgd.eps'
    """
    parts = list(map(str, path[:steps]))
    name = value_at(data, (*path[:2], "id")) if len(path) > 2 and path[0] in LISTS and path[2] != "id" else None
    if isinstance(name, str) and SLUG.fullmatch(name):
        parts.insert(2, name)
    return ".".join(part if part.isprintable() else repr(part) for part in parts)


class _Stop(Exception):
    """Reading cannot go on."""


class _Builder:
    """Turns the events of the YAML parser into a tree. Aliases are never followed, so nothing can expand."""

    def __init__(self, text: str, name: str) -> None:
        self.text, self.name = text, name
        self.lines = tuple(_BREAKS.split(text))
        self._found: list[tuple[Place, Problem]] = []
        self.values: dict[Place, Mark] = {}
        self.keys: dict[Place, Mark] = {}
        self.complete = False
        self.gaps: set[Place] = set()

    def problems(self, data: Any) -> tuple[Problem, ...]:
        """What was found, its places in words."""
        return tuple(replace(problem, path=words(data, path)) for path, problem in self._found)

    def document(self) -> Any:
        """The tree of the first document, as far as it could be read."""
        data = None
        try:
            events = (e for e in yaml.parse(self.text, Loader=yaml.SafeLoader) if not isinstance(e, (yaml.StreamStartEvent, yaml.StreamEndEvent, yaml.DocumentEndEvent)))
            if next(events, None) is not None:
                data = self._node(next(events), (), events)
            for extra in events:
                if isinstance(extra, DocumentStartEvent):
                    self._stop("RT124", (), self._mark(extra), "a scenario must be one YAML document, got a second one; delete the line '---' and what follows")
            self.complete = True
        except _Stop:
            return None
        except yaml.YAMLError as error:
            self._syntax(error)
            return None
        return data

    def _node(self, event: Event, path: Place, events: Iterator[Event]) -> Any:
        mark = self._mark(event)
        self.values[path] = mark
        if len(path) > DEEPEST:
            self._stop("RT125", (), mark, f"a scenario must nest at most {DEEPEST} levels; flatten it")
        if isinstance(event, AliasEvent):
            self._problem("RT126", path, mark, f"an alias is not allowed, got '*{event.anchor}'; write the value out")
            return None
        self._refuse_anchor_and_tag(event, path, mark)
        if isinstance(event, ScalarEvent):
            return self._scalar(event, path, mark)
        return self._mapping(path, events) if isinstance(event, MappingStartEvent) else self._sequence(path, events)

    def _sequence(self, path: Place, events: Iterator[Event]) -> list[Any]:
        items: list[Any] = []
        while not isinstance(event := next(events), SequenceEndEvent):
            items.append(self._node(event, (*path, len(items)), events))
        return items

    def _mapping(self, path: Place, events: Iterator[Event]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while not isinstance(event := next(events), MappingEndEvent):
            mark = self._mark(event)
            key = self._key(event, path, events)
            if key is None or key in found:
                if key is None:
                    self.gaps.add(path)
                else:
                    first = self.keys[(*path, key)].line
                    self._problem("RT129", path, mark, f"duplicate key {shown(key)} (first at line {first}); delete one of the two")
                self._skip(next(events), path, events)
                continue
            self.keys[(*path, key)] = mark
            found[key] = self._node(next(events), (*path, key), events)
        return found

    def _key(self, event: Event, path: Place, events: Iterator[Event]) -> str | None:
        mark = self._mark(event)
        if isinstance(event, AliasEvent):
            self._problem("RT126", path, mark, f"an alias is not allowed, got '*{event.anchor}'; write the key out")
            return None
        self._refuse_anchor_and_tag(event, path, mark)
        if not isinstance(event, ScalarEvent):
            self._problem("RT130", path, mark, "a key must be text, got a list or a mapping; quote texts that start with [ or {")
            self._rest(event, events, path)
            return None
        if event.style is None and event.value == "<<":
            self._problem("RT127", path, mark, "a merge key '<<' is not allowed; write the keys out")
            return None
        value = self._scalar(event, path, mark)
        if not isinstance(value, str) and not any(problem.mark == mark for _, problem in self._found):
            self._problem("RT130", path, mark, f"a key must be text, got {shown(value)}; quote it")
        return value if isinstance(value, str) else None

    def _scalar(self, event: ScalarEvent, path: Place, mark: Mark) -> Any:
        if any("\ud800" <= c <= "\udfff" for c in event.value):
            self._problem("RT123", path, mark, "a text must be valid Unicode, got half of a surrogate pair; write the character itself")
            return None
        if event.style is not None:
            return event.value
        try:
            return plain(event.value)
        except Unfit as unfit:
            self._problem(unfit.code, path, mark, str(unfit))
            return None

    def _skip(self, event: Event, path: Place, events: Iterator[Event]) -> None:
        """Read past a node that has no place in the tree."""
        if len(path) > DEEPEST:
            self._stop("RT125", (), self._mark(event), f"a scenario must nest at most {DEEPEST} levels; flatten it")
        if isinstance(event, (MappingStartEvent, SequenceStartEvent)):
            self._rest(event, events, path)

    def _rest(self, event: Event, events: Iterator[Event], path: Place) -> None:
        end = MappingEndEvent if isinstance(event, MappingStartEvent) else SequenceEndEvent
        while not isinstance(inner := next(events), end):
            self._skip(inner, (*path, 0), events)

    def _refuse_anchor_and_tag(self, event: Event, path: Place, mark: Mark) -> None:
        if event.anchor is not None:
            self._problem("RT126", path, mark, f"an anchor is not allowed, got '&{event.anchor}'; delete it and write the value out where it is needed")
        if event.tag is not None:
            tag = event.tag.replace(_STANDARD, "!!", 1)
            repair = "YAML in a scenario holds no code: delete it" if tag.startswith("!!python") else "delete it, and quote the value if it is text"
            self._problem("RT128", path, mark, f"a tag is not allowed, got {shown(tag)}; {repair}")

    def _mark(self, event: Event) -> Mark:
        start, end = event.start_mark, event.end_mark
        text = self.lines[start.line] if start.line < len(self.lines) else ""
        stop = end.column if end.line == start.line else len(text.rstrip())
        is_leaf = isinstance(event, (ScalarEvent, AliasEvent))
        return Mark(start.line + 1, start.column + 1, max(1, stop - start.column) if is_leaf else 1)

    def _problem(self, code: str, path: Place, mark: Mark, message: str) -> None:
        source = self.lines[mark.line - 1] if mark.line <= len(self.lines) else ""
        self._found.append((path, Problem(code, "", mark, message, file=self.name, source=source)))

    def _stop(self, code: str, path: Place, mark: Mark, message: str) -> None:
        self._problem(code, path, mark, message)
        raise _Stop

    def _syntax(self, error: yaml.YAMLError) -> None:
        if isinstance(error, yaml.reader.ReaderError):
            before = _BREAKS.split(self.text[: error.position])
            mark = Mark(len(before), len(before[-1]) + 1)
            return self._problem("RT123", (), mark, f"a control character U+{ord(self.text[error.position]):04X} is not allowed; delete it")
        spot = error.problem_mark or error.context_mark
        mark = Mark(spot.line + 1, spot.column + 1)
        self._problem("RT123", (), mark, f"not valid YAML: {error.problem}{_repair(error.problem)}")


_REPAIRS = {
    "'\\t'": "indent with spaces",
    "chomping or indentation": "a text that starts with > or | must be quoted",
    "mapping values are not allowed": "quote a text that holds ': ', and indent keys of one mapping alike",
    "that cannot start any token": "quote the text",
    "unexpected end of stream": "close the quote",
    "'<stream end>'": "close the bracket",
    "expected <block end>": "indent what belongs together alike",
    "expected ',' or": "separate values by commas, and close the bracket",
}


def _repair(problem: str) -> str:
    return next((f"; {repair}" for part, repair in _REPAIRS.items() if part in problem), "")
