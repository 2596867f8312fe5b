"""Images in two folders, real/ and fake/."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice, zip_longest
from pathlib import Path, PurePosixPath

from redteam.data.corpus import Corpus, CorpusError, Picture, Reader, Resolve, Sample
from redteam.data.pictures import leaves, read_rgb, survey

LABELS = {"real": 0, "fake": 1}
EXTENSIONS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")


@dataclass(frozen=True, kw_only=True)
class Folder(Corpus):
    """Every image under real/ (label 0) and fake/ (label 1), at any depth, in the order of their paths.

    An id is the path inside the folder with forward slashes, such as `real/day/x.png`. Images with one path below real/ and fake/,
    extension aside (`real/day/x.png`, `fake/day/x.jpg`), are taken for one source image and form a group, named by its first real
    image; every other image is its own group. A limit takes images in turn from real and fake, each in order, and from
    the other alone when one runs out; a smaller limit takes a subset of a larger one's. Hidden files and folders are skipped; links to
    files inside the folder are followed.

    path: the folder that holds real/ and fake/
    """

    path: Path

    def samples(self) -> Iterator[Sample]:
        """The samples in the order of their paths; reads headers and hashes files. Raises CorpusError."""
        ids = self._ids()
        groups = _groups(ids)
        return (self._sample(name, groups[_stem(name)]) for name in _balanced(ids, self.limit))

    def open(self, resolve: Resolve) -> Reader:
        """A function that reads one sample's file."""
        return lambda sample: Picture(read_rgb(self.path / sample.source))

    @classmethod
    def has_masks(cls) -> bool:
        """A folder has labels only; a manifest can name masks."""
        return False

    def _sample(self, name: str, group: str) -> Sample:
        height, width, content = survey(self.path / name)
        return Sample(id=name, label=LABELS[_class(name)], group=group, height=height, width=width, content=content, source=name)

    def _ids(self) -> list[str]:
        if not os.path.isdir(self.path):
            raise CorpusError(f"{self.path}: there is no such folder; give the folder that holds real/ and fake/")
        absent = [f"{name}/" for name in LABELS if not os.path.isdir(self.path / name)]
        if absent:
            raise CorpusError(f"{self.path}: the folder must hold real/ and fake/, got no {' and no '.join(absent)}; sort the images into real/ and fake/")
        ids = sorted(found for name in LABELS for found in self._walk(name))
        if not ids:
            raise CorpusError(f"{self.path}: real/ and fake/ must hold images, got none; put in files that end in {', '.join(EXTENSIONS)}")
        return ids

    def _walk(self, top: str) -> Iterator[str]:
        self._check_link(self.path / top, folder=True)
        for here, folders, files in os.walk(self.path / top, onerror=_refuse):
            folders[:] = [name for name in folders if not name.startswith(".")]
            for name in folders:
                self._check_link(Path(here, name), folder=True)
            for name in files:
                if not name.startswith(".") and name.lower().endswith(EXTENSIONS):
                    self._check_link(Path(here, name), folder=False)
                    yield self._id(Path(here, name))

    def _check_link(self, path: Path, *, folder: bool) -> None:
        if not path.is_symlink():
            return
        name = path.relative_to(self.path).as_posix()
        if leaves(self.path, path):
            raise CorpusError(f"{self.path}: {_shown(name)} is a link that leaves the folder; copy what it points to into its place")
        if folder:  # following it would list images twice, or for ever
            raise CorpusError(f"{self.path}: {_shown(name)} is a link to a folder; replace it by the folder itself")

    def _id(self, path: Path) -> str:
        name = path.relative_to(self.path).as_posix()
        if _shown(name) != name:
            raise CorpusError(f"{self.path}: the file name {_shown(name)} must be UTF-8; rename the file")
        return name


def _class(name: str) -> str:
    return PurePosixPath(name).parts[0]


def _stem(name: str) -> str:
    """The path below real/ or fake/ without the extension.

    >>> _stem("fake/day/x.jpg")
    'day/x'
    """
    return PurePosixPath(name).relative_to(_class(name)).with_suffix("").as_posix()


def _groups(ids: list[str]) -> dict[str, str]:
    """Stem -> the first id that has it, real ones first."""
    real_first = sorted(ids, key=lambda name: LABELS[_class(name)])
    return {_stem(name): name for name in reversed(real_first)}


def _balanced(ids: list[str], limit: int | None) -> list[str]:
    """At most `limit` ids, real and fake in turn, back in order.

    >>> _balanced(["fake/a", "fake/b", "fake/c", "real/a", "real/b"], 3)
    ['fake/a', 'real/a', 'real/b']
    """
    classes = [[name for name in ids if _class(name) == title] for title in LABELS]
    in_turn = (name for name in chain.from_iterable(zip_longest(*classes)) if name is not None)
    return sorted(islice(in_turn, limit))


def _shown(name: str) -> str:
    return name.encode("utf-8", "backslashreplace").decode()


def _refuse(error: OSError) -> None:
    raise CorpusError(f"{_shown(str(error.filename))}: the folder cannot be listed ({error.strerror}); make it readable")
