"""What an adversary remembers of the files that it has sent, and how much they resemble each other to whoever watches.

A file that was sent before is answered from memory: an adversary pays for no answer twice. A defender may watch for the opposite, many
files that are nearly the same; so each file is compared with those that the same image was asked about before.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

NEAR = 1.0  # levels, root mean square over pixels and channels: closer than this, two files look the same to a person and to most hashes
LOOKBACK = 512  # earlier files of an image that a new one is compared with
BUCKETS = 127  # numbers in a sketch; a distance between two is off by about 6 %. A prime, so that no column of an image falls into one bucket

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Told:
    """What a target said of one file.

    won:  whether the adversary has what it wants
    loss: as the objective gives it; NaN where the target gave no score
    """

    won: bool
    loss: float


class Sent:
    """The files that one image was asked about."""

    def __init__(self) -> None:
        self.answers: dict[bytes, Told] = {}
        self._sketches = np.empty((0, 0), np.float32)
        self._count = 0

    def resembles(self, sketch: Floats, entries: int) -> bool:
        """Whether a file of so many entries lies near one of the last; it is one of them from now on."""
        if self._sketches.shape[1] != len(sketch):  # another size of the picture: nothing to compare with
            self._sketches, self._count = np.empty((16, len(sketch)), np.float32), 0
        known = self._sketches[: self._count]
        found = bool(len(known)) and float(np.square(known - sketch).sum(1).min()) <= NEAR**2 * entries
        if self._count == len(self._sketches) < LOOKBACK:
            self._sketches = np.concatenate([self._sketches, np.empty_like(self._sketches)])
        self._sketches[self._count % len(self._sketches)] = sketch
        self._count += 1
        return found


@dataclass(frozen=True)
class File:
    """One file of a question.

    sent:    those of the same image
    name:    tells its content from any other
    levels:  its content, (3 h w,)
    """

    sent: Sent
    name: bytes
    levels: NDArray[np.uint8]

    @property
    def told(self) -> Told | None:
        """What the target said when it was asked before."""
        return self.sent.answers.get(self.name)

    def keep(self, told: Told) -> bool:
        """Remember what the target said; returns whether the file lies near one that the image was asked about before."""
        self.sent.answers[self.name] = told
        return self.sent.resembles(sketch(self.levels), len(self.levels))


class Memory:
    """All files that an adversary has sent, by image id."""

    def __init__(self) -> None:
        self._sent: dict[str, Sent] = {}

    def files(self, ids: Sequence[str], pixels: Tensor) -> list[File]:
        """Pixels (n, 3, h, w) on the 8-bit grid, as the files of these images hold them -> those files."""
        levels = (pixels * 255).round().to(torch.uint8).flatten(1).cpu().numpy()
        shape = str(tuple(pixels.shape[1:])).encode()
        named = (hashlib.blake2b(row.tobytes(), digest_size=16, key=shape).digest() for row in levels)
        return [File(self._sent.setdefault(image, Sent()), name, row) for image, name, row in zip(ids, named, levels, strict=True)]


def sketch(levels: NDArray[np.uint8]) -> Floats:
    """Levels (d,) -> (BUCKETS,): squared distances between sketches are on average those between the levels.

    Source: Charikar, Chen & Farach-Colton, "Finding Frequent Items in Data Streams", ICALP 2002 (the count sketch).

    >>> a, b = np.zeros(30000, np.uint8), np.full(30000, 2, np.uint8)
    >>> round(float(np.sqrt(np.square(sketch(a) - sketch(b)).sum() / 30000)), 1)
    1.9
    """
    signed = np.zeros(len(levels) + -len(levels) % BUCKETS, np.float32)
    np.multiply(levels, _signs(len(levels)), out=signed[: len(levels)])
    return signed.reshape(-1, BUCKETS).sum(0)  # of whole numbers below 2^24, so exact in any order


@cache
def _signs(entries: int) -> Floats:
    return np.random.default_rng(entries).choice(np.array([-1, 1], np.float32), entries)
