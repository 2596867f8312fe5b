"""Rotation about the centre, and the largest upright rectangle that then shows no corner.

Source: the inscribed rectangle by elementary geometry: it touches the rotated frame with two corners, or with four.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from redteam.imaging.filters import clip

Sampling = Literal["bilinear", "bicubic", "nearest"]


def rotate(pixels: Tensor, degrees: float, kernel: Sampling = "bilinear") -> Tensor:
    """Pixels (n, c, h, w) in [0, 1] -> the same shape, turned counter-clockwise about the centre; what was outside is mirrored in; differentiable.

    >>> rotate(torch.arange(9.0).view(1, 1, 3, 3) / 8, 90)[0, 0].mul(8).round().tolist()
    [[2.0, 5.0, 8.0], [1.0, 4.0, 7.0], [0.0, 3.0, 6.0]]
    """
    height, width = pixels.shape[-2:]
    turn = math.radians(degrees)
    cos, sin = math.cos(turn), math.sin(turn)
    y = torch.arange(height, dtype=torch.float64, device="cpu") - (height - 1) / 2
    x = torch.arange(width, dtype=torch.float64, device="cpu") - (width - 1) / 2
    from_x, from_y = cos * x - sin * y[:, None], sin * x + cos * y[:, None]  # (h, w) each: where a new pixel comes from
    grid = torch.stack([2 * from_x / width, 2 * from_y / height], dim=-1).to(pixels)
    rows = [functional.grid_sample(row[None], grid[None], mode=kernel, padding_mode="reflection", align_corners=False) for row in pixels]
    return clip(torch.cat(rows)) if rows else pixels


def inscribed(height: int, width: int, degrees: float) -> tuple[int, int]:
    """Height and width of the largest upright rectangle, centred, inside an image that was turned; at least 1 x 1.

    >>> inscribed(100, 100, 45), inscribed(100, 200, 0), inscribed(100, 200, 90)
    ((70, 70), (100, 200), (100, 100))
    """
    turn = math.radians(degrees % 180)
    sin, cos = abs(math.sin(turn)), abs(math.cos(turn))
    long, short = max(height, width), min(height, width)
    if short <= 2 * sin * cos * long or math.isclose(sin, cos):  # two corners touch the long sides
        half = short / 2
        wide, high = (half / max(sin, 1e-12), half / max(cos, 1e-12)) if width >= height else (half / max(cos, 1e-12), half / max(sin, 1e-12))
    else:
        spread = cos * cos - sin * sin
        wide, high = (width * cos - height * sin) / spread, (height * cos - width * sin) / spread
    return _whole(min(high, height)), _whole(min(wide, width))


def _whole(length: float) -> int:
    return max(1, math.floor(length + 1e-6))
