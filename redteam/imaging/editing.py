"""Tone and sharpness as an image editor changes them, to the bit what Pillow writes; no gradient.

Source: Pillow's ImageEnhance and ImageFilter.UnsharpMask; luma is ITU-R BT.601.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from PIL import Image, ImageEnhance, ImageFilter
from torch import Tensor

from redteam.imaging.grid import from_levels, to_levels


def brightness(pixels: Tensor, factor: float) -> Tensor:
    """Pixels (n, 3, h, w) in [0, 1] -> every level times the factor, clipped, on the 8-bit grid; 0 is black, 1 changes nothing.

    >>> (brightness(torch.full((1, 3, 1, 1), 0.4), 1.5)[0, :, 0, 0] * 255).tolist()
    [153.0, 153.0, 153.0]
    """
    return _edited(pixels, lambda image: ImageEnhance.Brightness(image).enhance(factor))


def contrast(pixels: Tensor, factor: float) -> Tensor:
    """Pixels (n, 3, h, w) in [0, 1] -> distances from the image's mean luma times the factor; 0 is grey, 1 changes nothing.

    >>> (contrast(torch.tensor([0.2, 0.6]).view(1, 1, 1, 2).expand(1, 3, 1, 2), 0.5)[0, 0, 0] * 255).tolist()
    [76.0, 127.0]
    """
    return _edited(pixels, lambda image: ImageEnhance.Contrast(image).enhance(factor))


def saturation(pixels: Tensor, factor: float) -> Tensor:
    """Pixels (n, 3, h, w) in [0, 1] -> distances from each pixel's luma times the factor; 0 is a grey image, 1 changes nothing.

    >>> (saturation(torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1), 0.0)[0, :, 0, 0] * 255).tolist()
    [76.0, 76.0, 76.0]
    """
    return _edited(pixels, lambda image: ImageEnhance.Color(image).enhance(factor))


def unsharp_mask(pixels: Tensor, radius: float, amount: float) -> Tensor:
    """Pixels (n, 3, h, w) in [0, 1] -> plus `amount` times what a blur of `radius` pixels takes away, on the 8-bit grid.

    >>> step = torch.tensor([0.4, 0.4, 0.6, 0.6]).view(1, 1, 1, 4).expand(1, 3, 4, 4)
    >>> bool((unsharp_mask(step, 1.0, 1.0)[0, 0, 1].diff() * 255).amax() > 60)
    True
    """
    mask = ImageFilter.UnsharpMask(radius=radius, percent=round(100 * amount), threshold=0)
    return _edited(pixels, lambda image: image.filter(mask))


def _edited(pixels: Tensor, edit: Callable[[Image.Image], Image.Image]) -> Tensor:
    levels = to_levels(pixels).to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
    edited = [np.asarray(edit(Image.fromarray(image))) for image in levels]
    stacked = np.stack(edited) if edited else levels
    return from_levels(torch.from_numpy(stacked).permute(0, 3, 1, 2).contiguous()).to(pixels.device)
