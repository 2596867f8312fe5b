"""Training of `zoo/npr-tiny`.

Source: Tan et al., "Rethinking the Up-Sampling Operations in CNN-based Generative Network for Generalizable Deepfake Detection",
CVPR 2024, arXiv:2312.10461.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import Field

from redteam.recipes.pairs import PairRecipe
from redteam.zoo.model import ReferenceModel
from redteam.zoo.npr_tiny import NPRTiny


@dataclass(frozen=True, kw_only=True)
class NPRRecipe(PairRecipe):
    """Train the small detector of neighbouring pixel relations on pairs of a photograph and its regeneration."""

    model: ClassVar[type[ReferenceModel]] = NPRTiny

    steps: Annotated[int, Field(ge=1)] = 1500
    lr: Annotated[float, Field(gt=0)] = 2e-3
    weight_decay: Annotated[float, Field(ge=0)] = 1e-2
