"""Images that a JSON Lines file names, one row each: `{"image": "a.png", "label": "fake", "mask": "a-mask.png"}`.

- image: path relative to the manifest's folder, which neither the path nor a link may leave; required
- label: 0 or "real", 1 or "fake"; required
- id: unique in the whole file, all splits; the image's path when not given
- mask: path like the image's, of a picture of the image's size that is white where it is forged
- group: the source image; the id when not given
- split: any name

The last four may be null. Keys that start with `x_` are ignored, others are refused, and blank lines are skipped.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np

from redteam.data.corpus import Corpus, CorpusError, Picture, Reader, Resolve, Sample, UnreadableImage
from redteam.data.pictures import file_sha256, leaves, read_mask, read_rgb, survey

LABELS = {0: 0, 1: 1, "real": 0, "fake": 1}
KEYS = ("image", "label", "id", "mask", "group", "split")
SHOWN = 10  # defects that one message spells out


@dataclass(frozen=True, kw_only=True)
class Manifest(Corpus):
    """The images that the rows of a JSON Lines file name, in its order.

    path:  the manifest, a .jsonl file in UTF-8
    split: only the rows of this split; all rows when not given
    """

    path: Path
    split: str | None = None

    def samples(self) -> Iterator[Sample]:
        """The samples in the manifest's order; reads headers and hashes files. Raises CorpusError with all defects."""
        rows = self._rows()
        return (self._sample(row) for row in islice(rows, self.limit))

    def open(self, resolve: Resolve) -> Reader:
        """A function that reads one sample's file and mask."""
        return self._read

    def _read(self, sample: Sample) -> Picture:
        image, mask = sample.source
        pixels = read_rgb(self.path.parent / image)
        if mask is None:
            return Picture(pixels)
        marked = read_mask(self.path.parent / mask, *pixels.shape[:2])
        if sample.label == 0 and np.any(marked):
            raise UnreadableImage(f"{Path(image).name}: the mask of a real image must be black, {Path(mask).name} is not; correct the label or the mask")
        return Picture(pixels, marked)

    def _sample(self, row: _Row) -> Sample:
        height, width, content = survey(self.path.parent / row.image)
        if row.mask is not None:
            content = f"{content}+{self._mask_hash(row.mask)}"
        return Sample(id=row.id, label=row.label, group=row.group, height=height, width=width, content=content, source=(row.image, row.mask))

    def _mask_hash(self, mask: str) -> str:
        try:
            return file_sha256(self.path.parent / mask)
        except UnreadableImage:  # an empty or locked file: reading the sample says so
            return "unreadable"

    def _rows(self) -> list[_Row]:
        """The rows of the split, every line checked."""
        defects, rows, lines, splits = _Defects(self.path.name), [], {}, Counter()
        for line, text in self._lines():
            try:
                row = _row(text)
            except _Broken as broken:
                defects.add(line, *broken.args)
                continue
            splits[row.split] += 1
            if row.id in lines:
                defects.add(line, f"id {_quoted(row.id)} stands on line {lines[row.id]} already; ids must be unique, so give one of the rows another")
            lines.setdefault(row.id, line)
            if self.split in (None, row.split):
                defects.add(line, *self._file_defects(row))
                rows.append(row)
        defects.raise_if_any()
        self._check_some(rows, splits)
        return rows

    def _lines(self) -> Iterator[tuple[int, bytes]]:
        try:
            with open(self.path, "rb") as stream:
                for line, text in enumerate(stream, 1):
                    text = text.removeprefix(b"\xef\xbb\xbf") if line == 1 else text
                    if text.strip():
                        yield line, text
        except OSError as error:
            raise CorpusError(f"{self.path}: the manifest cannot be opened ({error.strerror}); give a JSON Lines file that exists") from error

    def _file_defects(self, row: _Row) -> Iterator[str]:
        for key, name in (("image", row.image), ("mask", row.mask)):
            if name is None:
                continue
            if leaves(self.path.parent, self.path.parent / name):
                yield f"{key} {_quoted(name)} is a link that leaves the manifest's folder; copy the file into the folder"
            elif key == "mask" and not os.path.isfile(self.path.parent / name):
                yield f"there is no mask {_quoted(name)}; put the file there or leave the key out"

    def _check_some(self, rows: list[_Row], splits: Counter) -> None:
        if rows:
            return
        if not splits:
            raise CorpusError(f'{self.path.name}: a manifest must have rows, got none; write one {{"image": ..., "label": ...}} a line')
        named = ", ".join(sorted(_quoted(name) for name in splits if name is not None)) or "none, no row has the key"
        raise CorpusError(f"{self.path.name}: no row has split {_quoted(self.split)}; the splits are {named}")


