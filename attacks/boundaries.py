"""What decision attacks have in common: where they start, how they find the boundary between two files, and how they feel which way it faces.

Each function is a part of a search: it yields files and is sent whether the target misjudges them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator
from typing import TypeVar

import torch
from torch import Tensor

from redteam.imaging.dct import band, filter_band
from redteam.imaging.filters import gaussian_blur
from redteam.imaging.grid import level_l2, round_nearest
from redteam.imaging.norms import Norm, unit
from redteam.imaging.resampling import resize
from redteam.imaging.settling import settle
from redteam.seeding import SampleRNG

Found = TypeVar("Found")
Part = Generator[Tensor, bool, Found]
Band = tuple[float, float]

MILD = (1, 2, 4, 8)  # times the mildest blur, noise and coarseness of the ladder
FRESH = 8  # images of plain noise at the end of the ladder
COARSE = 2.0  # levels, root mean square: above it rounding is lost in the perturbation
FINE = 1.0  # levels: no two files that differ by less can be told apart along a path
FAILED = 10  # probes from the first on, until others are made nearer
FEWEST = 8  # entries that a probe moves
REACH = 0.1  # how far probes lie from the boundary, as a share of how far the boundary is from the image


def start(clean: Tensor, rng: SampleRNG) -> Part[Tensor | None]:
    """The first of a fixed ladder of distorted copies (1, 3, h, w) that the target misjudges, mild ones first; None where it misjudges none.

    A forgery detector gives way to noise or blur long before an image has become another one, so this starts far nearer than noise alone would.
    """
    for copy in _ladder(clean, rng):
        file = round_nearest(copy.clamp(0, 1))
        if (yield file):
            return file
    return None


def _ladder(clean: Tensor, rng: SampleRNG) -> Iterator[Tensor]:
    height, width = clean.shape[2:]
    for times in MILD:
        yield gaussian_blur(clean, 0.6 * times)
        yield clean + 6 / 255 * times * rng.randn_like(clean)
        coarse = resize(clean, -(-height // (2 * times)), -(-width // (2 * times)))
        yield resize(coarse, height, width, "nearest")  # as an upsampling generator leaves it
    middle = clean.mean((2, 3), keepdim=True).expand_as(clean)
    yield from (middle, 1 - clean, torch.zeros_like(clean), torch.ones_like(clean))
    for _ in range(FRESH):
        yield rng.rand_like(clean)


class Paths:
    """Files between an image and others, whose distance from the image is what was asked for in spite of rounding."""

    def __init__(self, clean: Tensor, norm: Norm, rng: SampleRNG) -> None:
        self.clean, self.norm = clean, norm
        self._dither = rng.rand_like(clean)  # which entries round up first: else all pixels of an L-infinity ball would jump at once

    def near(self, pixels: Tensor) -> Tensor:
        """Any pixels (1, 3, h, w) -> a file near them, no further from the image than they are (linf: than the next level)."""
        pixels = pixels.clamp(0, 1)
        moved = (pixels - self.clean) * 255
        if self.norm == "linf":
            return round_nearest((self.clean + moved.sign() * (moved.abs() + self._dither).floor() / 255).clamp(0, 1))
        return round_nearest(pixels) if moved.square().mean() > COARSE**2 else settle(pixels, self.clean, "l2", float(moved.norm()) / 255)

    def to(self, file: Tensor) -> Callable[[float], Tensor]:
        """A path from the image (0) to a file (1): straight for l2, for linf all pixels by at most a growing radius."""
        moved = file - self.clean
        most = moved.abs().max()
        if self.norm == "linf":
            return lambda share: self.near(self.clean + moved.clamp(-share * most, share * most))
        return lambda share: self.near(self.clean + share * moved)

    def boundary(self, file: Tensor) -> Part[Tensor]:
        """On the path to a file that succeeds, the first one that does, as nearly as probes around it need to know."""
        path, span = self.to(file), float(level_l2(file, self.clean))
        fails, succeeds = 0.0, 1.0
        while (succeeds - fails) * span > max(FINE, REACH * succeeds * span / math.sqrt(file.numel())):
            middle = (fails + succeeds) / 2
            if (yield (between := path(middle))):
                succeeds, file = middle, between
            else:
                fails = middle
        return file


class Feeling:
    """Which way success lies at the boundary, felt with files around it.

    Source: Chen, Jordan & Wainwright, "HopSkipJumpAttack", IEEE S&P 2020, arXiv:1904.02144, eq. 9 and 16.
    Deviation: the paper's probes are far smaller than a level and would round to nothing; these are in the order of a level, and what counts
    is how the files differ. At that distance boundaries are curved: around a file on the boundary all probes may fail. So the probes' centre
    moves out after each failure and in after each success, and where the first ones agree all the same, later probes stay nearer.
    """

    def __init__(self, clean: Tensor, rms: float, frequencies: Band, rng: SampleRNG) -> None:
        self._clean, self._rms, self._rng = clean, rms, rng
        self._kept, self._nearer = band(*clean.shape[2:], *frequencies), 1.0

    def normal(self, file: Tensor, probes: int) -> Part[Tensor]:
        """The direction (1, 3, h, w) from so many probes; zero where they all agreed."""
        outward, entries = unit(file - self._clean), file.numel()
        centre, stride, signs, moves = 0.0, 0.0, [], []
        while len(signs) < probes:
            rms = max(self._nearer * max(self._rms, REACH * float(level_l2(file, self._clean)) / entries**0.5), (FEWEST / entries) ** 0.5)
            middle = file + centre / 255 * outward
            probe = round_nearest((middle + self._noise(rms)).clamp(0, 1))
            signs.append(1 if (yield probe) else -1)
            moves.append(probe - middle)
            if len(signs) % FAILED == 0 and sum(signs) == -len(signs):
                self._nearer, centre = self._nearer / 2, 0.0
            stride = max(rms / 4, stride * 1.5 if signs[-2:] == 2 * signs[-1:] else stride / 2)
            centre -= stride * signs[-1]
        mean = sum(signs) / probes
        return sum(((sign - mean) * move for sign, move in zip(signs, moves, strict=True)), torch.zeros_like(file))

    def _noise(self, rms: float) -> Tensor:
        """Noise of that size, image units: normal, or few whole levels where normal noise would round to nothing."""
        noise = self._rng.randn_like(self._clean)
        if not self._kept.all():
            noise = filter_band(noise, self._kept)
            noise = noise / noise.square().mean().sqrt()
        if rms >= 0.5:
            return noise * rms / 255
        return noise.sign() * (self._rng.rand_like(noise) < rms**2) / 255
