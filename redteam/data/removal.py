"""Removal: something in a photograph disappears, and what surrounds it is continued over its place.

Source: Pérez, Gangnet and Blake, "Poisson Image Editing", ACM TOG 22(3), 2003 (blending); Pritch, Kav-Venaki and Peleg, "Shift-Map Image
Editing", ICCV 2009 (a hole is filled with pixels of the same picture, all at a few offsets).
Deviation: the hole is cut into sectors and each takes the one offset that fits its part of the border best, out of all that there are,
where the paper optimises an offset for every pixel.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import fft, ndimage

from redteam.data.healing import STEPS, differences, heal
from redteam.data.splice import region
from redteam.data.surfaces import F32

SHAPES = 3  # outlines that are tried at every place of the frame
LIKE_BORDER = 0.5  # weight of the inside of a source against its border


@dataclass(frozen=True)
class _Fill:
    """A hole and where it is filled from.

    inside:  the hole, (h, w) bool
    sectors: number of the sector, (h, w)
    offsets: of each sector, (rows, columns)
    misfit:  how ill the sources fit for what is gained, in levels
    """

    inside: np.ndarray
    sectors: np.ndarray
    offsets: np.ndarray
    misfit: float


def removal(image: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Remove something that stands out and fill its place from its surroundings.

    (h, w, 3) uint8 -> forged (h, w, 3) uint8, mask (h, w) uint8 of 0 and 255. The place covers 2 to 12% of the image, and less where no
    source of its size is free; outside the mask the image is untouched.
    """
    smooth = ndimage.gaussian_filter(image.astype(F32), (0.7, 0.7, 0))
    planes = fft.rfft2(np.concatenate([smooth.transpose(2, 0, 1), (smooth**2).sum(2)[None]]))
    share, fills = float(rng.uniform(0.025, 0.12)), []
    while not fills:
        outlines = [region(rng, *smooth.shape[:2], share=share) for _ in range(SHAPES)]
        fills = [fill for outline in outlines if (fill := _fill(smooth, planes, outline, rng))]
        share *= 0.7
    fill = min(fills, key=lambda fill: fill.misfit)
    return heal(image, fill.inside, _wanted(image, fill)), np.where(fill.inside, 255, 0).astype(np.uint8)


def _fill(smooth: np.ndarray, planes: np.ndarray, outline: np.ndarray, rng: np.random.Generator) -> _Fill | None:
    """The best that can be done with an outline; None where there is no source of its size."""
    stands_out, inside = _placed(planes, outline)
    sectors = _sectors(inside, rng)
    found = [_offset(smooth, inside, sectors == number) for number in range(sectors.max() + 1)]
    if None in found:
        return None
    return _Fill(inside, sectors, np.array([offset for offset, _ in found]), max(misfit for _, misfit in found) / (0.1 + stands_out))


def _placed(planes: np.ndarray, outline: np.ndarray) -> tuple[float, np.ndarray]:
    """How much the outline stands out where it does so most, and the outline there; planes are the spectra of the colours and of the sum of their squares."""
    ring = _ring(outline)
    inner, outer = (fft.irfft2(planes * fft.rfft2(part.astype(F32)).conj(), s=outline.shape) / part.sum() for part in (outline, ring))
    spread = np.sqrt(np.maximum(outer[3] - (outer[:3] ** 2).sum(0), 0))
    stands_out = np.linalg.norm(inner[:3] - outer[:3], axis=0) / (8 + spread)
    rows, cols = np.nonzero(outline | ring)
    moves = [np.arange(-at.min(), side - at.max()) for at, side in zip((rows, cols), outline.shape, strict=True)]  # that keep it in the frame
    kept = stands_out[np.ix_(*moves)]
    best = np.unravel_index(np.argmax(kept), kept.shape)
    return float(kept[best]), np.roll(outline, [int(move[n]) for move, n in zip(moves, best, strict=True)], axis=(0, 1))


def _ring(inside: np.ndarray) -> np.ndarray:
    """The surroundings that a fill must fit."""
    return ndimage.binary_dilation(inside, iterations=max(3, round(min(inside.shape) / 40))) & ~inside


def _sectors(inside: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The frame cut like a cake about the region's middle, (h, w) number of the sector."""
    rows, cols = np.nonzero(inside)
    count, start = int(rng.integers(1, 5)), float(rng.uniform(0, 2 * np.pi))
    y, x = np.ogrid[: inside.shape[0], : inside.shape[1]]
    turn = np.mod(np.arctan2(y - rows.mean(), x - cols.mean()) - start, 2 * np.pi)
    return np.minimum((turn * (count / (2 * np.pi))).astype(np.int64), count - 1)


def _offset(smooth: np.ndarray, inside: np.ndarray, sector: np.ndarray) -> tuple[tuple[int, int], float] | None:
    """Where the sector's part of the hole is filled from, (rows, columns), and its misfit in levels.

    It is the place whose border fits best and whose inside is most like that border, so that no other object comes in: least squares over
    all places in the frame and outside of the hole. None where no such place is as large.
    """
    hole, ring = inside & sector, _ring(inside) & sector
    shape = ndimage.binary_dilation(hole | ring)
    rows, cols = np.nonzero(shape)
    size = [fft.next_fast_len(n + int(np.ptp(at)) + 1, real=True) for n, at in zip(inside.shape, (rows, cols), strict=True)]
    taken = np.ones(size, F32)  # what lies beyond the frame is taken
    taken[: inside.shape[0], : inside.shape[1]] = inside
    overlap = fft.irfft2(fft.rfft2(taken) * fft.rfft2(shape.astype(F32), s=size).conj(), s=size)
    if overlap.min() > 0.5:
        return None
    near = smooth[ring].mean(0) if ring.any() else smooth.mean((0, 1))
    target = np.where(ring[..., None], smooth, near)  # the hole should look like its border
    weight = ring + hole * F32(LIKE_BORDER * ring.sum() / max(hole.sum(), 1))
    sought = np.concatenate([weight[None], -2 * (weight[..., None] * target).transpose(2, 0, 1)])
    given = np.concatenate([(smooth**2).sum(2)[None], smooth.transpose(2, 0, 1)])
    cost = fft.irfft2((fft.rfft2(given, s=size) * fft.rfft2(sought, s=size).conj()).sum(0), s=size)
    cost = np.where(overlap < 0.5, cost + (weight[..., None] * target**2).sum(), np.inf)
    at = np.array(np.unravel_index(np.argmin(cost), cost.shape))
    misfit = float(np.sqrt(max(cost[tuple(at)], 0) / max(weight.sum(), 1)))
    beyond = at > np.array(inside.shape) - 1 - [rows.max(), cols.max()]  # spectra go round: these offsets are negative
    return tuple(int(n) for n in np.where(beyond, at - size, at)), misfit


def _wanted(image: np.ndarray, fill: _Fill) -> dict[tuple[int, int], np.ndarray]:
    """The differences between neighbours at the sources; across a cut the mean of both sides', so that no cut shows."""
    inside, sectors, offsets = fill.inside, fill.sectors, fill.offsets
    rows, cols = np.nonzero(inside)
    own = offsets[sectors[rows, cols]]
    wanted = {}
    for step in STEPS:
        there = np.clip(rows + step[0], 0, inside.shape[0] - 1), np.clip(cols + step[1], 0, inside.shape[1] - 1)
        other = np.where(inside[there][:, None], offsets[sectors[there]], own)
        here = [differences(image, rows + offset[:, 0], cols + offset[:, 1], step) for offset in (own, other)]
        wanted[step] = (here[0] + here[1]) / 2
    return wanted
