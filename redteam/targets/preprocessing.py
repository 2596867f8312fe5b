"""The `input` stanza: what a detector's own test script does to an image between the file and the network.

Preprocessing is the result: a published detector fell from AUC .99 to .64 by a resize alone. So each step is declared, and nothing is guessed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from redteam.imaging import resampling

Side = Annotated[int, Field(ge=1)]
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as Pillow's "L"


@dataclass(frozen=True, kw_only=True)
class ResizeStep:
    """Resampling before the network.

    size:      one number for both sides, or [height, width]
    kernel:    of the resampling
    antialias: widen the kernel when shrinking, as Pillow does and OpenCV does not
    fit:       stretch to the size, or bring the shortest side to it and keep the aspect
    """

    size: Side | tuple[Side, Side]
    kernel: Literal["bilinear", "bicubic", "nearest", "lanczos"] = "bilinear"
    antialias: bool = True
    fit: Literal["stretch", "shortest"] = "stretch"

    def __post_init__(self) -> None:
        if self.fit == "shortest" and not isinstance(self.size, int):
            raise ValueError("resize: fit shortest takes one size, got [height, width]")

    def apply(self, pixels: Tensor) -> Tensor:
        """Pixels (n, 3, h, w) -> (n, 3, h', w')."""
        height, width = pixels.shape[2:]
        if self.fit == "shortest":
            shortest = min(height, width)
            goal = self.size * height // shortest, self.size * width // shortest  # the longer side rounds down, as in torchvision
        else:
            goal = (self.size, self.size) if isinstance(self.size, int) else self.size
        return resampling.resize(pixels, *goal, kernel=self.kernel, antialias=self.antialias) if goal != (height, width) else pixels


@dataclass(frozen=True, kw_only=True)
class Input:
    """Pixels in [0, 1], RGB, (n, 3, h, w) -> what the network expects. Steps run in the order of the fields.

    resize:    resampling; none when not given
    crop:      side or [height, width] of the centre crop, padded with zeros where the image is smaller
    channels:  rgb, bgr (OpenCV) or grey (one channel of BT.601 luma)
    range:     what 0 and 1 become: [0, 1], [0, 255], [-1, 1]
    mean:      subtracted after the range, one number a channel
    std:       divided by after the mean, one number a channel
    layout:    nchw, or nhwc for channels last
    max_batch: largest batch that the network takes; 1 for networks that take one image at a time
    """

    resize: ResizeStep | None = None
    crop: Side | tuple[Side, Side] | None = None
    channels: Literal["rgb", "bgr", "grey"] = "rgb"
    range: tuple[float, float] = (0.0, 1.0)
    mean: tuple[float, ...] | None = None
    std: tuple[Annotated[float, Field(gt=0)], ...] | None = None
    layout: Literal["nchw", "nhwc"] = "nchw"
    max_batch: Side | None = None

    def __post_init__(self) -> None:
        count = 1 if self.channels == "grey" else 3
        for name, values in (("mean", self.mean), ("std", self.std)):
            if values is not None and len(values) != count:
                raise ValueError(f"{name} must hold {count} numbers for {self.channels}, got {len(values)}")
        if self.range[0] >= self.range[1]:
            raise ValueError(f"range must rise, got {list(self.range)}")

    def apply(self, pixels: Tensor) -> Tensor:
        """Pixels (n, 3, h, w) in [0, 1] -> the network's input; differentiable."""
        x = self.resize.apply(pixels) if self.resize else pixels
        x = resampling.centre_crop(x, self.crop) if self.crop else x
        x = self._channels(x)
        low, high = self.range
        x = x * (high - low) + low if (low, high) != (0.0, 1.0) else x
        x = x - self._column(self.mean, x) if self.mean else x
        x = x / self._column(self.std, x) if self.std else x
        return x.permute(0, 2, 3, 1) if self.layout == "nhwc" else x

    def _channels(self, x: Tensor) -> Tensor:
        if self.channels == "bgr":
            return x.flip(1)
        return (x * self._column(LUMA, x)).sum(1, keepdim=True) if self.channels == "grey" else x

    @staticmethod
    def _column(values: tuple[float, ...], like: Tensor) -> Tensor:
        return torch.tensor(values, dtype=like.dtype, device=like.device).view(1, -1, 1, 1)
