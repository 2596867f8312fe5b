"""The figures of a detector's card: how well it tells regenerated pictures from real ones, and what it does not rest on."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from scipy import ndimage
from torch import nn

from redteam.data import photos
from redteam.data.camera import render, resave
from redteam.recipes.pool import centre_crops
from redteam.recipes.recipe import Figures, Progress
from redteam.recipes.reconstruction import EVALUATION_SEED, SIZE, as_tensor, rebuild

Pictures = Sequence[np.ndarray]
_STREAM = 0xDE7EC7
_QUALITIES = (80, 98)


def detection_figures(module: nn.Module, vae: nn.Module, *, photographs: Path | None, progress: Progress, scenes: int = 300, crops: int = 8) -> Figures:
    """Areas under the curve, on camera scenes of seed 1, on crops of each `photos` scene and on a folder of real photographs.

    Each picture and its regeneration are saved at the same random JPEG quality. `trivial` are detectors of one number, the better of
    both directions. Blur: real pictures are set against the same pictures blurred, and those against regenerations; at threshold 0 the
    blurred should pass as real.
    """
    figures: Figures = {}
    for name, pictures in evaluation_sets(photographs, scenes, crops).items():
        measured = _figures_of(pictures, module, vae)
        figures |= {f"{name}_{key}": value for key, value in measured.items()}
        progress(f"{name}: " + ", ".join(f"{key} {value}" for key, value in measured.items()))
    return figures


def evaluation_sets(photographs: Path | None, scenes: int, crops: int) -> dict[str, Pictures]:
    """The pictures that cards are measured on, by name: camera scenes of seed 1, crops of each `photos` scene, a folder's centre crops."""
    sets: dict[str, Pictures] = {"camera": [render(EVALUATION_SEED, index, SIZE) for index in range(scenes)]}
    sets["photos"] = [photos.crop(name, index, SIZE) for name in photos.scenes() for index in range(crops)]
    if photographs is not None:
        sets["photographs"] = centre_crops(photographs, SIZE)
    return sets


def pair_qualities(n: int) -> list[int]:
    """A random JPEG quality for each of n pairs, the same in every call."""
    return np.random.default_rng(_STREAM).integers(_QUALITIES[0], _QUALITIES[1] + 1, n).tolist()


def scores(module: nn.Module, pictures: Pictures, batch: int = 50) -> np.ndarray:
    """Pictures (h, w, 3) uint8 -> logits (n,)."""
    with torch.no_grad():
        parts = [module(as_tensor(pictures[start : start + batch])) for start in range(0, len(pictures), batch)]
    return torch.cat(parts).numpy()


def auc(negatives: np.ndarray, positives: np.ndarray) -> float:
    """Probability that a positive scores above a negative.

    >>> auc(np.array([0.0, 1.0]), np.array([0.5, 2.0]))
    0.75
    """
    ordered = np.sort(negatives)
    below, not_above = np.searchsorted(ordered, positives, "left"), np.searchsorted(ordered, positives, "right")
    return float((below + not_above).mean() / (2 * len(negatives)))


def auc_interval(negatives: np.ndarray, positives: np.ndarray, draws: int = 1000) -> tuple[float, float]:
    """95% percentile bootstrap over pairs: picture k of both classes shows the same scene, so they are drawn together."""
    rng = np.random.default_rng(_STREAM)
    values = [auc(negatives[k], positives[k]) for k in (rng.integers(len(negatives), size=len(negatives)) for _ in range(draws))]
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)


def saved(pictures: Pictures, qualities: Sequence[int]) -> list[np.ndarray]:
    """Each picture as its JPEG file holds it."""
    return [resave(picture, quality) for picture, quality in zip(pictures, qualities, strict=True)]


def blurred(picture: np.ndarray, sigma: float) -> np.ndarray:
    """(h, w, 3) uint8 -> the same through a Gaussian of this deviation in pixels."""
    return np.rint(ndimage.gaussian_filter(picture.astype(np.float32), (sigma, sigma, 0), mode="mirror")).astype(np.uint8)


def _figures_of(pictures: Pictures, module: nn.Module, vae: nn.Module) -> Figures:
    qualities = pair_qualities(len(pictures))
    made = rebuild(pictures, vae)
    real, fake = saved(pictures, qualities), saved(made, qualities)
    negatives, positives = scores(module, real), scores(module, fake)
    low, high = auc_interval(negatives, positives)
    figures: Figures = {"n_pairs": len(pictures), "auc": auc(negatives, positives), "auc_low": low, "auc_high": high}
    figures |= {"accuracy_at_0": float(((negatives <= 0).mean() + (positives > 0).mean()) / 2), "fpr_at_0": float((negatives > 0).mean())}
    for quality in (80, 90, 98):
        fixed = [quality] * len(pictures)
        figures[f"auc_jpeg_{quality}"] = auc(scores(module, saved(pictures, fixed)), scores(module, saved(made, fixed)))
    for sigma in (0.6, 1.0):
        soft = scores(module, saved([blurred(picture, sigma) for picture in pictures], qualities))
        figures[f"blur_{sigma}_against_real_auc"] = auc(negatives, soft)
        figures[f"regenerated_against_blur_{sigma}_auc"] = auc(soft, positives)
        figures[f"fpr_at_0_after_blur_{sigma}"] = float((soft > 0).mean())
    trivial = {name: auc(feature(real), feature(fake)) for name, feature in _features(qualities).items()}
    figures |= {f"trivial_{name}_auc": max(value, 1 - value) for name, value in trivial.items()}
    return {key: round(value, 4) for key, value in figures.items()}


def _features(qualities: Sequence[int]) -> dict[str, Callable[[Pictures], np.ndarray]]:
    """Detectors of one number, each from pictures to (n,)."""
    simple: dict[str, Callable[[np.ndarray], float]] = {
        "mean": lambda p: float(p.mean()),
        "deviation": lambda p: float(p.std()),
        "minimum": lambda p: float(np.sort(p, axis=None)[: p.size // 1000].mean()),
        "maximum": lambda p: float(np.sort(p, axis=None)[-p.size // 1000 :].mean()),
        "laplacian": lambda p: float(np.abs(ndimage.laplace(p.mean(2))).mean()),
    }
    features = {name: lambda pictures, f=f: np.array([f(p) for p in pictures]) for name, f in simple.items()}
    return features | {"file_size": lambda pictures: np.array([file_size(p, q) for p, q in zip(pictures, qualities, strict=True)])}


def file_size(picture: np.ndarray, quality: int) -> int:
    """Bytes of a picture's JPEG file."""
    held = io.BytesIO()
    Image.fromarray(picture).save(held, format="JPEG", quality=quality)
    return held.tell()
