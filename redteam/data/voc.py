"""Images in the layout of PASCAL VOC: JPEGImages/, SegmentationClass/ and lists of names such as train.txt.

The mask of `JPEGImages/day/x.jpg` is `SegmentationClass/day/x.png`: a picture of class numbers, 0 where nothing was forged. An image whose
mask is 0 everywhere is real (label 0); every other is forged (label 1).

Source: Everingham et al., "The PASCAL Visual Object Classes (VOC) Challenge", IJCV 2010.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Annotated

from pydantic import Field

from redteam.data.corpus import Corpus, CorpusError, Reader, Resolve, Sample, UnreadableImage
from redteam.data.defects import Broken, Defects, Home, quoted
from redteam.data.listed import Row, picture, sample
from redteam.data.masks import fitted, read_classes
from redteam.data.tables import decoded, lines
from redteam.data.walking import images_under

IMAGES, MASKS = "JPEGImages", "SegmentationClass"
LISTS = ("", "ImageSets/Segmentation")  # where lists may stand


@dataclass(frozen=True, kw_only=True)
class VOC(Corpus):
    """The images of one list, in its order, or all in the order of their paths, each with the mask of its own name.

    Masks are decoded when the corpus is listed, since they hold the labels.

    path:    the folder that holds JPEGImages/ and SegmentationClass/
    split:   name of a list without .txt, in the folder itself or in ImageSets/Segmentation; all images when not given
    classes: class numbers that mean forged; any but 0 when not given, and then 255 must not stand beside others, since VOC draws borders in 255
    """

    path: Path
    split: Annotated[str, Field(pattern=r"^[\w.-]+$")] | None = None
    classes: tuple[Annotated[int, Field(ge=1, le=255)], ...] | None = None

    def samples(self) -> Iterator[Sample]:
        """The samples; reads headers and masks and hashes files. Raises CorpusError with all defects."""
        rows = self.rows()
        return (sample(self.path, row) for row in rows)

    def open(self, resolve: Resolve) -> Reader:
        """A function that reads one sample's file and mask."""
        return lambda listed: picture(self.path, listed, lambda path, height, width: fitted(path, read_classes(path, self.classes), height, width))

    def rows(self) -> list[Row]:
        """The images of the split, at most `limit`. Raises CorpusError with all defects."""
        images, names = self._images(), self._list()
        defects, rows = Defects(str(self.path) if names is None else names.name), []
        found = ((None, stem) for stem in sorted(images)) if names is None else self._named(names)
        for line, stem in islice(found, self.limit):
            try:
                rows.append(self._row(stem, images))
            except Broken as broken:
                defects.add(line, *broken.args)
        for stem, count in Counter(Path(row.image).with_suffix("").as_posix() for row in rows).items():
            defects.add(None, *([f"{quoted(stem)} is listed {count} times; list each image once"] if count > 1 else []))
        defects.raise_if_any()
        if not rows:
            raise CorpusError(f"{self.path}: {IMAGES}/ and the list must hold images, got none; name some")
        return rows

    def _images(self) -> Mapping[str, list[str]]:
        """Name without extension -> the images that have it."""
        absent = [f"{name}/" for name in (IMAGES, MASKS) if not os.path.isdir(self.path / name)]
        if absent:
            raise CorpusError(f"{self.path}: the folder must hold {IMAGES}/ and {MASKS}/, got no {' and no '.join(absent)}; give the folder above them")
        found: dict[str, list[str]] = {}
        for name in sorted(images_under(self.path, IMAGES)):
            found.setdefault(PurePosixPath(name).relative_to(IMAGES).with_suffix("").as_posix(), []).append(name)
        return found

    def _list(self) -> Path | None:
        """The file that names the images of the split."""
        if self.split is None:
            return None
        found = [path for place in LISTS if (path := self.path / place / f"{self.split}.txt").is_file()]
        if len(found) != 1:
            places = " or ".join(f"{place}/{self.split}.txt".lstrip("/") for place in LISTS)
            raise CorpusError(f"{self.path}: split {quoted(self.split)} must be one file, {places}, got {'both' if found else 'neither'}; {'take one away' if found else 'put it there'}")
        return found[0]

    def _named(self, names: Path) -> Iterator[tuple[int, str | Broken]]:
        for line, text in lines(names, "a list of names"):
            if text.strip():
                try:
                    yield line, decoded(text).strip()
                except Broken as broken:
                    yield line, broken

    def _row(self, name: str | Broken, images: Mapping[str, list[str]]) -> Row:
        """Raises Broken."""
        if isinstance(name, Broken):
            raise name
        found = images.get(name) or [image for image in images.get(PurePosixPath(name).with_suffix("").as_posix(), ()) if image == f"{IMAGES}/{name}"]
        if len(found) != 1:
            raise Broken(f"there must be one image {quoted(name)} in {IMAGES}/, got {', '.join(found) or 'none'}; correct the name or the files")
        mask = f"{MASKS}/{PurePosixPath(found[0]).relative_to(IMAGES).with_suffix('.png')}"
        if defects := [*Home(self.path, "the folder").file_defects(found[0], mask)]:
            raise Broken(*defects)
        try:
            forged = read_classes(self.path / mask, self.classes).any()
        except UnreadableImage as error:
            raise Broken(f"the mask must be readable, since it holds the label: {error}") from error
        return Row(image=found[0], label=int(forged), id=found[0], mask=mask, group=found[0])
