"""Corpora whose images and masks are files that a list names, each image with its own mask and never by its place in an order."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from redteam.data.corpus import Corpus, Picture, Reader, Resolve, Sample, UnreadableImage
from redteam.data.defects import Home
from redteam.data.masks import White, read_mask
from redteam.data.pictures import file_sha256, header, read_rgb

Marks = Callable[[Path, int, int], np.ndarray]  # a mask's file, height, width -> (height, width) uint8, 255 where forged


@dataclass(frozen=True)
class Row:
    """One image of a list; paths are relative to the list's home."""

    image: str
    label: int
    id: str
    mask: str | None
    group: str
    split: str | None = None


@dataclass(frozen=True, kw_only=True)
class Listed(Corpus):
    """Base of corpora that one file lists. A real image without a mask has a black one.

    path: the list
    root: the folder that its paths start at and must not leave; the list's own when not given
    mask_white: what white means in masks, forged or authentic
    """

    path: Path
    root: Path | None = None
    mask_white: White = "forged"

    @abstractmethod
    def rows(self) -> list[Row]:
        """All rows, every line checked. Raises CorpusError with all defects."""

    def samples(self) -> Iterator[Sample]:
        """The samples in the list's order; reads headers and hashes files. Raises CorpusError with all defects."""
        rows = self.rows()
        return (sample(self.folder(), row) for row in islice(rows, self.limit))

    def open(self, resolve: Resolve) -> Reader:
        """A function that reads one sample's file and mask."""
        return lambda listed: picture(self.folder(), listed, lambda path, height, width: read_mask(path, height, width, white=self.mask_white))

    def folder(self) -> Path:
        """The folder that paths start at."""
        return self.path.parent if self.root is None else self.root

    def home(self, what: str) -> Home:
        """That folder as messages call it; `what` is the list's name for itself."""
        return Home(self.folder(), f"the {what}'s folder" if self.root is None else f"root ({self.root})")


def sample(folder: Path, row: Row) -> Sample:
    """A row with what its files' headers and bytes say."""
    found = header(folder / row.image)
    content = found.content if row.mask is None else f"{found.content}+{_mask_hash(folder / row.mask)}"
    return Sample(
        id=row.id, label=row.label, group=row.group, height=found.height, width=found.width, content=content,
        source=(row.image, row.mask), container=found.container,
    )  # fmt: skip


def picture(folder: Path, listed: Sample, marks: Marks) -> Picture:
    """The pixels and the mask of a sample. Raises UnreadableImage."""
    image, mask = listed.source
    pixels = read_rgb(folder / image)
    if mask is None:
        return Picture(pixels, None if listed.label else np.zeros(pixels.shape[:2], np.uint8))
    marked = marks(folder / mask, *pixels.shape[:2])
    if listed.label == 0 and np.any(marked):
        raise UnreadableImage(f"{Path(image).name}: the mask of a real image must be black, {Path(mask).name} is not; correct the label or the mask")
    return Picture(pixels, marked)


def _mask_hash(mask: Path) -> str:
    try:
        return file_sha256(mask)
    except UnreadableImage:  # an empty or locked file: reading the sample says so
        return "unreadable"
