"""Images that a JSON Lines or CSV file names, one row each: `{"image": "a.png", "label": "fake", "mask": "a-mask.png"}`.

- image: path relative to the manifest's folder (or `root`), which neither the path nor a link may leave; required
- label: 0 or "real", 1 or "fake", or what `labels` says; required
- id: unique in the whole file, all splits; the image's path when not given
- mask: path like the image's, of a picture of the image's size that is white where it is forged (or as `mask_white` says)
- group: the source image; the id when not given
- split: any name

The last four may be null; in a CSV file an empty field is null. The header of a CSV file names these columns, or `columns` says which of its
columns they are. Keys that start with `x_` are ignored, others are refused, and blank lines are skipped.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from redteam.data.corpus import CorpusError
from redteam.data.defects import SHOWN, Broken, Defects, quoted
from redteam.data.labels import Labels, label_of
from redteam.data.listed import Listed, Row
from redteam.data.rows import Columns, header_defects, ours, row_of
from redteam.data.tables import Rows, csv_rows, json_rows


@dataclass(frozen=True, kw_only=True)
class Manifest(Listed):
    """The images that the rows of a JSON Lines or CSV file name, in its order.

    path:  the manifest, in UTF-8: CSV where its name ends in .csv, else JSON Lines
    split: only the rows of this split; all rows when not given
    columns: which columns (or keys) of a foreign list are meant, such as {image: file, label: class}; ours when not given
    labels: what the labels of a foreign list mean, such as {real: [0], fake: [1, 2], skip: [3]}; ours when not given
    """

    split: str | None = None
    columns: Columns | None = None
    labels: Labels | None = None

    def rows(self) -> list[Row]:
        """The rows of the split, every line checked. Raises CorpusError with all defects."""
        defects, seen, rows = Defects(self.path.name), _Seen(), []
        for line, keys in self._table():
            try:
                row = self._row(keys, seen)
            except Broken as broken:
                defects.add(line, *broken.args)
                continue
            if row is None:
                continue
            defects.add(line, *seen.again(row, line))
            if self.split in (None, row.split):
                defects.add(line, *self.home("manifest").file_defects(row.image, row.mask))
                rows.append(row)
        defects.raise_if_any(*([f"the labels are {seen.found_labels()}"] if seen.strange else []))
        self._check_some(rows, seen)
        return rows

    def _table(self) -> Rows:
        if self.path.suffix.lower() == ".csv":
            return csv_rows(self.path, lambda head: header_defects(head, self.columns))
        return json_rows(self.path)

    def _row(self, keys: Mapping[str, Any] | Broken, seen: _Seen) -> Row | None:
        """A row of ours; None where its label says that it is left out. Raises Broken."""
        if isinstance(keys, Broken):
            raise keys
        found = ours(keys, self.columns)
        if self.path.suffix.lower() == ".csv" and self.labels is None and found.get("label") in ("0", "1"):
            found["label"] = int(found["label"])  # a CSV file has only text
        seen.label(found.get("label"), self.labels)
        return row_of(found, self.home("manifest"), self.labels, self.columns)

    def _check_some(self, rows: list[Row], seen: _Seen) -> None:
        if rows:
            return
        if not seen.labels:
            raise CorpusError(f'{self.path.name}: a manifest must have rows, got none; write one {{"image": ..., "label": ...}} a line')
        if not seen.splits:
            raise CorpusError(f"{self.path.name}: labels.skip must leave some rows, got none; the labels are {seen.found_labels()}")
        named = ", ".join(sorted(quoted(name) for name in seen.splits if name is not None)) or "none, no row has the key"
        raise CorpusError(f"{self.path.name}: no row has split {quoted(self.split)}; the splits are {named}")


@dataclass
class _Seen:
    """What the rows of a manifest hold together.

    lines:  where each id stands
    splits: rows of each split
    labels: rows of each label, as the file writes it
    strange: whether a label means nothing
    """

    lines: dict[str, int] = field(default_factory=dict)
    splits: Counter[str | None] = field(default_factory=Counter)
    labels: Counter[str] = field(default_factory=Counter)
    strange: bool = False

    def label(self, value: Any, labels: Labels | None) -> None:
        """Count a label."""
        self.labels[quoted(value)] += 1
        try:
            label_of(value, labels)
        except LookupError:
            self.strange |= value is not None

    def again(self, row: Row, line: int) -> Iterator[str]:
        """Count a row; what is wrong where its id was there before."""
        self.splits[row.split] += 1
        if row.id in self.lines:
            yield f"id {quoted(row.id)} stands on line {self.lines[row.id]} already; ids must be unique, so give one of the rows another"
        self.lines.setdefault(row.id, line)

    def found_labels(self) -> str:
        """The labels with their rows, the most frequent first."""
        return ", ".join(f"{label} ({n} row{'s' * (n != 1)})" for label, n in self.labels.most_common(SHOWN))
