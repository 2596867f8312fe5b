"""What a corpus is: a list of samples that is known before a pixel is read, and a way to read one."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from redteam.component import Component

NOT_CONTENT = ("missing", "unreadable")  # what a corpus says of a file that it cannot hash
Resolve = Callable[[str], Any]  # a model reference ("zoo/vae-tiny") -> the loaded module


class CorpusError(Exception):
    """A corpus cannot be listed: a missing folder, a broken manifest. The message says where and what to do."""


class UnreadableImage(Exception):
    """One image cannot be read; it becomes an `error` record and costs nothing else."""


@dataclass(frozen=True, kw_only=True)
class Container:
    """How the file of an image holds its pixels, as the header says.

    format:   PNG, JPEG, WEBP, BMP or TIFF
    mode:     RGB, L (grey), P (palette), RGBA ...
    quality:  of a JPEG, estimated from its luminance table, [1, 100]; None of other formats
    standard: whether that table is the JPEG standard's, scaled as libjpeg and Pillow do; cameras and Photoshop have their own
    chroma:   how a JPEG thins out its colours: 4:4:4, 4:2:2, 4:2:0, other; None of other formats and of grey
    """

    format: str
    mode: str
    quality: int | None = None
    standard: bool | None = None
    chroma: str | None = None


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One image of a corpus, before its pixels are read.

    id:      unique within the corpus
    label:   1 is fake or forged, 0 is not
    group:   the source image; samples of one group are not independent
    height, width: in pixels
    content: what fixes the pixels: a hash of the file, or kind, version, seed and index of a generated image
    source:  how the corpus finds it again (a path, an index); not part of any hash
    container: of its file; None where there is no file, or its header cannot be read
    """

    id: str
    label: int
    group: str
    height: int
    width: int
    content: str
    source: Any = None
    container: Container | None = None


@dataclass(frozen=True)
class Picture:
    """One image as it was read.

    pixels: (h, w, 3) uint8 RGB
    mask:   (h, w) uint8, 255 where forged; None where there is none
    """

    pixels: np.ndarray
    mask: np.ndarray | None = None


Reader = Callable[[Sample], Picture]


@dataclass(frozen=True, kw_only=True)
class Corpus(Component):
    """Base of all corpora.

    limit: at most this many images, in the corpus's own order
    """

    limit: Annotated[int, Field(ge=1)] | None = None

    @abstractmethod
    def samples(self) -> Iterator[Sample]:
        """The samples in a stable order; reads headers at most. Raises CorpusError."""

    @abstractmethod
    def open(self, resolve: Resolve) -> Reader:
        """A function that reads one sample's pixels; it raises UnreadableImage where it cannot. `resolve` loads models that the fields refer to."""

    @classmethod
    def has_masks(cls) -> bool:
        """Whether samples may carry masks."""
        return True
