"""Figures of an image by which real and generated ones differ at large: tone, detail at three scales, and how like neighbours are.

Source: Simoncelli, "Statistical Modeling of Photographic Images", in Handbook of Image and Video Processing, 2005 (energy, kurtosis and
correlation of the bands of natural images).
"""

from __future__ import annotations

import torch
from torch import Tensor

from redteam.imaging.denoising import local_mean

SCALES = (3, 7, 15)  # sides of the means between which a band lies, pixels
LEAST = (0.1 / 255) ** 2  # energy below which a band is empty: less than rounding leaves


def moments(image: Tensor) -> Tensor:
    """Image (3, h, w) in [0, 1] -> (8,) float64: mean, log contrast, log energy of three bands, log kurtosis and correlation of the finest, saturation.

    >>> noise = 0.5 + 0.01 * torch.randn(1, 64, 64, generator=torch.Generator().manual_seed(0)).expand(3, 64, 64)
    >>> found = moments(noise); round(found[0].item(), 2), round(found[6].item(), 1), round(found[7].item(), 1)
    (0.5, -0.2, 0.0)
    """
    grey = image.double().mean(0)
    means = [grey, *(local_mean(grey, side) for side in SCALES)]
    bands = [finer - coarser for finer, coarser in zip(means, means[1:], strict=False)]
    energies = torch.stack([band.square().mean() for band in bands])
    fine = bands[0]
    kurtosis = fine.pow(4).mean() / energies[0].square().clamp(min=LEAST**2)
    alike = (fine * fine.roll(1, 0) + fine * fine.roll(1, 1)).mean() / (2 * energies[0]).clamp(min=2 * LEAST)
    saturation = (image.amax(0) - image.amin(0)).double().mean()
    spread = grey.var(correction=0)
    logs = torch.stack([spread, *energies]).clamp(min=LEAST).log()
    return torch.cat([grey.mean()[None], logs, kurtosis.clamp(min=0.01).log()[None], alike[None], saturation[None]])
