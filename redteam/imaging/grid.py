"""The 8-bit grid that a file holds: to and from it, and back inside a budget on it.

Levels are 0..255; a pixel in [0, 1] is its level / 255. None of these functions passes gradients.
Deviation: research code scores unrounded floats; design.md section 4.2 does not.
"""

from __future__ import annotations

import torch
from torch import Tensor

SLACK = 1e-3  # levels; float32 puts 8/255 up to 3e-5 levels below 8, and it must not fall to 7


def to_levels(pixels: Tensor) -> Tensor:
    """Pixels of any shape in [0, 1] -> int16 levels 0..255, the nearest; int16, so that differences do not wrap around.

    >>> to_levels(torch.tensor([0.0, 0.1, 1.0])).tolist()
    [0, 26, 255]
    """
    _check_range(pixels)
    exact = torch.promote_types(pixels.dtype, torch.float32)  # half precision cannot tell neighbouring levels apart
    return (pixels.detach().to(exact) * 255).round().to(torch.int16)


def from_levels(levels: Tensor) -> Tensor:
    """Levels 0..255 of any integer type and shape -> float32 pixels in [0, 1].

    >>> from_levels(torch.tensor([0, 51, 255], dtype=torch.uint8)).tolist()
    [0.0, 0.20000000298023224, 1.0]
    """
    return levels.to(torch.float32) / 255


def round_nearest(pixels: Tensor) -> Tensor:
    """Pixels in [0, 1] -> float32 pixels on the grid, the nearest.

    >>> round(float(round_nearest(torch.tensor([0.1]))) * 255, 3)
    26.0
    """
    return from_levels(to_levels(pixels))


def round_toward(adversarial: Tensor, clean: Tensor) -> Tensor:
    """Adversarial pixels in [0, 1] and clean ones on the grid -> float32 pixels on the grid, none further from clean than before.

    Each pixel moves to the next level on clean's side; one within a thousandth of a level stays on it.

    >>> clean = torch.tensor([100.0, 100.0, 100.0]) / 255
    >>> (round_toward(clean + torch.tensor([8.0, 7.6, -7.6]) / 255, clean) * 255).tolist()
    [108.0, 107.0, 93.0]
    """
    home = _clean_levels(adversarial, clean).to(torch.promote_types(adversarial.dtype, torch.float32))
    _check_range(adversarial)
    moved = adversarial.detach() * 255 - home  # float32 is off by 3e-5 levels at most, well inside the slack
    return from_levels(home + moved.sign() * (moved.abs() + SLACK).floor())


def project_l2_on_grid(adversarial: Tensor, clean: Tensor, eps: float) -> Tensor:
    """Adversarial (n, ...) in [0, 1], clean on the grid, eps in image units over all of an image -> float32 pixels on the grid with L2 <= eps.

    An image is first shrunk onto the ball where it lies outside, then rounded to the nearest level. Where rounding leaves
    the ball, entries that were rounded away from clean go one level back, those that gained most by rounding (the
    smallest fraction) first, lowest position first among equals, and no more of them than needed. All of them gone back,
    every entry is at most as far from clean as before rounding, so the ball is always reached.

    >>> clean = torch.full((1, 4), 100 / 255)
    >>> (project_l2_on_grid(clean + torch.tensor([[2.6, 2.5, 0.2, 0.7]]) / 255, clean, 3.9 / 255) * 255).tolist()
    [[103.0, 102.0, 100.0, 101.0]]
    """
    if not eps >= 0:
        raise ValueError(f"project_l2_on_grid: eps must be >= 0, got {eps}")
    home = _clean_levels(adversarial, clean).double()
    _check_range(adversarial)
    radius = eps * 255
    moved = (adversarial.detach().double() * 255 - home).flatten(1)  # (n, d), levels
    norm = moved.norm(dim=1, keepdim=True)
    moved = moved * (radius / norm.clamp(min=radius)).nan_to_num(0.0)  # radius 0 over norm 0
    levels = (moved.abs() + 0.5).floor()
    levels = levels - _to_take_back(moved.abs(), levels, radius).to(levels.dtype)
    return from_levels(home + (moved.sign() * levels).view(home.shape))


def level_linf(adversarial: Tensor, clean: Tensor) -> Tensor:
    """Two batches (n, ...) in [0, 1] -> (n,) int64, the largest difference in levels.

    >>> level_linf(torch.tensor([[0.0, 8 / 255]]), torch.zeros(1, 2)).tolist()
    [8]
    """
    return _difference(adversarial, clean).abs().amax(dim=1).long()


def level_l2(adversarial: Tensor, clean: Tensor) -> Tensor:
    """Two batches (n, ...) in [0, 1] -> (n,) float64, the L2 norm of the difference in levels.

    >>> level_l2(torch.tensor([[3 / 255, 4 / 255]]), torch.zeros(1, 2)).tolist()
    [5.0]
    """
    return _difference(adversarial, clean).long().square().sum(dim=1).double().sqrt()


def _difference(a: Tensor, b: Tensor) -> Tensor:
    """(n, d) int16 levels."""
    if a.shape != b.shape:
        raise ValueError(f"two batches must have one shape, got {tuple(a.shape)} and {tuple(b.shape)}")
    return (to_levels(a) - to_levels(b)).flatten(1)


def _check_range(pixels: Tensor) -> None:
    """Raise ValueError unless pixels are floating point in [0, 1], up to the slack."""
    if not pixels.is_floating_point():
        raise ValueError(f"pixels must be floating point in [0, 1], got {pixels.dtype}; from_levels takes integers")
    if pixels.numel():
        low, high = (float(x) for x in pixels.detach().aminmax())
        if not (low >= -SLACK / 255 and high <= 1 + SLACK / 255):  # written so that NaN fails too
            raise ValueError(f"pixels must lie in [0, 1], got [{low:.4g}, {high:.4g}]; clamp them first")


def _clean_levels(adversarial: Tensor, clean: Tensor) -> Tensor:
    """Int16 levels of clean, which must already be on the grid."""
    if adversarial.shape != clean.shape:
        raise ValueError(f"adversarial and clean must have one shape, got {tuple(adversarial.shape)} and {tuple(clean.shape)}")
    levels = to_levels(clean)
    off = float((clean.detach() * 255 - levels).abs().max()) if clean.numel() else 0.0
    if off > SLACK:
        raise ValueError(f"clean must lie on the 8-bit grid, got a pixel {off:.3g} levels off it; use round_nearest on it first")
    return levels


def _to_take_back(moved: Tensor, levels: Tensor, radius: float) -> Tensor:
    """Distances (n, d) before and after rounding -> (n, d) bool, the entries that must go one level back toward clean."""
    up = levels > moved
    order = torch.where(up, moved - moved.floor(), torch.inf).sort(dim=1, stable=True).indices
    saved = torch.where(up, 2 * levels - 1, 0.0).gather(1, order)  # of the squared norm; integers, so sums are exact
    excess = levels.square().sum(dim=1, keepdim=True) - radius**2 * (1 + 1e-9)
    needed = (saved.cumsum(dim=1) - saved < excess) & (saved > 0)
    return torch.zeros_like(up).scatter(1, order, needed)
