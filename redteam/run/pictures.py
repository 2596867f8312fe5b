"""Reads the images of a plan; those of one shard stay in memory, so that every cell on it finds them there."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from redteam import registry
from redteam.data.corpus import Picture, Reader, Sample, UnreadableImage
from redteam.images import Images
from redteam.run.errors import Missing
from redteam.scenario.model import DataEntry
from redteam.scenario.plan import Shard


@dataclass(frozen=True)
class Read:
    """One sample with its pixels.

    sha256: of the pixels
    """

    sample: Sample
    picture: Picture
    sha256: str


class Pictures:
    """The images of all corpora, read when they are asked for."""

    def __init__(self, entries: Iterable[DataEntry], device: torch.device) -> None:
        self._entries = {(entry.role, entry.id): entry for entry in entries}
        self._device = device
        self._readers: dict[tuple[str, str], Reader] = {}
        self._models: dict[str, Any] = {}
        self._shard: tuple[str, int] | None = None
        self._kept: dict[str, Read | UnreadableImage] = {}

    def of_shard(self, shard: Shard, samples: Iterable[Sample]) -> list[Read | UnreadableImage]:
        """Some samples of a shard, read at most once as long as no other shard is asked for."""
        if self._shard != (shard.data, shard.index):
            self._shard, self._kept = (shard.data, shard.index), {}
        for sample in samples:
            if sample.id not in self._kept:
                self._kept[sample.id] = self._read("eval", shard.data, sample)
        return [self._kept[sample.id] for sample in samples]

    def batches(self, role: str, corpus: str, samples: Iterable[Sequence[Sample]]) -> Iterator[Images]:
        """Micro-batches of a corpus one after the other; images that cannot be read are left out (they get an error row where they are evaluated)."""
        for batch in samples:
            found = [self._read(role, corpus, sample) for sample in batch]
            if readable := [read for read in found if isinstance(read, Read)]:
                yield self.stacked(readable)

    def stacked(self, reads: Sequence[Read]) -> Images:
        """Pictures of one size as one batch on the device."""
        masks = _masks(reads)
        return Images(
            pixels=to_pixels([read.picture.pixels for read in reads]),
            ids=tuple(read.sample.id for read in reads),
            labels=torch.tensor([read.sample.label for read in reads]),
            groups=tuple(read.sample.group for read in reads),
            masks=None if masks is None else torch.from_numpy(np.stack(masks)).float().div(255)[:, None],
        ).to(self._device)

    def _read(self, role: str, corpus: str, sample: Sample) -> Read | UnreadableImage:
        try:
            picture = self._reader(role, corpus)(sample)
        except UnreadableImage as error:
            return error
        except (Missing, MemoryError):
            raise
        except Exception as error:  # a reader may be anyone's code; what it does wrong costs this image
            return UnreadableImage(f"{sample.id}: {sentence(error)}")
        if picture.pixels.shape != (sample.height, sample.width, 3):
            height, width = picture.pixels.shape[:2]
            return UnreadableImage(f"{sample.id}: was {sample.height} x {sample.width} when the run was planned, is {height} x {width} now")
        return Read(sample, picture, hashlib.sha256(np.ascontiguousarray(picture.pixels)).hexdigest())

    def _reader(self, role: str, corpus: str) -> Reader:
        if (role, corpus) not in self._readers:
            self._readers[role, corpus] = self._entries[role, corpus].corpus.open(self._model)
        return self._readers[role, corpus]

    def _model(self, reference: str) -> Any:
        if reference not in self._models:
            try:
                self._models[reference] = registry.get("models", reference.removeprefix("zoo/")).load(self._device)
            except FileNotFoundError as error:
                raise Missing(str(error)) from error
        return self._models[reference]


def _masks(reads: Sequence[Read]) -> list[np.ndarray] | None:
    """A mask for each image; nothing is forged in a real one that comes without. None where there are no masks, or a fake has none."""
    masks = [read.picture.mask for read in reads]
    unknown = [mask is None and read.sample.label == 1 for mask, read in zip(masks, reads, strict=True)]
    if any(unknown) or all(mask is None for mask in masks):
        return None
    return [np.zeros(read.picture.pixels.shape[:2], np.uint8) if mask is None else mask for mask, read in zip(masks, reads, strict=True)]


def to_pixels(arrays: Sequence[np.ndarray]) -> Tensor:
    """(h, w, 3) uint8 arrays of one size -> (n, 3, h, w) float32 in [0, 1]."""
    return torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2).contiguous().float().div(255)


def in_batches(samples: Iterable[Sample], size: int) -> Iterator[list[Sample]]:
    """Samples in their order, as batches of at most `size` that share height and width."""
    batch: list[Sample] = []
    for sample in samples:
        if batch and (len(batch) == size or (sample.height, sample.width) != (batch[0].height, batch[0].width)):
            yield batch
            batch = []
        batch.append(sample)
    if batch:
        yield batch


def sentence(error: BaseException) -> str:
    """An error of someone's code as one line of a record."""
    first = str(error).strip().split("\n")[0]
    return f"{type(error).__name__}: {first}" if first else type(error).__name__
