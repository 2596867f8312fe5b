"""Where an attacker who saves 8-bit files ends: the grid point of the ball that lies best along a float perturbation.

Plain rounding undoes small perturbations: an L2 ball of radius 0.5 over 128 x 128 x 3 pixels moves a pixel by half a level on average, which
rounds to nothing. Judged on floats such an attack succeeds, judged on its file it fails, and neither says what an attacker can do.
Deviation: published attacks stop at the float.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from redteam.imaging.grid import SLACK, from_levels, to_levels

HALVINGS = 8  # of the scale's bracket, on a logarithmic scale: to about two per cent; what lies between is sorted


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
    room = torch.where(moved > 0, 255 - home, home)
    steps = _fill(moved.abs().flatten(1), room.flatten(1), eps * 255)
    return from_levels(home + steps.view_as(home) * moved.sign())


def _fill(moved: Tensor, room: Tensor, radius: float) -> Tensor:
    """Wished and possible levels (n, d) -> whole levels (n, d) with an L2 norm of at most `radius` and the largest sum along `moved`.

    One more level at entry i, from a to a + 1, gains moved_i and costs 2 a + 1 of the squared radius. Rounding a multiple of `moved` takes
    exactly the steps that gain most for their cost, so the best multiple is looked for by halving, and what is left of the radius goes to
    the entries that would step next.
    """
    largest = moved.amax(1, keepdim=True).clamp(min=1e-9)
    low, high = 0.5 / largest, (max(radius, 1.0) + 1) / largest  # nothing steps; the largest entry alone leaves the ball
    for _ in range(HALVINGS):
        middle = (low * high).sqrt()
        inside = _norm(_rounded(moved, middle, room)) <= radius
        low, high = torch.where(inside, middle, low), torch.where(inside, high, middle)
    inner, outer = _rounded(moved, low, room), _rounded(moved, high, room)
    left = radius**2 * (1 + 1e-9) - _norm(inner).square().round()
    return torch.stack([_topped_up(*image) for image in zip(inner, outer, moved, left, strict=True)]) if len(moved) else inner


def _topped_up(inner: Tensor, outer: Tensor, moved: Tensor, left: Tensor) -> Tensor:
    """One image's levels inside the ball and just outside it (d,) -> those inside, and as many of the steps between as fit in `left`, the best first."""
    steps = (outer > inner).nonzero().flatten()
    cost = 2 * inner[steps] + 1
    order = (moved[steps] / cost).sort(descending=True, stable=True).indices
    fits = cost[order].double().cumsum(0) <= left
    return inner.index_add(0, steps[order], fits.to(inner))


def _norm(levels: Tensor) -> Tensor:
    return torch.linalg.vector_norm(levels, dim=1, keepdim=True, dtype=torch.float64)


def _rounded(moved: Tensor, scale: Tensor, room: Tensor) -> Tensor:
    return torch.minimum((moved * scale).round_(), room)
