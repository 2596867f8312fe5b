"""Projected gradient descent that may touch a part of the image only: inside the mask, outside it, or a window of a given area.

Source: Madry et al., "Towards Deep Learning Models Resistant to Adversarial Attacks", ICLR 2018, arXiv:1706.06083, eq. 3; the window is the project's own.
Deviation: the ball is cut down to the region; the window stands where the first gradient is largest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from redteam.attack import State
from redteam.attacks.noise import Noise
from redteam.attacks.pgd import PGD, Room
from redteam.images import Images
from redteam.imaging.norms import into_ball
from redteam.objective import Objective
from redteam.seeding import SampleRNG

Where = Literal["inside", "outside", "window"]


@dataclass(frozen=True, kw_only=True)
class Region(PGD):
    """Lower the objective's loss by changing pixels of one region; every other pixel stays as it is.

    where: inside the mask of what was forged, outside it, or in a window
    share: of the image's area that the window takes
    """

    source: ClassVar[str] = "Madry et al., ICLR 2018, arXiv:1706.06083, eq. 3; the region is the project's own"

    where: Where = "window"
    share: Annotated[float, Field(gt=0, le=1)] = 0.05

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.where == "inside" and self.goal != "evade":
            raise ValueError("where: inside needs goal: evade; what is forged lies in fakes only")

    @property
    def needs_masks(self) -> bool:
        """Only a window does not."""
        return self.where != "window"

    def control(self) -> RegionNoise:
        """Random signs of the same norm and radius in a region of the same kind; the window stands anywhere."""
        return RegionNoise(norm=self.norm, eps=self.eps, goal=self.goal, where=self.where, share=self.share)

    def gradients(self) -> int:
        """The window takes one more."""
        return super().gradients() + (self.eot if self.where == "window" else 0)

    def room(self, objective: Objective, rng: SampleRNG) -> Room:
        """The ball where it lies over the region."""
        clean, inside = objective.images.pixels, into_ball(objective.images.pixels, self.norm, self.eps)
        weight = objective.gradient(clean).abs().sum(1, keepdim=True) if self.where == "window" else torch.zeros_like(clean[:, :1])
        open_ = region(objective.images, self.where, self.share, weight)
        return Room(lambda adv: inside(torch.where(open_, adv, clean)), lambda gradient: gradient * open_)


@dataclass(frozen=True, kw_only=True)
class RegionNoise(Noise):
    """Random signs of a given norm in one region.

    where: as for the attack that it is the control of
    share: of the image's area that the window takes
    """

    where: Where = "window"
    share: Annotated[float, Field(gt=0, le=1)] = 0.05

    def perturb(self, objective: Objective, rng: SampleRNG, state: State | None = None) -> Images:
        """Images (n, 3, h, w) in [0, 1] -> the same images with random signs in the region, within the budget."""
        images = objective.images
        open_ = region(images, self.where, self.share, rng.rand_like(images.pixels[:, :1]))
        return images.with_pixels(self.along(images.pixels, rng.signs_like(images.pixels) * open_, rng))


def region(images: Images, where: Where, share: float, weight: Tensor) -> Tensor:
    """Images, and weights (n, 1, h, w) that draw a window -> (n, 1, h, w) bool, the pixels that may change."""
    if where != "window":
        masked = _masks(images) > 0.5
        return masked if where == "inside" else ~masked
    height, width = weight.shape[-2:]
    side = share**0.5
    tall, wide = (max(1, round(side * length)) for length in (height, width))
    sums = torch.cat([functional.avg_pool2d(one[None], (tall, wide), stride=1) for one in weight])  # (n, 1, h - tall + 1, w - wide + 1)
    best = sums.flatten(1).argmax(1)
    top, left = best // sums.shape[-1], best % sums.shape[-1]
    rows = _between(torch.arange(height, device=weight.device), top, tall)
    columns = _between(torch.arange(width, device=weight.device), left, wide)
    return (rows[:, :, None] & columns[:, None, :])[:, None]


def _between(at: Tensor, first: Tensor, length: int) -> Tensor:
    """(h,) positions and (n,) beginnings -> (n, h) bool."""
    return (at >= first[:, None]) & (at < first[:, None] + length)


def _masks(images: Images) -> Tensor:
    if images.masks is None:
        raise ValueError("a region inside or outside of what was forged needs masks, and these images have none")
    return images.masks
