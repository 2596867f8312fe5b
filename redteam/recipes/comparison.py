"""How far two detectors differ: whether they doubt the same pictures, follow the same gradients, and suffer from the same changes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from scipy.stats import spearmanr
from torch import nn

from redteam.data.camera import resave
from redteam.recipes.detection import Pictures, auc, blurred, evaluation_sets, pair_qualities, saved, scores
from redteam.recipes.recipe import Figures, Progress
from redteam.recipes.reconstruction import as_tensor, rebuild

_STREAM = 0xBE51DE
Detectors = dict[str, nn.Module]


def comparison_figures(detectors: Detectors, vae: nn.Module, *, photographs: Path | None, progress: Progress, scenes: int = 300, crops: int = 8) -> Figures:
    """Two detectors by name, on the pairs of their cards -> agreement of scores and gradients within a class, and how each fares after a change.

    A change is made to the saved pictures of both classes. `tpr` is the share of regenerated and `fpr` that of real pictures above 0.
    """
    figures: Figures = {}
    for name, pictures in evaluation_sets(photographs, scenes, crops).items():
        qualities = pair_qualities(len(pictures))
        real, fake = saved(pictures, qualities), saved(rebuild(pictures, vae), qualities)
        measured: Figures = {}
        for label, some in (("real", real), ("regenerated", fake)):
            measured |= {f"rank_correlation_{label}": rank_correlation(detectors, some), f"gradient_cosine_{label}": gradient_cosine(detectors, some)}
        for change, made in changes().items():
            measured |= {f"{change}_{key}": value for key, value in _after(detectors, made(real), made(fake)).items()}
        figures |= {f"{name}_{key}": round(value, 4) for key, value in measured.items()}
        progress(f"{name}: rank correlation {measured['rank_correlation_real']:.2f} on real, {measured['rank_correlation_regenerated']:.2f} on regenerated pictures")
    return figures


def rank_correlation(detectors: Detectors, pictures: Pictures) -> float:
    """Spearman's rank correlation of two detectors' scores over pictures of one class."""
    first, second = (scores(module, pictures) for module in detectors.values())
    return float(spearmanr(first, second).statistic)


def gradient_cosine(detectors: Detectors, pictures: Pictures, batch: int = 20) -> float:
    """Mean cosine between the directions in which two detectors' scores grow fastest; near 0, a small step against one hardly moves the other."""
    cosines = []
    for start in range(0, len(pictures), batch):
        pixels = as_tensor(pictures[start : start + batch]).requires_grad_()
        first, second = (torch.autograd.grad(module(pixels).sum(), pixels)[0].flatten(1) for module in detectors.values())
        cosines.append(F.cosine_similarity(first, second))
    return float(torch.cat(cosines).mean())


def changes() -> dict[str, Callable[[Pictures], list[np.ndarray]]]:
    """What is done to pictures (h, w, 3) uint8, by name; noise is independent in each picture, and the same in each call."""
    return {
        "unchanged": lambda pictures: list(pictures),
        "jpeg_60": lambda pictures: [resave(p, 60) for p in pictures],
        "noise_2": lambda pictures: [noisy(p, 2.0, index) for index, p in enumerate(pictures)],
        "blur_0.6": lambda pictures: [blurred(p, 0.6) for p in pictures],
        "blur_1.0": lambda pictures: [blurred(p, 1.0) for p in pictures],
        "reduced_0.9": lambda pictures: [reduced(p, 0.9) for p in pictures],
        "restored_0.9": lambda pictures: [reduced(p, 0.9, restore=True) for p in pictures],
    }


def noisy(picture: np.ndarray, deviation: float, index: int) -> np.ndarray:
    """(h, w, 3) uint8 -> the same with Gaussian noise of this deviation in levels, drawn for this index."""
    noise = np.random.default_rng([_STREAM, index]).normal(0, deviation, picture.shape)
    return np.clip(np.rint(picture + noise), 0, 255).astype(np.uint8)


def reduced(picture: np.ndarray, scale: float, *, restore: bool = False) -> np.ndarray:
    """(h, w, 3) uint8 -> the same at this share of its sides, bicubic; with restore, enlarged again to (h, w, 3)."""
    full = picture.shape[1], picture.shape[0]
    small = Image.fromarray(picture).resize([round(side * scale) for side in full], Image.Resampling.BICUBIC)
    return np.asarray(small.resize(full, Image.Resampling.BICUBIC) if restore else small)


def _after(detectors: Detectors, real: Sequence[np.ndarray], fake: Sequence[np.ndarray]) -> Figures:
    found: Figures = {}
    for name, module in detectors.items():
        negatives, positives = scores(module, real), scores(module, fake)
        found |= {f"{name}_auc": auc(negatives, positives), f"{name}_tpr": float((positives > 0).mean()), f"{name}_fpr": float((negatives > 0).mean())}
    return found
