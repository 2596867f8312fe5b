"""Training of `zoo/vae-tiny` on the camera corpus or on a folder of photographs.

Source: Rombach et al., "High-Resolution Image Synthesis with Latent Diffusion Models", CVPR 2022, arXiv:2112.10752, section 3.1 (loss
and the small weight of its Kullback-Leibler term).
Deviation: absolute error plus the absolute error of neighbour differences; no perceptual and no adversarial term.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Generator, Tensor, nn

from redteam.recipes.pool import pictures
from redteam.recipes.recipe import Figures, Progress, Recipe, seeded, silent
from redteam.recipes.reconstruction import reconstruction_figures
from redteam.zoo.model import ReferenceModel
from redteam.zoo.vae_tiny import Autoencoder, VAETiny


@dataclass(frozen=True, kw_only=True)
class VAERecipe(Recipe):
    """Train the small autoencoder to rebuild photographs.

    batch:  crops per step
    crop:   side of a training crop, pixels, a multiple of 4, at most size
    detail: weight of the error of neighbour differences
    kl:     weight of the Kullback-Leibler term per picture
    """

    model: ClassVar[type[ReferenceModel]] = VAETiny

    steps: Annotated[int, Field(ge=1)] = 600
    lr: Annotated[float, Field(gt=0)] = 1.5e-3
    batch: Annotated[int, Field(ge=1)] = 8
    crop: Annotated[int, Field(ge=16, multiple_of=4)] = 64
    detail: Annotated[float, Field(ge=0)] = 0.5
    kl: Annotated[float, Field(ge=0)] = 1e-6

    def prepare(self, out_dir: Path, progress: Progress) -> np.ndarray:
        """The pool (scenes, size, size, 3) uint8."""
        return pictures(out_dir, self.data, count=self.scenes, size=self.size, progress=progress)

    def loss(self, module: Autoencoder, material: np.ndarray, rng: Generator) -> Tensor:
        """Absolute error of pixels and of neighbour differences, and a little Kullback-Leibler."""
        images = self._crops(material, rng)
        posterior = module.posterior(images)
        error = module.decode(posterior.sample(generator=rng)) - images
        detail = error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()
        return error.abs().mean() + self.detail * detail + self.kl * posterior.kl().mean()

    def evaluate(self, module: nn.Module, *, photographs: Path | None = None, progress: Progress = silent) -> Figures:
        """PSNR and SSIM of reconstructions of camera scenes of seed 1 and of real photographs; `untrained_` is the linear start."""
        figures = reconstruction_figures(module, photographs=photographs, progress=progress)
        start = reconstruction_figures(seeded(VAETiny.build, self.seed).eval(), photographs=photographs, progress=progress)
        return figures | {f"untrained_{name}": value for name, value in start.items() if not name.endswith("_n")}

    def _crops(self, pool: np.ndarray, rng: Generator) -> Tensor:
        """A batch of random, perhaps mirrored crops (batch, 3, crop, crop) in [0, 1]."""
        room = pool.shape[1] - self.crop + 1
        draws = torch.randint(0, 2**31, (self.batch, 4), generator=rng).tolist()
        crops = []
        for which, down, right, mirror in draws:
            top, left = down % room, right % room
            crop = pool[which % len(pool), top : top + self.crop, left : left + self.crop]
            crops.append(crop[:, ::-1] if mirror % 2 else crop)
        batch = torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2)
        return batch.float().div(255).contiguous(memory_format=torch.channels_last)
