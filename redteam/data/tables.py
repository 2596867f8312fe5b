"""The rows of a JSON Lines or CSV file, each with the number of the line that it starts on."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from redteam.data.corpus import CorpusError
from redteam.data.defects import Broken, quoted

Row = Mapping[str, Any]
Rows = Iterator[tuple[int, Row | Broken]]  # a line that is no row is what is wrong with it
LIST = "a JSON Lines or CSV file"


def json_rows(path: Path) -> Rows:
    """One JSON object a line; blank lines are skipped."""
    for line, text in lines(path, LIST):
        if text.strip():
            try:
                yield line, _object(decoded(text))
            except Broken as broken:
                yield line, broken


def csv_rows(path: Path, check: Callable[[Sequence[str]], Iterator[str]]) -> Rows:
    """A header and one row a record, comma-separated, quoted where a field holds a comma, a quote or a line break; an empty field is null.

    `check` says what is wrong with the header; then, and where quotes or bytes are broken, nothing more is read, since it would be read wrongly.
    """
    records, head = csv.reader((decoded(text) for _, text in lines(path, LIST)), strict=True), None
    while True:
        start = records.line_num + 1
        try:
            fields = next(records, None)
        except Broken as broken:
            yield start, broken
            return
        except csv.Error as error:
            yield start, Broken(f"a row must be separated by commas, its quotes closed, got a mistake ({error}); write a quote inside a quoted field twice")
            return
        if fields is None:
            return
        if not any(text.strip() for text in fields):
            continue
        if head is not None:
            yield start, _record(head, fields)
        elif defects := [*_header_defects(fields), *check(fields)]:
            yield start, Broken(*defects)
            return
        else:
            head = fields


def lines(path: Path, what: str) -> Iterator[tuple[int, bytes]]:
    """The lines of a file from 1, without a byte order mark. Raises CorpusError where it cannot be opened; `what` it should be."""
    try:
        with open(path, "rb") as stream:
            for line, text in enumerate(stream, 1):
                yield line, text.removeprefix(b"\xef\xbb\xbf") if line == 1 else text
    except OSError as error:
        raise CorpusError(f"{path}: the list cannot be opened ({error.strerror}); give {what} that exists") from error


def decoded(text: bytes) -> str:
    """A line as text. Raises Broken."""
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Broken(f"the text must be UTF-8, got byte 0x{text[error.start]:02x} at column {error.start + 1}; save the list as UTF-8") from error


def _header_defects(fields: Sequence[str]) -> Iterator[str]:
    if len(fields) == 1 and (other := next((mark for mark in ";\t|" if mark in fields[0]), None)):
        yield f"columns must be separated by commas, got {quoted(other)}; save the table with commas"
    for name, count in Counter(fields).items():
        if count > 1:
            yield f"column {quoted(name)} stands {count} times in the header; rename all but one"


def _record(head: Sequence[str], fields: Sequence[str]) -> Row | Broken:
    if len(fields) != len(head):
        return Broken(f"a row must have as many fields as the header, {len(head)}, got {len(fields)}; put a field that holds a comma in quotes")
    return {name: text or None for name, text in zip(head, fields, strict=True)}


def _object(text: str) -> Row:
    try:
        keys = json.loads(text.rstrip(), object_pairs_hook=_once, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        raise Broken(f"a row must be one JSON object, got a mistake at column {error.colno} ({error.msg}); write one object a line") from error
    except (RecursionError, ValueError) as error:  # nested a thousand deep, or a number of thousands of digits
        raise Broken("a row must be a flat JSON object, got one that cannot be read; write one object a line") from error
    if not isinstance(keys, dict):
        raise Broken(f'a row must be a JSON object, got {quoted(keys)}; write {{"image": ..., "label": ...}}')
    return keys


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = dict(pairs)
    if len(keys) < len(pairs):
        twice = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise Broken(f"key {quoted(twice)} stands twice in one row; leave one out")
    return keys


def _no_constant(name: str) -> None:
    raise Broken(f"{name} is no JSON value; write null or leave the key out")
