"""Gaussian blur as sums of shifted images, and the median.

Sums and slices instead of a convolution: the bits of an image then do not depend on the batch around it, and the
backward pass is deterministic on every device.
"""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor

ROUNDING = 1e-6  # float32 sums of weights that add to 1 leave [0, 1] by less than this


def gaussian_kernel(sigma: float) -> Tensor:
    """Standard deviation in pixels -> (2 ceil(3 sigma) + 1,) float64 weights that add to 1; sigma 0 is the single weight 1.

    >>> [round(w, 4) for w in gaussian_kernel(0.5).tolist()]
    [0.0003, 0.1065, 0.7866, 0.1065, 0.0003]
    """
    if not 0 <= sigma < math.inf:
        raise ValueError(f"gaussian_kernel: sigma must be >= 0 and finite, got {sigma}")
    radius = math.ceil(3 * sigma)
    offsets = torch.arange(-radius, radius + 1, dtype=torch.float64)
    weights = torch.exp(-0.5 * (offsets / sigma).square()) if sigma else torch.ones(1, dtype=torch.float64)
    return weights / weights.sum()


def gaussian_blur(pixels: Tensor, sigma: float) -> Tensor:
    """Pixels (..., h, w) in [0, 1] and a standard deviation in pixels -> the same shape and range, blurred; differentiable.

    Borders reflect without repeating the edge, as often as a small image needs; sigma 0 changes nothing.

    >>> impulse = torch.zeros(1, 1, 1, 5); impulse[..., 2] = 1
    >>> [round(x, 4) for x in gaussian_blur(impulse, 0.5).flatten().tolist()]
    [0.0005, 0.1065, 0.7866, 0.1065, 0.0005]
    """
    kernel = gaussian_kernel(sigma)
    radius = len(kernel) // 2
    padded = reflect(reflect(pixels, radius, dim=-1), radius, dim=-2)
    return clip(filter_valid(padded, kernel))


def median(pixels: Tensor, size: int) -> Tensor:
    """Pixels (n, c, h, w) in [0, 1] -> the same shape, each the median of the size x size pixels about it; borders reflect; no gradient.

    >>> median(torch.tensor([[0.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]]).view(1, 1, 3, 3), 3).sum().item()
    0.0
    """
    if size < 1 or size % 2 == 0:
        raise ValueError(f"median: size must be odd and at least 1, got {size}")
    pixels = pixels.detach()
    padded = reflect(reflect(pixels, size // 2, dim=-1), size // 2, dim=-2)
    rows = [image.unfold(-2, size, 1).unfold(-2, size, 1).flatten(-2).median(-1).values for image in padded]  # one image at a time: size^2 copies
    return torch.stack(rows) if rows else pixels


def filter_valid(pixels: Tensor, kernel: Tensor) -> Tensor:
    """Pixels (..., h, w) and an odd, symmetric kernel (k,) -> (..., h - k + 1, w - k + 1), filtered along both axes without padding.

    >>> filter_valid(torch.arange(9.0).view(1, 1, 3, 3), torch.tensor([0.25, 0.5, 0.25])).item()
    4.0
    """
    if min(pixels.shape[-2:]) < len(kernel):
        raise ValueError(f"filter_valid: images must be at least {len(kernel)} pixels high and wide, got {tuple(pixels.shape[-2:])}")
    for dim in (-1, -2):
        length = pixels.shape[dim] - len(kernel) + 1
        shifted = (weight * pixels.narrow(dim, at, length) for at, weight in enumerate(kernel.tolist()))
        pixels = functools.reduce(torch.add, shifted)
    return pixels


def reflect(pixels: Tensor, by: int, dim: int) -> Tensor:
    """Pixels of any shape -> `by` more on both sides of an axis, mirrored about the edge pixel, again and again where it is short.

    >>> reflect(torch.tensor([1.0, 2.0, 3.0]), 3, dim=0).tolist()
    [2.0, 3.0, 2.0, 1.0, 2.0, 3.0, 2.0, 1.0, 2.0]
    """
    while by > 0:
        length = pixels.shape[dim]
        if length == 1:
            return torch.cat([pixels] * (2 * by + 1), dim)
        step = min(by, length - 1)
        before, after = pixels.narrow(dim, 1, step).flip(dim), pixels.narrow(dim, length - 1 - step, step).flip(dim)
        pixels, by = torch.cat([before, pixels, after], dim), by - step
    return pixels


def clip(pixels: Tensor) -> Tensor:
    """Any values -> [0, 1]; the gradient is that of a clamp, except that rounding just outside does not stop it.

    A white area comes out of a filter at 1.0000001 as easily as at 1; a plain clamp would hide it from the attacker.

    >>> clip(torch.tensor([-0.5, 0.25, 1.0000001])).tolist()
    [0.0, 0.25, 1.0]
    """
    near = pixels.clamp(-ROUNDING, 1 + ROUNDING)
    return near + (near.clamp(0, 1) - near).detach()
