"""What a file would hold: 8 bits a channel, through the codec that the scenario names, decoded again.

Every score and every success is taken on these pixels ("file-true"). The budget is measured in integer levels before the codec,
since what the codec itself changes happens to an unattacked image too and belongs to the identity arm.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from redteam.component import Quality
from redteam.imaging import codecs, grid


@dataclass(frozen=True, kw_only=True)
class FileFormat:
    """The file that every image is saved to and read from before it is scored.

    format:  png loses nothing, jpeg and webp lose what their encoder loses
    quality: of the lossy encoders
    """

    format: Literal["png", "jpeg", "webp"] = "png"
    quality: Quality = 95

    def save_and_load(self, pixels: Tensor) -> Tensor:
        """Pixels (n, 3, h, w) on the 8-bit grid -> what comes back from the file, on the 8-bit grid."""
        if self.format == "png":
            return pixels  # lossless on the grid: tests hold this against Pillow
        codec = codecs.jpeg if self.format == "jpeg" else codecs.webp
        return codec(pixels, self.quality).to(pixels.device)


@dataclass(frozen=True)
class Budget:
    """How far an attack may move an image.

    norm: linf or l2, over all pixels and channels of one image
    eps:  radius in image units, where pixels lie in [0, 1]
    """

    norm: Literal["linf", "l2"]
    eps: Annotated[float, Field(ge=0)]


def to_grid(pixels: Tensor, clean: Tensor, budget: Budget | None) -> Tensor:
    """Attacked pixels (n, 3, h, w) -> the 8-bit pixels that would be saved.

    Bounded attacks round toward the clean image, so that rounding never leaves the ball (L2: to the nearest grid point inside it).
    Attacks without a budget, and those that change the size, round to the nearest level as an image editor does.
    """
    if budget is None or pixels.shape != clean.shape:
        return grid.round_nearest(pixels)
    if budget.norm == "l2":
        return grid.project_l2_on_grid(pixels, clean, budget.eps)
    return grid.round_toward(pixels, clean)


def within(saved: Tensor, clean: Tensor, budget: Budget | None) -> Tensor:
    """(n,) bool: whether grid pixels keep the budget, measured in integer levels."""
    if budget is None or saved.shape != clean.shape:
        return torch.ones(len(saved), dtype=torch.bool)
    levels = grid.level_linf(saved, clean) if budget.norm == "linf" else grid.level_l2(saved, clean)
    return levels.double().cpu() <= budget.eps * 255 * (1 + 1e-6) + 1e-3
