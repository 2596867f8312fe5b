"""Finds the images under a folder, and refuses links that lead out of it or in circles."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from redteam.data.corpus import CorpusError
from redteam.data.pictures import leaves

EXTENSIONS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")


def images_under(root: Path, top: str = "") -> Iterator[str]:
    """Paths of images below `root / top`, relative to root with forward slashes, in any order; hidden ones are skipped. Raises CorpusError."""
    for here, files in walk(root, top):
        for name in files:
            if is_image(name):
                _check_link(root, Path(here, name), folder=False)
                yield _relative(root, Path(here, name))


def walk(root: Path, top: str = "") -> Iterator[tuple[str, list[str]]]:
    """Folders below `root / top`, itself the first, with the names of their files; hidden ones are skipped. Raises CorpusError."""
    if top:
        _check_link(root, root / top, folder=True)
    for here, folders, files in os.walk(root / top, onerror=_refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in folders:
            _check_link(root, Path(here, name), folder=True)
        yield here, files


def _relative(root: Path, path: Path) -> str:
    """A path as an id names it. Raises CorpusError where its name is no text."""
    name = path.relative_to(root).as_posix()
    if shown(name) != name:
        raise CorpusError(f"{root}: the file name {shown(name)} must be UTF-8; rename the file")
    return name


def _check_link(root: Path, path: Path, *, folder: bool) -> None:
    if not path.is_symlink():
        return
    name = path.relative_to(root).as_posix()
    if leaves(root, path):
        raise CorpusError(f"{root}: {shown(name)} is a link that leaves the folder; copy what it points to into its place")
    if folder:  # following it would list images twice, or for ever
        raise CorpusError(f"{root}: {shown(name)} is a link to a folder; replace it by the folder itself")


def is_image(name: str) -> bool:
    """Whether a file of this name is looked at; hidden ones are not."""
    return not name.startswith(".") and name.lower().endswith(EXTENSIONS)


def shown(name: str) -> str:
    """A name as messages can print it, whatever its bytes are."""
    return name.encode("utf-8", "backslashreplace").decode()


def _refuse(error: OSError) -> None:
    raise CorpusError(f"{shown(str(error.filename))}: the folder cannot be listed ({error.strerror}); make it readable")
