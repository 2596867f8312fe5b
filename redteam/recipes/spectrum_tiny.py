"""Training of `zoo/spectrum-tiny`.

Source: Zhang, Karaman and Chang, "Detecting and Simulating Artifacts in GAN Fake Images", WIFS 2019, arXiv:1907.06515.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field
from torch import nn

from redteam.recipes.comparison import comparison_figures
from redteam.recipes.pairs import PairRecipe
from redteam.recipes.recipe import Figures, Progress, silent
from redteam.zoo.model import ReferenceModel
from redteam.zoo.npr_tiny import NPRTiny
from redteam.zoo.spectrum_tiny import SpectrumTiny
from redteam.zoo.vae_tiny import VAETiny


@dataclass(frozen=True, kw_only=True)
class SpectrumRecipe(PairRecipe):
    """Train the small detector of residual spectra on pairs of a photograph and its regeneration."""

    model: ClassVar[type[ReferenceModel]] = SpectrumTiny

    steps: Annotated[int, Field(ge=1)] = 2000
    lr: Annotated[float, Field(gt=0)] = 1e-3
    weight_decay: Annotated[float, Field(ge=0)] = 5e-2
    pairs: Annotated[int, Field(ge=1)] = 32

    def evaluate(self, module: nn.Module, *, photographs: Path | None = None, progress: Progress = silent) -> Figures:
        """The figures of a detector, and `beside_npr` what sets it apart from `zoo/npr-tiny` on the same pictures."""
        figures = super().evaluate(module, photographs=photographs, progress=progress)
        detectors = {"spectrum": module, "npr": NPRTiny.load()}
        beside = comparison_figures(detectors, VAETiny.load(), photographs=photographs, progress=progress)
        return figures | {f"beside_npr_{name}": value for name, value in beside.items()}