@dataclass(frozen=True)
class _Row:
    image: str
    label: int
    id: str
    mask: str | None
    group: str
    split: str | None


class _Broken(Exception):
    """A line that is no row; its arguments are the defects."""


@dataclass
class _Defects:
    name: str
    shown: list[str] = field(default_factory=list)
    count: int = 0

    def add(self, line: int, *defects: str) -> None:
        self.count += len(defects)
        self.shown += [f"{self.name}:{line}: {defect}" for defect in defects][: SHOWN - len(self.shown)]

    def raise_if_any(self) -> None:
        if self.count:
            more = [f"and {self.count - SHOWN} more"] if self.count > SHOWN else []
            raise CorpusError("\n".join(self.shown + more))


def _row(text: bytes) -> _Row:
    """One line -> its row. Raises _Broken."""
    keys = _decoded(text)
    defects = [*_key_defects(keys)]
    if defects:
        raise _Broken(*defects)
    image, name = keys["image"], keys.get("id") or keys["image"]
    return _Row(image=image, label=LABELS[keys["label"]], id=name, mask=keys.get("mask"), group=keys.get("group") or name, split=keys.get("split"))


def _decoded(text: bytes) -> dict[str, Any]:
    try:
        keys = json.loads(text.decode("utf-8").rstrip(), object_pairs_hook=_once, parse_constant=_no_constant)
    except UnicodeDecodeError as error:
        raise _Broken(f"the text must be UTF-8, got byte 0x{text[error.start]:02x} at column {error.start + 1}; save the manifest as UTF-8") from error
    except json.JSONDecodeError as error:
        raise _Broken(f"a row must be one JSON object, got a mistake at column {error.colno} ({error.msg}); write one object a line") from error
    except (RecursionError, ValueError) as error:  # nested a thousand deep, or a number of thousands of digits
        raise _Broken("a row must be a flat JSON object, got one that cannot be read; write one object a line") from error
    if not isinstance(keys, dict):
        raise _Broken(f'a row must be a JSON object, got {_quoted(keys)}; write {{"image": ..., "label": ...}}')
    return keys


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = dict(pairs)
    if len(keys) < len(pairs):
        twice = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise _Broken(f"key {_quoted(twice)} stands twice in one row; leave one out")
    return keys


def _no_constant(name: str) -> None:
    raise _Broken(f"{name} is no JSON value; write null or leave the key out")


def _key_defects(keys: dict[str, Any]) -> Iterator[str]:
    for key in keys:
        if key not in KEYS and not key.startswith("x_"):
            yield f"unknown key {_quoted(key)}; the keys are {', '.join(KEYS)}, and keys that start with x_ are ignored"
    for key in ("image", "label"):
        if keys.get(key) is None:
            yield f"a row must have the key {key}, got none; add it"
    label = keys.get("label")
    if label is not None and (type(label) not in (int, str) or label not in LABELS):  # true == 1 and 1.0 == 1 are no labels
        yield f'label must be 0, 1, "real" or "fake", got {_quoted(label)}; write one of these'
    for key in ("image", "id", "mask", "group", "split"):
        if keys.get(key) is not None:
            yield from _text_defects(key, keys[key])


def _text_defects(key: str, text: Any) -> Iterator[str]:
    if not isinstance(text, str) or not text:
        yield f"{key} must be quoted text, not empty, got {_quoted(text)}; put the value in quotes or leave the key out"
    elif "\0" in text or not _encodable(text):
        yield f"{key} must be free of NUL and of half characters, got {_quoted(text)}; correct the name"
    elif key in ("image", "mask"):
        if text.startswith("/") or PureWindowsPath(text).is_absolute():
            yield f"{key} must be relative to the manifest's folder, got {_quoted(text)}; put the file under that folder and write its path from there"
        elif os.path.normpath(text).split("/")[0] == "..":
            yield f"{key} must stay in the manifest's folder, got {_quoted(text)}; put the file under that folder and write its path from there"


def _encodable(text: str) -> bool:
    return not any("\ud800" <= letter <= "\udfff" for letter in text)


def _quoted(value: Any) -> str:
    """A value as JSON has it, cut to 80 characters."""
    text = json.dumps(value, ensure_ascii=not isinstance(value, str) or not _encodable(value))
    return text if len(text) <= 80 else text[:77] + "..."
