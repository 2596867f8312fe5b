"""Several heads that one picture is shown to: each a target, and a view of the picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from redteam.imaging import codecs, resampling
from redteam.objective import Objective

View = Literal["plain", "jpeg", "crop", "resize"]
QUALITY = 75
KEPT = 0.9  # of each side in the crop
SMALLER = 0.75  # side of the resized image


class Heads:
    """Every objective under every view, for one picture (1, 3, h, w) in the bottom right corner of all the objective's images."""

    def __init__(self, objectives: Sequence[Objective], views: Sequence[View]) -> None:
        self._pairs = [(objective, view) for objective in objectives for view in views]
        self._around = objectives[0].images.pixels

    def worst(self, picture: Tensor) -> float:
        """The largest of the heads' mean margins in log-odds: below 0 all of them are fooled, on average over images. Needs scores."""
        shown = self._shown(picture)
        return max(_mean(objective.margin(seen(shown, view))) for objective, view in self._pairs)

    def worst_and_gradient(self, picture: Tensor) -> tuple[float, Tensor]:
        """The same, and the gradient (1, 3, h, w) of that head's loss in the picture. Needs gradients."""
        slopes = [self._slope(objective, view, picture) for objective, view in self._pairs]
        return max(slopes, key=lambda slope: slope[0])

    def _slope(self, objective: Objective, view: View, picture: Tensor) -> tuple[float, Tensor]:
        picture = picture.detach().requires_grad_(True)
        with torch.enable_grad():
            shown = seen(self._shown(picture), view)
        margin, gradient = objective.margin_and_gradient(shown.detach())
        return _mean(margin), torch.autograd.grad(shown, picture, gradient / len(shown))[0]

    def _shown(self, picture: Tensor) -> Tensor:
        """The images (n, 3, h, w) with the picture in their corner."""
        high, wide = picture.shape[2:]
        above = self._around[:, :, : self._around.shape[2] - high]
        left = self._around[:, :, self._around.shape[2] - high :, : self._around.shape[3] - wide]
        return torch.cat([above, torch.cat([left, picture.expand(len(self._around), -1, -1, -1)], -1)], -2)


def _mean(margins: Tensor) -> float:
    """Over images; a head without an answer is not fooled."""
    return float(margins.nan_to_num(torch.inf).mean())


def seen(pixels: Tensor, view: View) -> Tensor:
    """Pixels (n, 3, h, w) in [0, 1] -> the same shape as a head sees them; differentiable, through JPEG as if it were not there.

    >>> seen(torch.arange(100.0).view(1, 1, 10, 10).expand(1, 3, 10, 10) / 100, "crop").shape
    torch.Size([1, 3, 10, 10])
    """
    height, width = pixels.shape[2:]
    if view == "jpeg":
        return codecs.with_straight_through(pixels, codecs.jpeg(pixels, QUALITY))
    if view == "crop":
        inner = resampling.centre_crop(pixels, (max(1, round(KEPT * height)), max(1, round(KEPT * width))))
        return resampling.resize(inner, height, width)
    if view == "resize":
        small = resampling.resize(pixels, max(1, round(SMALLER * height)), max(1, round(SMALLER * width)))
        return resampling.resize(small, height, width)
    return pixels
