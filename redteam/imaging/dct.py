"""The orthonormal discrete cosine transform of whole images or of square blocks, and bands of its frequencies.

Source: Ahmed, Natarajan and Rao, "Discrete Cosine Transform", IEEE Trans. Computers 1974; in blocks of 8 as in JPEG, ITU-T T.81, A.3.3.
Deviation: what is left at the right and at the bottom of an image that blocks do not fill makes smaller blocks, so that the transform is
orthonormal at every size.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor


def dct(x: Tensor, block: int | None = None) -> Tensor:
    """(n, c, h, w) -> coefficients of the same shape, each standing where its block does; of the whole image without `block`. Differentiable.

    >>> dct(torch.ones(1, 1, 4, 4)).round(decimals=4).flatten().tolist()[:6]
    [4.0, 0.0, 0.0, 0.0, 0.0, 0.0]
    """
    rows, columns = _matrices(x, block)
    return _between(rows, x, columns.T)


def idct(coefficients: Tensor, block: int | None = None) -> Tensor:
    """The inverse of `dct`.

    >>> idct(dct(torch.eye(3).view(1, 1, 3, 3), 2), 2).round(decimals=4).flatten().abs().tolist()
    [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
    """
    rows, columns = _matrices(coefficients, block)
    return _between(rows.T, coefficients, columns)


def band(height: int, width: int, low: float, high: float, block: int | None = None) -> Tensor:
    """(height, width) bool: the coefficients whose frequency lies in [low, high), or up to 1 where high is 1.

    A frequency is the mean of its vertical and its horizontal part, as the zigzag order of JPEG has it: 0 is the constant, 1 the finest checkerboard.

    >>> band(4, 4, 0, 0.5).int().tolist()
    [[1, 1, 1, 0], [1, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]]
    """
    frequency = (_frequencies(height, block or height)[:, None] + _frequencies(width, block or width)) / 2
    return (frequency >= low) & ((frequency < high) | (high >= 1))


def filter_band(x: Tensor, kept: Tensor, block: int | None = None) -> Tensor:
    """(n, c, h, w) and the kept coefficients (h, w) bool -> the part of x in that band; the rest is orthogonal to it."""
    return idct(dct(x, block) * kept.to(x), block)


def _frequencies(length: int, block: int) -> Tensor:
    """(length,): 0 to 1 inside each block."""
    at = torch.arange(length)
    size = torch.full((length,), min(block, length))
    size[length - length % block :] = max(length % block, 1)
    return (at % block) / (size - 1).clamp(min=1)


def _matrices(x: Tensor, block: int | None) -> tuple[Tensor, Tensor]:
    height, width = x.shape[-2:]
    return _matrix(height, block or height).to(x), _matrix(width, block or width).to(x)


def _between(left: Tensor, x: Tensor, right: Tensor) -> Tensor:
    """left @ x @ right for each plane by itself, so that the bits of an image do not hang on the batch around it."""
    planes = x.flatten(0, 1)
    n = len(planes)
    return torch.bmm(torch.bmm(left.expand(n, *left.shape), planes), right.expand(n, *right.shape)).view_as(x)


@cache
def _matrix(length: int, block: int) -> Tensor:
    """(length, length) float64, orthonormal: row k of a block holds its cosine of frequency k."""
    sizes = [block] * (length // block) + ([length % block] if length % block else [])
    return torch.block_diag(*(_cosines(size) for size in sizes))


@cache
def _cosines(n: int) -> Tensor:
    k, i = torch.arange(n, dtype=torch.float64)[:, None], torch.arange(n, dtype=torch.float64)
    waves = torch.cos(torch.pi * k * (2 * i + 1) / (2 * n)) * (2 / n) ** 0.5
    waves[0] /= 2**0.5
    return waves
