"""Two ways to lower the worst head's margin over one picture: along its gradient, and by scores alone.

Source: Kingma and Ba, "Adam", ICLR 2015, arXiv:1412.6980; Hansen, "The CMA Evolution Strategy: A Tutorial", 2016, arXiv:1604.00772, by the
library cmaes (Nomura and Shibata, 2024, arXiv:2402.01373).
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from redteam.attacks.heads import Heads
from redteam.imaging.dct import idct
from redteam.imaging.grid import round_nearest

CONTRAST = 0.25  # standard deviation of a picture whose coefficients are standard normal, image units


def followed(heads: Heads, start: Tensor, *, steps: int, step: float, adam: bool, eps: float = 1.0) -> Tensor:
    """The best picture (1, 3, h, w) on the way from `start`, at most eps away from it; Adam, or signed steps."""
    low, high = (start - eps).clamp(min=0), (start + eps).clamp(max=1)
    picture, first, second = start.clone(), torch.zeros_like(start), torch.zeros_like(start)
    best, least = start, math.inf
    for count in range(1, steps + 1):
        worst, gradient = heads.worst_and_gradient(round_nearest(picture))
        best, least = (round_nearest(picture), worst) if worst < least else (best, least)
        first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient.square()
        mean, spread = first / (1 - 0.9**count), (second / (1 - 0.999**count)).sqrt()
        picture = (picture - step * (mean / spread.clamp(min=1e-12) if adam else gradient.sign())).clamp(low, high)
    return best


def evolved(heads: Heads, like: Tensor, *, detail: int, spread: float, steps: int, seed: int) -> Tensor:
    """The best picture, shaped and placed like (1, 3, h, w), that evolution finds among those of the lowest cosine coefficients. Raises ValueError without the library."""
    try:
        from cmaes import CMA
    except ImportError as error:
        raise ValueError("optimiser cma needs the package cmaes; pip install 'redteam[cma]', or use another optimiser") from error
    strategy = CMA(mean=np.zeros(3 * detail**2), sigma=spread, seed=seed % 2**32)
    best, least = torch.full_like(like, 0.5), math.inf
    for _ in range(steps):
        asked = [strategy.ask() for _ in range(strategy.population_size)]
        pictures = [round_nearest(pictured(torch.from_numpy(found), like)) for found in asked]
        answers = [heads.worst(picture) for picture in pictures]
        if min(answers) < least:
            least = min(answers)
            best = pictures[answers.index(least)]
        strategy.tell(list(zip(asked, answers, strict=True)))
    return best


def pictured(numbers: Tensor, like: Tensor) -> Tensor:
    """Coefficients (3 detail^2,) -> the picture in [0, 1], shaped and placed like (1, 3, h, w), that has them at its lowest frequencies, about grey.

    >>> pictured(torch.zeros(12), torch.zeros(1, 3, 4, 4)).unique().tolist()
    [0.5]
    """
    detail = math.isqrt(len(numbers) // 3)
    height, width = like.shape[2:]
    high, wide = min(detail, height), min(detail, width)
    coefficients = torch.zeros(like.shape)
    coefficients[..., :high, :wide] = numbers.float().view(1, 3, detail, detail)[..., :high, :wide]
    scale = CONTRAST * math.sqrt(height * width) / detail
    return (0.5 + scale * idct(coefficients)).clamp(0, 1).to(like)
