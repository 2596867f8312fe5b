"""One row of a manifest: which keys it has, and what is wrong with their values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from redteam.data.defects import Broken, Home, name_defects, quoted
from redteam.data.labels import Labels, label_of, unmapped
from redteam.data.listed import Row

KEYS = ("image", "label", "id", "mask", "group", "split")
REQUIRED = ("image", "label")


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Which columns (or keys) of a foreign list are meant; all others are ignored.

    image: holds the image's path
    label: holds the label
    id:    holds the id
    mask:  holds the mask's path
    group: holds the source image
    split: holds the split
    """

    image: str = "image"
    label: str = "label"
    id: str | None = None
    mask: str | None = None
    group: str | None = None
    split: str | None = None

    def named(self) -> dict[str, str]:
        """Our key -> the list's, of those that are read."""
        return {key: name for key, name in asdict(self).items() if name is not None}


def header_defects(head: Sequence[str], columns: Columns | None) -> Iterator[str]:
    """What is wrong with the header of a CSV file."""
    wanted = columns.named() if columns else dict.fromkeys(REQUIRED)
    for key, name in wanted.items():
        if (name or key) not in head:
            yield f"the header must have the column {name or key}{f' (for {key})' if name else ''}, got {', '.join(map(quoted, head))}; name the right one with columns: {{{key}: ...}}"
    if columns is None:
        for name in head:
            if name not in KEYS and not name.startswith("x_"):
                yield f"unknown column {quoted(name)}; the columns are {', '.join(KEYS)}, those that start with x_ are ignored, and columns: {{image: ...}} reads foreign lists"


def ours(keys: Mapping[str, Any], columns: Columns | None) -> dict[str, Any]:
    """The keys of a row under our names."""
    return dict(keys) if columns is None else {key: keys.get(name) for key, name in columns.named().items()}


def row_of(keys: Mapping[str, Any], home: Home, labels: Labels | None, columns: Columns | None) -> Row | None:
    """A row from its keys under our names; None where its label says that it is left out. Raises Broken with all defects."""
    defects = [*_key_defects(keys, columns)]
    label = 0
    if keys.get("label") is not None:
        try:
            label = label_of(keys["label"], labels)
        except LookupError:
            defects.append(unmapped(keys["label"], labels))
    for key in ("image", "id", "mask", "group", "split"):
        if keys.get(key) is not None:
            defects += home.defects(key, keys[key]) if key in ("image", "mask") else name_defects(key, keys[key])
    if label is None:
        return None
    if defects:
        raise Broken(*defects)
    name = keys.get("id") or keys["image"]
    return Row(image=keys["image"], label=label, id=name, mask=keys.get("mask"), group=keys.get("group") or name, split=keys.get("split"))


def _key_defects(keys: Mapping[str, Any], columns: Columns | None) -> Iterator[str]:
    for key in keys:
        if key not in KEYS and not key.startswith("x_"):
            yield f"unknown key {quoted(key)}; the keys are {', '.join(KEYS)}, and keys that start with x_ are ignored"
    for key in REQUIRED:
        if keys.get(key) is None:
            yield f"a row must have the key {columns.named()[key] if columns else key}, got none; add it"
