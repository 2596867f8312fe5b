"""Change the size of images: differentiably, or to the bit as an image editor would.

Source: Keys, "Cubic Convolution Interpolation for Digital Image Processing", IEEE TASSP 29, 1981; Duchon, "Lanczos Filtering
in One and Two Dimensions", J. Applied Meteorology 18, 1979; weights as in Pillow's `Resample.c`.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from redteam.imaging.filters import clip
from redteam.imaging.grid import from_levels, to_levels

Kernel = Literal["bilinear", "bicubic", "nearest", "lanczos"]

LANCZOS_LOBES = 3


def resize(pixels: Tensor, height: int, width: int, kernel: Kernel = "bilinear", antialias: bool = True) -> Tensor:
    """Pixels (n, c, h, w) in [0, 1] -> (n, c, height, width) in [0, 1]; differentiable, and unchanged where the size is.

    With antialias the kernel widens as the image shrinks, as in Pillow; bicubic then has Keys' a = -0.5, else torch's -0.75.
    Bicubic and Lanczos overshoot at edges and are clipped; nearest takes no antialias and
    picks the pixel under the new pixel's centre, as Pillow does but for rounding where the centre lies between two.

    >>> resize(torch.tensor([[[[0.0, 1.0, 0.0, 1.0]]]]), 1, 2).flatten().tolist()
    [0.4285714328289032, 0.5714285969734192]
    """
    _check("resize", height, width, kernel)
    if (height, width) == tuple(pixels.shape[-2:]):
        return pixels
    if kernel == "nearest":
        return functional.interpolate(pixels, (height, width), mode="nearest-exact")
    if kernel == "lanczos":
        rows = lanczos_weights(pixels.shape[-2], height, antialias).to(pixels)
        columns = lanczos_weights(pixels.shape[-1], width, antialias).to(pixels)
        return clip(rows @ pixels @ columns.T)
    return clip(functional.interpolate(pixels, (height, width), mode=kernel, antialias=antialias, align_corners=False))


def pillow_resize(pixels: Tensor, height: int, width: int, kernel: Kernel = "bilinear") -> Tensor:
    """Pixels (n, 3, h, w) in [0, 1] -> (n, 3, height, width) on the 8-bit grid, to the bit what Pillow writes; no gradient.

    >>> (pillow_resize(torch.tensor([[[[0.0, 1.0, 0.0, 1.0]]]]).expand(1, 3, 1, 4), 1, 2)[0, 0] * 255).tolist()
    [[109.0, 146.0]]
    """
    _check("pillow_resize", height, width, kernel)
    levels = to_levels(pixels).to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
    resample = Image.Resampling[kernel.upper()]
    resized = [np.asarray(Image.fromarray(image).resize((width, height), resample)) for image in levels]
    stacked = np.stack(resized) if resized else np.empty((0, height, width, 3), np.uint8)
    return from_levels(torch.from_numpy(stacked).permute(0, 3, 1, 2).contiguous()).to(pixels.device)


def centre_crop(pixels: Tensor, size: int | tuple[int, int], pad_value: float = 0.0) -> Tensor:
    """Pixels (..., h, w) -> the middle (..., size, size), or (..., *size) for (height, width); padded with a constant where smaller.

    Odd remainders fall as in torchvision's CenterCrop; differentiable.

    >>> centre_crop(torch.arange(5.0).view(1, 5), (1, 2)).tolist()
    [[2.0, 3.0]]
    """
    height, width = (size, size) if isinstance(size, int) else size
    if height < 1 or width < 1:
        raise ValueError(f"centre_crop: size must be at least 1 x 1, got {height} x {width}")
    missing = [max(wanted - have, 0) for wanted, have in zip((width, height), (pixels.shape[-1], pixels.shape[-2]), strict=True)]
    if any(missing):
        sides = [part for gap in missing for part in (gap // 2, (gap + 1) // 2)]
        pixels = functional.pad(pixels, sides, value=pad_value)
    top, left = round((pixels.shape[-2] - height) / 2), round((pixels.shape[-1] - width) / 2)  # halves go to the even side
    return pixels[..., top : top + height, left : left + width]


def lanczos_weights(before: int, after: int, antialias: bool = True) -> Tensor:
    """Lengths in pixels -> (after, before) float64; row i holds the weights of the old pixels in new pixel i, and adds to 1.

    >>> [round(w, 3) for w in lanczos_weights(4, 2)[0].tolist()]
    [0.464, 0.464, 0.141, -0.069]
    """
    scale = before / after
    stretch = max(scale, 1.0) if antialias else 1.0
    centres = (torch.arange(after, dtype=torch.float64) + 0.5) * scale
    at = (torch.arange(before, dtype=torch.float64) + 0.5 - centres[:, None]) / stretch  # (after, before)
    weights = torch.where(at.abs() < LANCZOS_LOBES, torch.sinc(at) * torch.sinc(at / LANCZOS_LOBES), 0.0)
    return weights / weights.sum(dim=1, keepdim=True)


def _check(where: str, height: int, width: int, kernel: str) -> None:
    if height < 1 or width < 1:
        raise ValueError(f"{where}: size must be at least 1 x 1, got {height} x {width}")
    if kernel not in get_args(Kernel):
        raise ValueError(f"{where}: kernel must be one of {', '.join(get_args(Kernel))}, got {kernel!r}")
