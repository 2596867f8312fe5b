"""Training of `zoo/vae-tiny` on the camera corpus or on a folder of photographs.

Source: Rombach et al., "High-Resolution Image Synthesis with Latent Diffusion Models", CVPR 2022, arXiv:2112.10752, section 3.1 (loss
and the small weight of its Kullback-Leibler term).
Deviation: absolute error plus the absolute error of neighbour differences; no perceptual and no adversarial term.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np
import torch
from pydantic import Field
from safetensors.torch import save_file
from torch import Generator, Tensor

from redteam.recipes.checkpoint import load_checkpoint, save_checkpoint
from redteam.recipes.pool import pictures
from redteam.recipes.recipe import Figures, Progress, Recipe, schedule, seeded, silent
from redteam.recipes.reconstruction import reconstruction_figures
from redteam.zoo.model import ReferenceModel
from redteam.zoo.vae_tiny import Autoencoder, VAETiny


@dataclass(frozen=True, kw_only=True)
class VAERecipe(Recipe):
    """Train the small autoencoder to rebuild photographs.

    steps:  optimizer steps
    batch:  crops per step
    crop:   side of a training crop, pixels, a multiple of 4
    scenes: pictures in the pool
    size:   side of a picture in the pool, pixels
    lr:     peak learning rate; linear warm-up, then a cosine to zero
    detail: weight of the error of neighbour differences
    kl:     weight of the Kullback-Leibler term per latent number
    seed:   of weights, crops and latent noise
    data:   folder of photographs to train on; the camera corpus when not given
    """

    model: ClassVar[type[ReferenceModel]] = VAETiny

    steps: Annotated[int, Field(ge=1)] = 3500
    batch: Annotated[int, Field(ge=1)] = 8
    crop: Annotated[int, Field(ge=16, multiple_of=4)] = 64
    scenes: Annotated[int, Field(ge=1)] = 3000
    size: Annotated[int, Field(ge=32)] = 128
    lr: Annotated[float, Field(gt=0)] = 1.5e-3
    detail: Annotated[float, Field(ge=0)] = 0.5
    kl: Annotated[float, Field(ge=0)] = 1e-6
    seed: int = 0
    data: Path | None = None

    def train(self, out_dir: Path, *, resume: bool = False, progress: Progress = silent) -> Figures:
        """Train with checkpoints in out_dir and write out_dir/vae-tiny.safetensors -> steps, seconds of this call, last loss."""
        pool = pictures(out_dir, self.data, count=self.scenes, size=self.size, progress=progress)
        model = seeded(VAETiny.build, self.seed).to(memory_format=torch.channels_last)
        optimizer = torch.optim.AdamW(model.parameters(), lr=self.lr, weight_decay=0.0)
        rng = Generator().manual_seed(self.seed)
        kept = out_dir / "vae-tiny.ckpt"
        first = load_checkpoint(kept, model=model, optimizer=optimizer, rng=rng) if resume else 0
        began, value = time.monotonic(), math.nan
        for step in range(first, self.steps):
            for group in optimizer.param_groups:
                group["lr"] = self.lr * schedule(step, self.steps)
            loss = self._loss(model, self._crops(pool, rng), rng)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            value = loss.item()
            if (step + 1) % 100 == 0 or step + 1 == self.steps:
                save_checkpoint(kept, model=model, optimizer=optimizer, rng=rng, step=step + 1)
                progress(f"step {step + 1}/{self.steps}  loss {value:.5f}  {time.monotonic() - began:.0f} s")
        save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, out_dir / "vae-tiny.safetensors")
        return {"steps": self.steps, "seconds": round(time.monotonic() - began), "loss": value}

    def evaluate(self, module: torch.nn.Module, *, photographs: Path | None = None, progress: Progress = silent) -> Figures:
        """Peak signal-to-noise ratio and similarity of reconstructions, on camera scenes of seed 1 and on real photographs."""
        return reconstruction_figures(module, photographs=photographs, progress=progress)

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

    def _loss(self, model: Autoencoder, images: Tensor, rng: Generator) -> Tensor:
        posterior = model.posterior(images)
        error = model.decode(posterior.sample(generator=rng)) - images
        detail = error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()
        return error.abs().mean() + self.detail * detail + self.kl * posterior.kl().mean()
