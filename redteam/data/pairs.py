"""Images with their masks as localization benchmarks list them: a JSON list of pairs, or one pair a line.

- JSON: `[["Tp/a.jpg", "Gt/a.png"], ["Au/b.jpg", "Negative"], ...]`, as IMDLBenCo writes it
- text with commas: `Tp/a.jpg,Gt/a.png`, as TruFor and CAT-Net write it; what stands behind a second comma is ignored, names may hold blanks
- text with blanks: `Tp/a.jpg Gt/a.png 1`, as MVSS-Net writes it; the label may be left out, names hold no blanks

A mask called `Negative` or `None` says that the image is real (label 0); any other that it is forged (label 1). A label, where there is
one, must agree; `None 1` is a forged image without a mask. The image's path is its id, and each image is a group of its own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from redteam.data.corpus import CorpusError
from redteam.data.defects import Broken, Defects, quoted
from redteam.data.listed import Listed, Row
from redteam.data.tables import decoded, lines

NO_MASK = ("Negative", "None")
LABELS = {"0": 0, "1": 1}


@dataclass(frozen=True, kw_only=True)
class Pairs(Listed):
    """The images and masks that a list of pairs names, in its order: JSON where its name ends in .json, else text, one pair a line.

    path:   the list, in UTF-8
    prefix: taken off paths that start with it, such as /data/CASIA/ where the list was written; nothing when not given
    """

    prefix: str | None = None

    def rows(self) -> list[Row]:
        """All pairs, each checked. Raises CorpusError with all defects."""
        defects, places, rows = Defects(self.path.name), {}, []
        for line, fields in self._fields():
            try:
                row = self._row(fields)
            except Broken as broken:
                defects.add(line, *broken.args)
                continue
            if row.image in places:
                defects.add(line, f"image {quoted(row.image)} stands on line {places[row.image]} already; list each image once")
            places.setdefault(row.image, line)
            defects.add(line, *self.home("list").file_defects(row.image, row.mask))
            rows.append(row)
        defects.raise_if_any()
        if not rows:
            raise CorpusError(f"{self.path.name}: a list must hold pairs, got none; write one image and its mask a line")
        return rows

    def _fields(self) -> Iterator[tuple[int, Sequence[Any] | Broken]]:
        return self._json() if self.path.suffix.lower() == ".json" else self._text()

    def _text(self) -> Iterator[tuple[int, Sequence[str] | Broken]]:
        for line, text in lines(self.path, "a list of pairs"):
            if text.strip():
                try:
                    yield line, _split(decoded(text).strip())
                except Broken as broken:
                    yield line, broken

    def _json(self) -> Iterator[tuple[int, Sequence[Any] | Broken]]:
        """Items are numbered as lines are."""
        text = b"".join(text for _, text in lines(self.path, "a list of pairs"))
        try:
            found = json.loads(decoded(text))
        except (Broken, RecursionError, ValueError) as error:
            raise CorpusError(f"{self.path.name}: the list must be JSON in UTF-8, got a mistake ({error}); write [[image, mask], ...]") from error
        if not isinstance(found, list):
            raise CorpusError(f"{self.path.name}: the list must be [[image, mask], ...], got {quoted(found)}; write one pair for each image")
        for number, pair in enumerate(found, 1):
            fits = isinstance(pair, list) and len(pair) == 2
            yield number, pair if fits else Broken(f"a pair must be [image, mask], got {quoted(pair)}; write \"Negative\" for the mask of a real image")

    def _row(self, fields: Sequence[Any] | Broken) -> Row:
        """Raises Broken."""
        if isinstance(fields, Broken):
            raise fields
        home = self.home("list")
        paths = [text.removeprefix(self.prefix or "") if isinstance(text, str) else text for text in fields[:2]]
        masked = paths[1] not in NO_MASK
        mask = paths[1] if masked else None
        defects = [*home.defects("image", paths[0]), *(home.defects("mask", mask) if masked else ())]
        label = LABELS.get(fields[2]) if len(fields) > 2 else int(masked)
        if label is None:
            defects.append(f"label must be 0 or 1, got {quoted(fields[2])}; write one of these")
        elif label == 0 and masked:
            defects.append(f"label must be 1 where there is a mask, got 0 beside {quoted(mask)}; write None for the mask of a real image")
        if defects:
            raise Broken(*defects)
        return Row(image=paths[0], label=label, id=paths[0], mask=mask, group=paths[0])


def _split(text: str) -> list[str]:
    """The fields of a line: image, mask, and in a list with blanks perhaps a label. Raises Broken.

    >>> _split("CASIA 2.0/Tp/a.jpg,Gt/a.png,jpg/a.jpg"), _split("./a.jpg None 0")
    (['CASIA 2.0/Tp/a.jpg', 'Gt/a.png'], ['./a.jpg', 'None', '0'])
    """
    if "," in text:
        return [part.strip() for part in text.split(",")][:2]
    fields = text.split()
    if len(fields) not in (2, 3):
        raise Broken(f"a line must be image,mask or image mask label, got {quoted(text)}; put a comma between names that hold blanks")
    return fields
