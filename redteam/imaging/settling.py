"""Where an attacker who saves 8-bit files ends: the grid point of the ball that lies best along a float perturbation.

Plain rounding undoes small perturbations: an L2 ball of radius 0.5 over 128 x 128 x 3 pixels moves a pixel by half a level on average, which
rounds to nothing. Judged on floats such an attack succeeds, judged on its file it fails, and neither says what an attacker can do.
Deviation: published attacks stop at the float.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from redteam.imaging.grid import SLACK, from_levels, project_l2_on_grid, to_levels

HALVINGS = 12  # of the scale's bracket: the length is then within 1/4000 of the bracket of the best


def settle(adversarial: Tensor, clean: Tensor, norm: Literal["linf", "l2"], eps: float) -> Tensor:
    """Adversarial (n, 3, h, w) in [0, 1], clean on the grid -> float32 pixels on the grid, inside the ball around clean.

    linf: to the nearest level, at most floor(255 eps) levels away.
    l2:   the perturbation is lengthened until its rounded version fills the ball, so that its largest entries survive.

    >>> clean = torch.full((1, 3, 1, 1), 100 / 255)
    >>> (settle(clean + torch.tensor([0.6, 2.4, -9.0]).view(1, 3, 1, 1) / 255, clean, "linf", 2 / 255) * 255).flatten().tolist()
    [101.0, 102.0, 98.0]
    """
    home = to_levels(clean).float()
    moved = adversarial.detach() * 255 - home
    if norm == "linf":
        most = int(eps * 255 + SLACK)
        return from_levels((home + moved.round().clamp(-most, most)).clamp(0, 255))
    filled = _fill(moved, home, eps * 255)
    return project_l2_on_grid(from_levels(filled), clean, eps)


def _fill(moved: Tensor, home: Tensor, radius: float) -> Tensor:
    """Levels (n, 3, h, w): home plus the longest multiple of `moved` whose rounded version has an L2 norm of at most `radius` levels."""
    shape = (-1, *[1] * (moved.ndim - 1))
    longest = moved.abs().flatten(1).amax(1).clamp(min=1e-9).view(shape)
    low = torch.zeros_like(longest)
    high = (max(radius, 1.0) + 1) / longest  # there the largest entry alone leaves the ball
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        levels = _rounded(moved, middle, home)
        inside = (levels - home).flatten(1).norm(dim=1).view(shape) <= radius
        low, high = torch.where(inside, middle, low), torch.where(inside, high, middle)
    return _rounded(moved, low, home)


def _rounded(moved: Tensor, scale: Tensor, home: Tensor) -> Tensor:
    return (home + (moved * scale).round()).clamp(0, 255)
