"""The smallest L2 change, by a radius that shrinks after each win and grows after each loss.

Source: Rony et al., "Decoupling Direction and Norm for Efficient Gradient-Based L2 Adversarial Attacks and Defenses", CVPR 2019,
arXiv:1811.09600, algorithm 1; first radius 1, step from 1 to 0.01 along a cosine.
Deviation: the loss is the objective's, in log-odds; iterates are not rounded to 8 bits, but the nearest that wins is lengthened until its file does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from pydantic import Field

from redteam.attacks.minimal import MinimalAttack, Nearest
from redteam.imaging.norms import each, unit
from redteam.seeding import SampleRNG

RADIUS = 1.0  # of the first sphere, image units
LAST_STEP = 0.01


@dataclass(frozen=True, kw_only=True)
class DDN(MinimalAttack):
    """Follow the gradient on a sphere around the image whose radius adapts.

    steps: gradient queries per image
    gamma: by which share the radius shrinks or grows
    """

    source: ClassVar[str] = "Rony et al., CVPR 2019, arXiv:1811.09600, algorithm 1"

    steps: Annotated[int, Field(ge=1)] = 100
    gamma: Annotated[float, Field(gt=0, lt=1)] = 0.05

    def search(self, nearest: Nearest, rng: SampleRNG) -> None:
        """`steps` points, each on its sphere, cut to [0, 1]."""
        clean = x = nearest.clean
        radius = torch.full((len(clean),), RADIUS, device=clean.device)
        for number in range(self.steps):
            if not len(nearest):
                return
            slope = nearest.look(x)
            radius = radius * torch.where(slope.margin < 0, 1 - self.gamma, 1 + self.gamma).to(radius)
            step = LAST_STEP + (1 - LAST_STEP) * (1 + math.cos(math.pi * number / self.steps)) / 2
            x = (clean + each(radius) * unit(x - clean - step * unit(slope.gradient))).clamp(0, 1)
