"""The figures of an autoencoder's card: how well it rebuilds pictures that it was not trained on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import Tensor, nn

from redteam.data import photos
from redteam.data.camera import render
from redteam.data.regenerate import regenerate
from redteam.recipes.pool import centre_crops
from redteam.recipes.recipe import Figures, Progress

EVALUATION_SEED = 1
SIZE = 128


def reconstruction_figures(module: nn.Module, *, photographs: Path | None, progress: Progress, scenes: int = 200, crops: int = 5) -> Figures:
    """PSNR and SSIM, means over pictures: camera scenes of seed 1, crops of each `photos` scene, centre crops of a folder."""
    sets = {"camera": [render(EVALUATION_SEED, index, SIZE) for index in range(scenes)]}
    sets["photos"] = [photos.crop(name, index, SIZE) for name in photos.scenes() for index in range(crops)]
    if photographs is not None:
        sets["photographs"] = centre_crops(photographs, SIZE)
    figures: Figures = {}
    for name, pictures in sets.items():
        rebuilt = rebuild(pictures, module)
        figures[f"{name}_n"] = len(pictures)
        figures[f"{name}_psnr_db"] = round(float(np.mean([peak_signal_noise_ratio(a, b) for a, b in zip(pictures, rebuilt, strict=True)])), 2)
        figures[f"{name}_ssim"] = round(float(np.mean([structural_similarity(a, b, channel_axis=2) for a, b in zip(pictures, rebuilt, strict=True)])), 4)
        progress(f"{name}: PSNR {figures[f'{name}_psnr_db']} dB, SSIM {figures[f'{name}_ssim']}, n = {len(pictures)}")
    return figures


def rebuild(pictures: Sequence[np.ndarray], module: nn.Module, batch: int = 25) -> list[np.ndarray]:
    """Pictures of one size (h, w, 3) uint8 -> what the autoencoder makes of them, uint8."""
    rebuilt: list[np.ndarray] = []
    for start in range(0, len(pictures), batch):
        with torch.no_grad():
            pixels = regenerate(as_tensor(pictures[start : start + batch]), module)
        rebuilt += list((pixels * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy())
    return rebuilt


def as_tensor(pictures: Sequence[np.ndarray]) -> Tensor:
    """n pictures (h, w, 3) uint8 -> (n, 3, h, w) float32 in [0, 1]."""
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float().div(255)
