"""Lengths, directions and projections of perturbations, each image by itself: the geometry that gradient attacks share.

Source: the nearest point of a hyperplane inside the box is that of Croce & Hein, "Minimally Distorted Adversarial Examples with a Fast
Adaptive Boundary Attack", ICML 2020, arXiv:1907.02044, section 3 and appendix A.
Deviation: the box-constrained projection is found by Newton steps on a concave, piecewise linear function instead of sorting; both are exact.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

Norm = Literal["linf", "l2"]
ROUNDING = 1e-6  # of a sum in float32
NEWTON = 64  # steps at most; each leaves one linear piece behind, and between three and eight are usual


def each(values: Tensor) -> Tensor:
    """One number for each image (n,) -> (n, 1, 1, 1), to be multiplied with pixels."""
    return values[:, None, None, None]


def length(moved: Tensor, norm: Norm) -> Tensor:
    """Perturbations (n, 3, h, w) -> (n,) their norm, image units.

    >>> length(torch.tensor([3.0, -4.0]).view(1, 2, 1, 1), "l2").tolist()
    [5.0]
    """
    flat = moved.flatten(1)
    return flat.abs().amax(1) if norm == "linf" else flat.norm(dim=1)


def unit(x: Tensor, order: Literal[1, 2] = 2) -> Tensor:
    """(n, 3, h, w) -> the same directions with an L1 or L2 norm of 1 for each image; zeros stay zeros, and no gradient is too small to follow.

    >>> unit(torch.tensor([3e-30, -4e-30]).view(1, 2, 1, 1)).flatten().tolist()
    [0.6000000238418579, -0.800000011920929]
    """
    largest = each(x.abs().flatten(1).amax(1))
    x = x / torch.where(largest > 0, largest, 1.0)  # else the squares of small entries vanish
    return x / each(x.flatten(1).norm(p=order, dim=1).clamp(min=1.0))


def steepest(gradient: Tensor, norm: Norm) -> Tensor:
    """Gradients (n, 3, h, w) -> the step of length 1 that gains most: the signs for linf, the direction for l2."""
    return gradient.sign() if norm == "linf" else unit(gradient)


def into_ball(clean: Tensor, norm: Norm, eps: float) -> Callable[[Tensor], Tensor]:
    """A function that moves pixels (n, 3, h, w) into the ball around clean and into [0, 1]."""
    if norm == "linf":
        low, high = (clean - eps).clamp_(min=0), (clean + eps).clamp_(max=1)
        return lambda adv: adv.clamp(low, high)

    def shorten(adv: Tensor) -> Tensor:
        delta = adv - clean
        return (clean + delta * each((eps / length(delta, "l2").clamp(min=1e-12)).clamp(max=1))).clamp_(0, 1)

    return shorten


def onto_plane(pixels: Tensor, normal: Tensor, value: Tensor, norm: Norm) -> Tensor:
    """Pixels (n, 3, h, w) in [0, 1] -> the smallest move inside [0, 1] that brings value + <normal, move> to 0, or as near as [0, 1] allows.

    normal: (n, 3, h, w)
    value:  (n,) at the pixels

    A pixel moves at its own speed until it meets the border of the box: 1 for linf, its weight for l2. What is gained grows along a
    concave line with kinks, so Newton's method climbs it from the left and ends on the right piece.

    >>> onto_plane(torch.tensor([0.5, 0.9]).view(1, 2, 1, 1), torch.tensor([1.0, 1.0]).view(1, 2, 1, 1), torch.tensor([-0.5]), "linf").flatten().round(decimals=4).tolist()
    [0.4000000059604645, 0.10000000149011612]
    """
    weight = normal.abs().flatten(1)
    largest = weight.amax(1, keepdim=True)
    scale = torch.where(largest > 0, largest, 1.0)
    weight, gap = weight / scale, value.abs()[:, None].double() / scale.double()
    way = normal.flatten(1).sign() * -value.sign()[:, None].to(normal)
    x = pixels.flatten(1)
    room = torch.where(way > 0, 1 - x, x)
    speed = weight.sign() if norm == "linf" else weight
    return (way * torch.minimum(_reach(weight, speed, room, gap) * speed, room)).view_as(pixels)


def _reach(weight: Tensor, speed: Tensor, room: Tensor, gap: Tensor) -> Tensor:
    """(n, 1): how far to go so that the sum of weight * min(reach * speed, room) is `gap` (n, 1); as far as anything moves where it cannot be."""
    reach = torch.zeros_like(gap)
    going = torch.ones_like(gap, dtype=torch.bool)  # an image that is done stays as it is, or a neighbour could change its last bit
    for _ in range(NEWTON):
        moved = reach.to(weight) * speed
        gained = torch.sum(weight * torch.minimum(moved, room), 1, keepdim=True, dtype=torch.float64)
        rate = torch.sum(weight * speed * (moved < room), 1, keepdim=True, dtype=torch.float64)
        short = gap - gained
        going &= (short > ROUNDING * gap) & (rate > 0)
        if not going.any():
            break
        reach = torch.where(going, reach + short / torch.where(rate > 0, rate, 1.0), reach)
    return reach.to(weight)
