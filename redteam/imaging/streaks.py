"""What a median filter leaves, equal neighbours in streaks, and noise that is just strong enough to break them up.

Source: Kirchner and Fridrich, "On Detection of Median Filtering in Digital Images", SPIE Media Forensics and Security 2010 (the ratio of
differences 0 and 1); Fan, Wang, Cayre and Xiong, "Median Filtered Image Quality Enhancement and Anti-Forensics via Variational
Deconvolution", IEEE TIFS 10, 2015 (a median as a convolution that may be undone, and noise for what is left).
Deviation: the convolution is a mixture of the pixel and its neighbourhood's mean, which has an exact inverse.
"""

from __future__ import annotations

import torch
from torch import Tensor

from redteam.imaging.denoising import local_mean
from redteam.imaging.grid import to_levels

HALVINGS = 8  # of the noise's range: to half a percent of it
ROUNDS = 20  # of a fixed point that comes nearer by share / (1 - share) each


def streaking(levels: Tensor) -> float:
    """Levels (..., h, w) -> how many neighbours are equal for each that differ by one level up or down, halved; 1 in a broad histogram.

    Pixels that are black or white say nothing.

    >>> streaking(torch.tensor([[5.0, 5.0, 6.0, 6.0, 5.0]]))
    2.0
    """
    equal = one = 0
    for dim in (-1, -2):
        length = levels.shape[dim] - 1
        first, second = levels.narrow(dim, 0, length), levels.narrow(dim, 1, length)
        inside = (first > 0) & (first < 255) & (second > 0) & (second < 255)
        step = (first - second).abs()
        equal, one = equal + int(((step == 0) & inside).sum()), one + int(((step == 1) & inside).sum())
    return 2 * equal / max(one, 1)


def unmixed(image: Tensor, side: int, share: float) -> Tensor:
    """Image (c, h, w) that is (1 - share) of a picture and `share` of its mean over side x side pixels -> that picture, by fixed-point iteration.

    >>> sharp = torch.rand(1, 16, 16, generator=torch.Generator().manual_seed(0))
    >>> torch.allclose(unmixed(0.7 * sharp + 0.3 * local_mean(sharp, 3), 3, 0.3), sharp, atol=1e-5)
    True
    """
    picture = image
    for _ in range(ROUNDS):
        picture = (image - share * local_mean(picture, side)) / (1 - share)
    return picture


def broken_up(image: Tensor, normal: Tensor, ratio: float, most: float) -> Tensor:
    """Image (c, h, w) and normal numbers of its shape -> the image plus the least noise that brings its streaking to `ratio`; at most of deviation `most`.

    The noise is as strong again where the image is busy, and half as strong where it is flat.

    >>> flat = torch.full((3, 32, 32), 0.5); normal = torch.randn(3, 32, 32, generator=torch.Generator().manual_seed(0))
    >>> round(streaking(to_levels(broken_up(flat, normal, 2.0, 4 / 255))), 1)
    2.0
    """
    busy = (image - local_mean(image, 3)).abs()
    noise = most * normal * (1 + busy / busy.mean().clamp(min=1e-9)).clamp(max=3) / 2
    low, high = 0.0, 1.0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        enough = streaking(to_levels((image + middle * noise).clamp(0, 1))) <= ratio
        low, high = (low, middle) if enough else (middle, high)
    return (image + high * noise).clamp(0, 1)
