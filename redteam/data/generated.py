"""Corpora that need no download: procedural camera scenes, and crops of the photographs that two dependencies install with themselves.

Each scene appears once as it is and, where `forge` is given, once forged. Both versions are saved by the same encoder at the same quality
before anyone sees them, so that neither format nor compression tells them apart.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count, islice
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from redteam.data import camera, photos
from redteam.data.corpus import Corpus, Picture, Reader, Resolve, Sample
from redteam.data.forgery import Forgery
from redteam.seeding import derive_seed, digest

DONORS = 1_000_003  # index offset of the scenes that only lend a region to a splice


@dataclass(frozen=True, kw_only=True)
class Generated(Corpus):
    """Base of the corpora that are made, not read.

    size:  height and width, pixels
    seed:  of everything that is drawn; 0 made the training set of the shipped models
    forge: forgeries by kind, each with a weight or its own settings; one is drawn for each scene
    limit: number of images, real and forged together
    """

    version: ClassVar[int] = 1
    kind: ClassVar[str]

    size: Annotated[int, Field(ge=32, le=1024)] = 128
    seed: Annotated[int, Field(ge=1)] = 1
    forge: dict[str, Forgery] = field(default_factory=dict, metadata={"components": "forgeries"})
    limit: Annotated[int, Field(ge=1)] = 96

    @abstractmethod
    def scene(self, index: int) -> np.ndarray:
        """Scene number `index`, (size, size, 3) uint8, as the camera gave it."""

    @abstractmethod
    def group(self, index: int) -> str:
        """The source that scene `index` shares with the images that depend on it."""

    def samples(self) -> Iterator[Sample]:
        """Each scene as it is, followed by its forgery."""
        return islice(self._all(), self.limit)

    def open(self, resolve: Resolve) -> Reader:
        """A reader that renders, forges and saves one image at a time."""

        def read(sample: Sample) -> Picture:
            index, kind = sample.source
            rng = self._rng(index)
            quality = int(rng.integers(80, 99))
            scene = self.scene(index)
            if kind is None:
                return Picture(camera.resave(scene, quality), np.zeros(scene.shape[:2], np.uint8))
            forged = self.forge[kind].forge(scene, lambda: self.scene(index + DONORS), rng, resolve)
            return Picture(camera.resave(forged.pixels, quality), forged.mask)

        return read

    def _all(self) -> Iterator[Sample]:
        forgeries = {kind: forgery.content() for kind, forgery in self.forge.items()}
        for index in count():
            yield self._sample(index, None, {})
            if self.forge:
                kind = self._choose(index)
                yield self._sample(index, kind, forgeries[kind])

    def _sample(self, index: int, kind: str | None, forgery: dict[str, object]) -> Sample:
        content = digest([self.kind, self.version, self.seed, self.size, index, forgery])
        return Sample(id=f"{index:05d}-{kind or 'real'}", label=int(kind is not None), group=self.group(index), height=self.size, width=self.size, content=content, source=(index, kind))

    def _choose(self, index: int) -> str:
        weights = np.array([forgery.weight for forgery in self.forge.values()])
        drawn = np.random.default_rng(derive_seed(self.kind, self.seed, index, "which")).choice(len(weights), p=weights / weights.sum())
        return list(self.forge)[int(drawn)]

    def _rng(self, index: int) -> np.random.Generator:
        return np.random.default_rng(derive_seed(self.kind, self.seed, index))


@dataclass(frozen=True, kw_only=True)
class CameraCorpus(Generated):
    """Procedural scenes through a simulated camera: lens, Bayer mosaic, sensor noise, demosaicing, tone curve, JPEG. Unlimited."""

    kind: ClassVar[str] = "camera"

    def scene(self, index: int) -> np.ndarray:
        """Scene number `index`, (size, size, 3) uint8."""
        return camera.render(self.seed, index, self.size)

    def group(self, index: int) -> str:
        """Each scene is a source of its own."""
        return f"scene-{self.seed}-{index:05d}"


@dataclass(frozen=True, kw_only=True)
class PhotosCorpus(Generated):
    """Crops of the real photographs that scikit-image and scikit-learn install with themselves; few scenes, so reported one by one."""

    kind: ClassVar[str] = "photos"

    def scene(self, index: int) -> np.ndarray:
        """Crops of all scenes in turn, (size, size, 3) uint8."""
        names = photos.scenes()
        index = index % DONORS + (index >= DONORS)  # a splice's donor is a crop of the next photograph
        return photos.crop(names[index % len(names)], index // len(names), self.size)

    def group(self, index: int) -> str:
        """The photograph that it is a crop of."""
        names = photos.scenes()
        return names[index % len(names)]
