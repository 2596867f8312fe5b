"""What is wrong with a list of images that a person or a program wrote: every defect with file and line, ten spelled out."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PureWindowsPath
from typing import Any

from redteam.data.corpus import CorpusError
from redteam.data.pictures import leaves

SHOWN = 10  # defects that one message spells out


class Broken(Exception):
    """A line that is no row; its arguments are the defects."""


@dataclass
class Defects:
    """Collects defects of one file.

    name: of the file, as messages call it
    """

    name: str
    shown: list[str] = field(default_factory=list)
    count: int = 0

    def add(self, line: int | None, *defects: str) -> None:
        """Defects of one line, or of the whole."""
        place = self.name if line is None else f"{self.name}:{line}"
        self.count += len(defects)
        self.shown += [f"{place}: {defect}" for defect in defects][: SHOWN - len(self.shown)]

    def raise_if_any(self, *remarks: str) -> None:
        """Raises CorpusError with the first ten, how many more there are, and remarks about the whole file."""
        if self.count:
            more = [f"and {self.count - SHOWN} more"] if self.count > SHOWN else []
            raise CorpusError("\n".join([*self.shown, *more, *(f"{self.name}: {remark}" for remark in remarks)]))


@dataclass(frozen=True)
class Home:
    """The folder that the paths of a list start at, and must not leave.

    folder: the folder
    words:  as messages call it, such as the manifest's folder
    """

    folder: Path
    words: str

    def defects(self, key: str, text: Any) -> Iterator[str]:
        """What is wrong with a path as it is written."""
        if unnamed := [*name_defects(key, text)]:
            yield from unnamed
        elif text.startswith("/") or PureWindowsPath(text).is_absolute():
            yield f"{key} must be relative to {self.words}, got {quoted(text)}; put the file under that folder and write its path from there"
        elif os.path.normpath(text).split("/")[0] == "..":
            yield f"{key} must stay in {self.words}, got {quoted(text)}; put the file under that folder and write its path from there"

    def file_defects(self, image: str, mask: str | None) -> Iterator[str]:
        """What is wrong with the files that a row names; an image that is missing is not, since it costs only itself."""
        for key, name in (("image", image), ("mask", mask)):
            if name is None:
                continue
            if leaves(self.folder, self.folder / name):
                yield f"{key} {quoted(name)} is a link that leaves {self.words}; copy the file into the folder"
            elif key == "mask" and not os.path.isfile(self.folder / name):
                yield f"there is no mask {quoted(name)}; put the file there, or name no mask"


def name_defects(key: str, text: Any) -> Iterator[str]:
    """What is wrong with a name or a path as text."""
    if not isinstance(text, str) or not text:
        yield f"{key} must be quoted text, not empty, got {quoted(text)}; put the value in quotes or leave the key out"
    elif "\0" in text or not encodable(text):
        yield f"{key} must be free of NUL and of half characters, got {quoted(text)}; correct the name"


def encodable(text: str) -> bool:
    """Whether a text can be written as UTF-8.

    >>> encodable("caf\\u00e9"), encodable("\\ud800")
    (True, False)
    """
    return not any("\ud800" <= letter <= "\udfff" for letter in text)


def quoted(value: Any) -> str:
    """A value as JSON has it, cut to 80 characters.

    >>> quoted("a.png"), len(quoted("x" * 500))
    ('"a.png"', 80)
    """
    text = json.dumps(value, ensure_ascii=not isinstance(value, str) or not encodable(value))
    return text if len(text) <= 80 else text[:77] + "..."
