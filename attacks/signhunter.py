"""SignHunter: finds the gradient's signs by turning them over in halves, quarters, eighths of the image.

Source: Al-Dujaili & O'Reilly, "Sign Bits Are All You Need for Black-Box Attacks", ICLR 2020, arXiv:1902.06894, algorithm 2.
Deviation: the loss is in log-odds; signs are turned over in the order channel, row, column; who has tried every single pixel begins again with
the whole image.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from redteam.attacks.black_box import ScoreAttack, Search
from redteam.component import Radius
from redteam.seeding import SampleRNG


@dataclass(frozen=True, kw_only=True)
class SignHunter(ScoreAttack):
    """Move every pixel by eps, and turn over the sign of ever smaller stretches wherever that lowers the loss.

    eps: radius of the L-infinity ball, image units
    """

    source: ClassVar[str] = "Al-Dujaili & O'Reilly, ICLR 2020, arXiv:1902.06894, algorithm 2"

    norm: Literal["linf"] = "linf"
    eps: Radius = 8 / 255

    def search(self, clean: Tensor, rng: SampleRNG) -> Search:
        """One trial for each stretch; the first sign is drawn, so that images do not all begin by growing brighter."""
        signs = rng.signs_like(clean[:, :1, :1, :1]).expand_as(clean).flatten().clone()
        lowest = yield self._moved(clean, signs)
        for parts in itertools.cycle(2**level for level in range(signs.numel().bit_length())):
            for stretch in torch.arange(signs.numel()).tensor_split(parts):
                signs[stretch] *= -1
                loss = yield self._moved(clean, signs)
                if loss < lowest or math.isnan(lowest):
                    lowest = loss
                else:
                    signs[stretch] *= -1

    def _moved(self, clean: Tensor, signs: Tensor) -> Tensor:
        return self.file((clean + self.eps * signs.view_as(clean)).clamp(0, 1), clean)
