"""RayS: the nearest success lies along some pattern of signs, and each pattern has one radius at which success begins.

Source: Chen & Gu, "RayS: A Ray Searching Method for Hard-label Adversarial Attack", KDD 2020, arXiv:2006.12792, algorithms 2 and 3.
Deviation: a radius between two levels moves a fixed random share of the pixels by one level more, so that a file changes with it; a pattern
is tried at a radius a little below the best, and a smaller one is looked for in growing strides before it is halved; besides one sign
everywhere, the other one and random signs are tried as a first pattern.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

from redteam.attacks.black_box import DecisionAttack, Search
from redteam.attacks.boundaries import Part, Paths
from redteam.seeding import SampleRNG

GAIN = 0.02  # share of the radius that a pattern must gain to be kept, and that a radius is exact to; less where a stretch is too short to gain so much


@dataclass(frozen=True, kw_only=True)
class RayS(DecisionAttack):
    """Turn over the signs of ever smaller stretches of the image, and keep what lets the radius shrink."""

    source: ClassVar[str] = "Chen & Gu, KDD 2020, arXiv:2006.12792, algorithm 3"

    norm: Literal["linf"] = "linf"

    def search(self, clean: Tensor, rng: SampleRNG) -> Search:
        """Three whole patterns, then one stretch after the other: all, halves, quarters, eighths."""
        paths, best = Paths(clean, "linf", rng), Ray(torch.ones_like(clean), math.inf)
        for signs in (best.signs, -best.signs, rng.signs_like(clean)):
            best = yield from _better(best, signs, paths, GAIN)
        for parts in itertools.cycle(2**level for level in range(clean.numel().bit_length())):
            for stretch in torch.arange(clean.numel()).tensor_split(parts):
                signs = best.signs.clone()
                signs.view(-1)[stretch] *= -1
                best = yield from _better(best, signs, paths, min(GAIN, 1 / parts))


class Ray(NamedTuple):
    """A pattern of signs, and the smallest radius at which it succeeds; infinite while none is known, image units."""

    signs: Tensor
    radius: float


def _better(best: Ray, signs: Tensor, paths: Paths, gain: float) -> Part[Ray]:
    """Another pattern with its radius if that is smaller, else the best so far. Strides that double lead down to the radius, and halves when one fails."""
    fails, radius = 0.0, min(1.0, best.radius * (1 - gain))  # a radius of 1 leaves nothing of the image
    if not (yield paths.near(paths.clean + radius * signs)):
        return best
    stride = gain * radius
    while radius - fails > gain * radius:
        middle = max(radius - stride, (fails + radius) / 2)
        if (yield paths.near(paths.clean + middle * signs)):
            radius, stride = middle, 2 * stride
        else:
            fails = middle
    return Ray(signs, radius)
