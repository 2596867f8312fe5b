"""What the recipes of detectors share: photographs against the same photographs sent through `zoo/vae-tiny`.

Both pictures of a pair are saved by the same encoder at the same quality before the detector sees them, and half of the pairs were
blurred, resampled or shifted *before* the autoencoder, so that neither compression nor smoothness tells the classes apart.

Source: Rajan et al., "Aligned Datasets Improve Detection of Latent Diffusion-Generated Images", ICLR 2025, arXiv:2410.11835 (real and
regenerated versions of the same scenes, by the same pipeline).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from pydantic import Field
from scipy import ndimage
from torch import Generator, Tensor, nn

from redteam.data.camera import resave
from redteam.recipes.detection import detection_figures
from redteam.recipes.pool import pictures
from redteam.recipes.recipe import Figures, Progress, Recipe, silent
from redteam.recipes.reconstruction import as_tensor, rebuild
from redteam.zoo.vae_tiny import VAETiny

_STREAM = 0x09B6
_CHUNK = 50


@dataclass(frozen=True, kw_only=True)
class PairRecipe(Recipe):
    """Train a detector on pairs of a photograph and its regeneration.

    pairs:   pairs per step
    quality: lowest and highest JPEG quality at which pairs are saved
    """

    pairs: Annotated[int, Field(ge=1)] = 16
    quality: tuple[int, int] = (80, 98)

    def prepare(self, out_dir: Path, progress: Progress) -> np.ndarray:
        """Real and regenerated pictures (scenes, 2, size, size, 3) uint8; every other scene is prepared first.

        Raises: FileNotFoundError when `zoo/vae-tiny` has no weights yet.
        """
        pool = pictures(out_dir, self.data, count=self.scenes, size=self.size, progress=progress)
        origin = "camera" if self.data is None else "folder"
        path = out_dir / f"pairs-{origin}-{self.scenes}-{self.size}-{VAETiny.sha256()[:12]}.npy"
        if not path.is_file():
            vae, unfinished = VAETiny.load(), path.with_suffix(".part")
            pairs = np.lib.format.open_memmap(unfinished, mode="w+", dtype=np.uint8, shape=(len(pool), 2, *pool.shape[1:]))
            for start in range(0, len(pool), _CHUNK):
                stop = min(start + _CHUNK, len(pool))
                real = [prepared(pool[k], np.random.default_rng([_STREAM, k])) if k % 2 else pool[k] for k in range(start, stop)]
                pairs[start:stop, 0], pairs[start:stop, 1] = np.stack(real), np.stack(rebuild(real, vae))
                progress(f"pairs {stop}/{len(pool)}")
            pairs.flush()
            unfinished.rename(path)
        return np.load(path, mmap_mode="r")

    def loss(self, module: nn.Module, material: np.ndarray, rng: Generator) -> Tensor:
        """Binary cross-entropy over real and regenerated pictures."""
        labels = torch.tensor([0.0, 1.0]).repeat(self.pairs)
        return F.binary_cross_entropy_with_logits(module(self._batch(material, rng)), labels)

    def evaluate(self, module: nn.Module, *, photographs: Path | None = None, progress: Progress = silent) -> Figures:
        """Areas under the curve on unseen scenes and real photographs, beside those of one-number detectors and of blur."""
        return detection_figures(module, VAETiny.load(), photographs=photographs, progress=progress)

    def _batch(self, pairs: np.ndarray, rng: Generator) -> Tensor:
        """Pairs at random, each saved at a quality of its own -> (2 * pairs, 3, size, size), real and regenerated in turn."""
        low, high = self.quality
        which = torch.randint(len(pairs), (self.pairs,), generator=rng).tolist()
        qualities = torch.randint(low, high + 1, (self.pairs,), generator=rng).tolist()
        saved = [resave(picture, quality) for k, quality in zip(which, qualities, strict=True) for picture in pairs[k]]
        return as_tensor(saved).contiguous(memory_format=torch.channels_last)


def prepared(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A picture (h, w, 3) uint8 as other hands might give it: mirrored, shifted off its JPEG grid, blurred, resampled, toned."""
    out = picture[:, ::-1] if rng.random() < 0.5 else picture
    down, right = (int(v) for v in rng.integers(0, 8, 2))
    out = np.pad(out, ((down, 0), (right, 0), (0, 0)), mode="reflect")[: picture.shape[0], : picture.shape[1]]
    kind = rng.choice(["none", "blur", "resample", "median"], p=[0.3, 0.3, 0.3, 0.1])
    if kind == "blur":
        sigma = float(rng.uniform(0.3, 1.2))
        out = np.rint(ndimage.gaussian_filter(out.astype(np.float32), (sigma, sigma, 0))).astype(np.uint8)
    elif kind == "resample":
        full, scale = (picture.shape[1], picture.shape[0]), float(rng.uniform(0.6, 1.4))
        kernel = (Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS)[int(rng.integers(3))]
        between = Image.fromarray(np.ascontiguousarray(out)).resize([round(side * scale) for side in full], kernel)
        out = np.asarray(between.resize(full, kernel))
    elif kind == "median":
        out = ndimage.median_filter(out, (3, 3, 1))
    gain, shift = float(rng.uniform(0.7, 1.3)), float(rng.uniform(-25, 25))
    return np.clip(np.rint((out.astype(np.float32) - 128) * gain + 128 + shift), 0, 255).astype(np.uint8)
