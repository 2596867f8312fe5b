"""Images in two folders, real/ and fake/ or 0_real/ and 1_fake/, once or for each generator."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice, zip_longest
from pathlib import Path, PurePosixPath

from redteam.data.corpus import Corpus, CorpusError, Picture, Reader, Resolve, Sample
from redteam.data.pictures import header, read_rgb
from redteam.data.walking import EXTENSIONS, images_under, is_image, shown, walk

NAMES = (("real", "fake"), ("0_real", "1_fake"))  # of the folders of label 0 and 1
LABELS = {name: label for pair in NAMES for label, name in enumerate(pair)}


@dataclass(frozen=True, kw_only=True)
class Folder(Corpus):
    """Every image under real/ (label 0) and fake/ (label 1), at any depth, in the order of their paths.

    0_real/ and 1_fake/ are the same under other names. Where neither pair stands in the folder itself, pairs of one kind are looked for
    below it, as in `<generator>/<class>/{0_real,1_fake}` of benchmarks; then an image outside of them is refused, for it has no label.

    An id is the path inside the folder with forward slashes, such as `real/day/x.png`. Images with one path but for the name of the pair
    and the extension (`real/day/x.png`, `fake/day/x.jpg`) are taken for one source image and form a group, named by its first real
    image; every other image is its own group. A limit takes images in turn from real and fake (of each generator), each in order, and
    from the others alone when one runs out; a smaller limit takes a subset of a larger one's. Hidden files and folders are skipped; links
    to files inside the folder are followed.

    path: the folder that holds real/ and fake/, or 0_real/ and 1_fake/, or folders with such pairs
    """

    path: Path

    def samples(self) -> Iterator[Sample]:
        """The samples in the order of their paths; reads headers and hashes files. Raises CorpusError."""
        sides = self._images()
        groups = _groups(sides)
        return (self._sample(name, *groups[name]) for name in _in_turn(sides, self.limit))

    def open(self, resolve: Resolve) -> Reader:
        """A function that reads one sample's file."""
        return lambda sample: Picture(read_rgb(self.path / sample.source))

    @classmethod
    def has_masks(cls) -> bool:
        """A folder has labels only; a manifest can name masks."""
        return False

    def _sample(self, name: str, label: int, group: str) -> Sample:
        found = header(self.path / name)
        return Sample(id=name, label=label, group=group, height=found.height, width=found.width, content=found.content, source=name, container=found.container)

    def _images(self) -> dict[str, list[str]]:
        """Folder of one class -> its images in order; the folders of a pair one after the other, real first."""
        if not os.path.isdir(self.path):
            raise CorpusError(f"{self.path}: there is no such folder; give the folder that holds real/ and fake/")
        sides = {top: sorted(images_under(self.path, top)) for top in self._sides()}
        if not any(sides.values()):
            names = " and ".join(f"{PurePosixPath(top).name}/" for top in list(sides)[:2])
            raise CorpusError(f"{self.path}: {names} must hold images, got none; put in files that end in {', '.join(EXTENSIONS)}")
        return sides

    def _sides(self) -> list[str]:
        """The folders that hold one class each, those of a pair together."""
        here = [name for name in LABELS if os.path.isdir(self.path / name)]
        if here:
            return list(self._pair(here, ""))
        pairs, outside = self._below()
        if not pairs:
            repair = "sort the images into real/ and fake/"
            raise CorpusError(f"{self.path}: the folder must hold real/ and fake/ (or 0_real/ and 1_fake/, or folders with such pairs), got none of them; {repair}")
        if outside:
            raise CorpusError(f"{self.path}: an image must lie in a folder of a pair, got {shown(outside[0])}{f' and {len(outside) - 1} more' if len(outside) > 1 else ''} outside; move it or take it out")
        found = [top for parent in sorted(pairs) for top in self._pair(pairs[parent], f"{parent}/")]
        if len({PurePosixPath(top).name for top in found}) > 2:
            raise CorpusError(f"{self.path}: all pairs must have the same names, got real/ and fake/ beside 0_real/ and 1_fake/; rename one kind")
        return found

    def _pair(self, found: list[str], parent: str) -> Iterator[str]:
        """The two folders in one place, real first, or why they are no pair."""
        kinds = [pair for pair in NAMES if set(pair) & set(found)]
        if len(kinds) > 1:
            raise CorpusError(f"{self.path}: {parent or 'the folder'} must hold one pair, got {', '.join(f'{name}/' for name in found)}; leave real/ and fake/ or 0_real/ and 1_fake/")
        absent = [f"{name}/" for name in kinds[0] if name not in found]
        if absent:
            repair = f"sort the images into {kinds[0][0]}/ and {kinds[0][1]}/"
            raise CorpusError(f"{self.path}: {parent or 'the folder'} must hold {kinds[0][0]}/ and {kinds[0][1]}/, got no {' and no '.join(absent)}; {repair}")
        return (f"{parent}{name}" for name in kinds[0])

    def _below(self) -> tuple[dict[str, list[str]], list[str]]:
        """Parent -> the class folders in it, outermost only; and images that lie in none."""
        pairs: dict[str, list[str]] = {}
        outside = []
        for here, files in walk(self.path):
            place = PurePosixPath(Path(here).relative_to(self.path).as_posix())
            top = next((n for n, part in enumerate(place.parts) if part in LABELS), None)
            if top is None:
                outside += [(place / name).as_posix() for name in files if is_image(name)]
            elif top == len(place.parts) - 1:
                pairs.setdefault(place.parent.as_posix(), []).append(place.name)
        return pairs, sorted(outside)


def _groups(sides: dict[str, list[str]]) -> dict[str, tuple[int, str]]:
    """Image -> its label and its group, the first image with its stem, real ones first.

    >>> _groups({"g/0_real": ["g/0_real/x.png"], "g/1_fake": ["g/1_fake/x.jpg"]})["g/1_fake/x.jpg"]
    (1, 'g/0_real/x.png')
    """
    first: dict[str, str] = {}
    found = {}
    for top, names in sides.items():
        for name in names:
            below = PurePosixPath(name).relative_to(top).with_suffix("")
            stem = (PurePosixPath(top).parent / below).as_posix()
            found[name] = LABELS[PurePosixPath(top).name], first.setdefault(stem, name)
    return found


def _in_turn(sides: dict[str, list[str]], limit: int | None) -> list[str]:
    """At most `limit` images, one of each folder in turn, back in order.

    >>> _in_turn({"real": ["real/a", "real/b"], "fake": ["fake/a", "fake/b", "fake/c"]}, 3)
    ['fake/a', 'real/a', 'real/b']
    """
    in_turn = (name for name in chain.from_iterable(zip_longest(*sides.values())) if name is not None)
    return sorted(islice(in_turn, limit))
