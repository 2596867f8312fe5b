"""How far two 8-bit images are apart: PSNR, SSIM and the L-infinity and L2 distances.

Images are (n, 3, h, w), uint8 or float in [0, 1]; floats are rounded to the nearest level first, because quality is
measured on what a file holds. Results are (n,) float64 on the device of the first batch.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from redteam.imaging.filters import gaussian_kernel
from redteam.imaging.grid import to_levels

SSIM_SIGMA = 1.5  # pixels; the kernel is then 11 x 11
K1, K2 = 0.01, 0.03
BLOCK = 118  # rows of the window's band matrix: small enough that its zeros cost little

Floats = NDArray[np.float64]


def psnr(a: Tensor, b: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB over all pixels and channels, for a peak of 255; +inf where the images are equal.

    >>> psnr(torch.full((1, 3, 4, 4), 100, dtype=torch.uint8), torch.full((1, 3, 4, 4), 101, dtype=torch.uint8)).item()
    48.1308036086791
    """
    a, b = _levels(a, b)
    error = (a - b).square().flatten(1).mean(dim=1)
    return 10 * torch.log10(255**2 / error)


def ssim(a: Tensor, b: Tensor) -> Tensor:
    """Structural similarity in [-1, 1], mean over channels and over the region where the window fits; 1 where equal.

    NaN for images with a side below 11 pixels, in which no window fits: the caller reports the figure as absent.
    Source: Wang et al., "Image Quality Assessment: From Error Visibility to Structural Similarity", IEEE TIP 13, 2004,
    eq. 13, with its Gaussian window of 11 x 11 and sigma 1.5, K1 = 0.01 and K2 = 0.03.
    Deviation: mean over R, G and B where the paper has luminance; no downsampling.

    >>> round(ssim(torch.zeros(1, 3, 16, 16), torch.full((1, 3, 16, 16), 0.2)).item(), 6)
    0.002494
    """
    a, b = (levels / 255 for levels in _levels(a, b))
    kernel = gaussian_kernel(SSIM_SIGMA).double().numpy()
    if min(a.shape[-2:]) < len(kernel) or not len(a):
        return torch.full((len(a),), torch.nan, dtype=torch.float64, device=a.device)
    pairs = zip(a.cpu().numpy(), b.cpu().numpy(), strict=True)
    return torch.tensor([_similarity(x, y, kernel) for x, y in pairs], dtype=torch.float64, device=a.device)


def linf(a: Tensor, b: Tensor) -> Tensor:
    """Largest difference of any pixel and channel, image units in [0, 1].

    >>> linf(torch.zeros(1, 3, 2, 2), torch.full((1, 3, 2, 2), 8 / 255)).item() == 8 / 255
    True
    """
    a, b = _levels(a, b)
    return (a - b).abs().flatten(1).amax(dim=1) / 255


def l2(a: Tensor, b: Tensor) -> Tensor:
    """Euclidean distance over all pixels and channels of an image, image units.

    >>> round(l2(torch.zeros(1, 3, 2, 2), torch.full((1, 3, 2, 2), 8 / 255)).item(), 6)
    0.108678
    """
    a, b = _levels(a, b)
    return (a - b).square().flatten(1).sum(dim=1).sqrt() / 255


def _similarity(a: Floats, b: Floats, kernel: Floats) -> float:
    """Two images (3, h, w) in [0, 1] -> mean similarity over the places where the window fits; one image at a time stays in the cache."""
    a, b = a.astype(np.float32) - 0.5, b.astype(np.float32) - 0.5  # around 0, so that float32 loses nothing when means are squared
    moments = np.concatenate([a, b, a * a, b * b, a * b])
    mean_a, mean_b, square_a, square_b, product = _windowed(_windowed(moments, kernel).swapaxes(1, 2), kernel).reshape(5, 3, -1)
    spread = square_a - mean_a**2 + square_b - mean_b**2
    structure = (2 * (product - mean_a * mean_b) + K2**2) / (spread + K2**2)
    mean_a, mean_b = mean_a + 0.5, mean_b + 0.5
    luminance = (2 * mean_a * mean_b + K1**2) / (mean_a**2 + mean_b**2 + K1**2)
    return float((luminance * structure).mean(dtype=np.float64))


def _windowed(x: NDArray[np.float32], kernel: Floats) -> NDArray[np.float32]:
    """(n, h, w) -> (n, h - 10, w) weighted by the window along h: block by block as a product with a band matrix, thrice as fast as a correlation."""
    extra = len(kernel) - 1
    band = sum(np.eye(BLOCK, BLOCK + extra, k, dtype=np.float32) * np.float32(weight) for k, weight in enumerate(kernel))
    starts = range(0, x.shape[1] - extra, BLOCK)
    parts = [x[:, start : start + BLOCK + extra] for start in starts]
    return np.concatenate([band[: part.shape[1] - extra, : part.shape[1]] @ part for part in parts], axis=1)


def _levels(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Both as float64 levels 0..255, which differences cannot wrap around and sums hold exactly."""
    if a.shape != b.shape or a.ndim != 4:
        raise ValueError(f"images must both be (n, 3, h, w), got {tuple(a.shape)} and {tuple(b.shape)}")
    both = [x if x.dtype == torch.uint8 else to_levels(x) for x in (a, b)]
    return both[0].double(), both[1].to(both[0].device).double()
