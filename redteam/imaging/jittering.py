"""Resampling on a grid whose points were shaken, so that no pixel repeats its neighbour's weights in a rhythm.

Source: Kirchner and Boehme, "Hiding Traces of Resampling in Digital Images", IEEE TIFS 3, 2008, section IV-B (geometric distortion, held
back at edges).
Deviation: without the paper's second path, which median-filters the low frequencies and leaves traces of its own.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from redteam.imaging.filters import clip, reflect


def shaken_resample(image: Tensor, height: int, width: int, offsets: Tensor) -> Tensor:
    """Image (c, h, w) in [0, 1] and offsets (2, height, width), down and across in old pixels -> (c, height, width), bicubic, borders mirrored.

    >>> image = torch.arange(4.0).view(1, 1, 4).expand(1, 3, 4) / 4
    >>> shaken_resample(image, 3, 4, torch.zeros(2, 3, 4))[0, 0].tolist()
    [0.0, 0.25, 0.5, 0.75]
    """
    rows, columns = ((torch.arange(count, dtype=torch.float64) + 0.5) * (old / count) - 0.5 for old, count in zip(image.shape[-2:], (height, width), strict=True))
    shaken = rows[:, None] + offsets[0].double().cpu(), columns + offsets[1].double().cpu()
    down, across = ((2 * at + 1) / old - 1 for at, old in zip(shaken, image.shape[-2:], strict=True))  # from -1 to 1 over the image
    grid = torch.stack([across, down], -1).to(image)
    return clip(functional.grid_sample(image[None], grid[None], mode="bicubic", padding_mode="reflection", align_corners=False)[0])


def edges(image: Tensor) -> Tensor:
    """Image (3, h, w) in [0, 1] -> (2, h, w) in [0, 1]: how strong the edges within a pixel are across which a vertical and a horizontal shift would show.

    >>> step = torch.zeros(3, 5, 6); step[..., 3:] = 1
    >>> edges(step)[:, 2].tolist()
    [[0.0, 0.0, 0.0, 0.0, 0.0, 0.0], [0.0, 1.0, 1.0, 1.0, 1.0, 0.0]]
    """
    grey = reflect(reflect(image.mean(0), 1, -1), 1, -2)
    down = (grey[2:] - grey[:-2]).abs()
    across = (grey[:, 2:] - grey[:, :-2]).abs()
    strength = torch.stack([(down[:, :-2] + 2 * down[:, 1:-1] + down[:, 2:]) / 4, (across[:-2] + 2 * across[1:-1] + across[2:]) / 4])
    return functional.max_pool2d(strength[None], 3, stride=1, padding=1)[0]  # a bicubic kernel reaches that far
