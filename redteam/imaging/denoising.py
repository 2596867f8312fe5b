"""A noise residual by local Wiener filters, and the fingerprint that a sensor leaves in many of them.

Source: Mihcak, Kozintsev and Ramchandran, "Spatially Adaptive Statistical Modeling of Wavelet Image Coefficients and its Application to
Denoising", ICASSP 1999 (the smallest of several windows' variances); Chen, Fridrich, Goljan and Lukas, "Determining Image Origin and
Integrity Using Sensor Noise", IEEE TIFS 3, 2008, eq. 6 (the fingerprint's likelihood) and section III-B (means of rows and columns).
Deviation: the filter works on pixels instead of wavelet coefficients.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from redteam.imaging.filters import filter_valid, reflect

WINDOWS = (3, 5, 7, 9)  # sides of the neighbourhoods, pixels


def local_mean(pixels: Tensor, side: int) -> Tensor:
    """Pixels (..., h, w) -> the same shape, the mean of the side x side pixels about each; borders reflect.

    >>> local_mean(torch.tensor([[0.0, 3.0, 6.0]]), 3).round(decimals=4).tolist()
    [[2.0, 3.0, 4.0]]
    """
    padded = reflect(reflect(pixels, side // 2, dim=-1), side // 2, dim=-2)
    return filter_valid(padded, torch.full((side,), 1 / side, dtype=torch.float64))


def residual(pixels: Tensor, sigma: float) -> Tensor:
    """Pixels (n, c, h, w) and the deviation of the noise -> the noise (n, c, h, w) that an adaptive Wiener filter takes away.

    >>> flat = torch.full((1, 1, 8, 8), 0.5); flat[0, 0, 4, 4] = 0.51
    >>> round(residual(flat, 0.02)[0, 0, 4, 4].item(), 4)
    0.0089
    """
    mean = local_mean(pixels, WINDOWS[0])
    square = (pixels - mean).square()
    variances = (local_mean(square, side) for side in WINDOWS)
    signal = (functools.reduce(torch.minimum, variances) - sigma**2).clamp(min=0)
    return (pixels - mean) * (sigma**2 / (signal + sigma**2))


def zero_mean(plane: Tensor) -> Tensor:
    """(..., h, w) -> the same without the mean of each row and each column, which lenses, demosaicing and codecs share between cameras.

    >>> zero_mean(torch.tensor([[1.0, 2.0], [3.0, 4.0]])).abs().max().item()
    0.0
    """
    plane = plane - plane.mean(-1, keepdim=True)
    return plane - plane.mean(-2, keepdim=True)


def projection(noise: Tensor, pattern: Tensor) -> Tensor:
    """Noise and pattern (n, c, h, w) -> (n, 1, 1, 1), how much of the pattern is in each noise, by least squares; 0 where the pattern is.

    >>> projection(torch.full((1, 1, 2, 2), 3.0), torch.full((1, 1, 2, 2), 2.0)).item()
    1.5
    """
    inner, length = ((noise * pattern).flatten(1).double().sum(1), pattern.square().flatten(1).double().sum(1))
    return (inner / length.clamp(min=1e-30)).to(noise)[:, None, None, None]
