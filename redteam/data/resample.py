"""Resampling: a region, or the whole photograph, is scaled and turned in place, and its pixels are interpolated.

Source: Popescu and Farid, "Exposing Digital Forgeries by Detecting Traces of Resampling", IEEE Trans. Signal Processing 53(2), 2005.
Deviation: the region is blended with its surroundings (see `healing`), since a hard seam would give it away without any interpolation.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from PIL import Image

from redteam.data.healing import STEPS, differences, heal
from redteam.data.splice import region

Kernel = Literal["bilinear", "bicubic"]
_PILLOW = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


def resample_region(image: np.ndarray, rng: np.random.Generator, kernel: Kernel) -> tuple[np.ndarray, np.ndarray]:
    """Scale a region by 0.75 to 1.4 and turn it by up to 12 degrees about its middle.

    (h, w, 3) uint8 -> forged (h, w, 3) uint8, mask (h, w) uint8 of 0 and 255. The region covers 5 to 30% of the image; outside the mask
    the image is untouched.
    """
    inside = region(rng, *image.shape[:2], share=float(rng.uniform(0.05, 0.3)))
    rows, cols = np.nonzero(inside)
    scale = float(rng.choice([rng.uniform(0.75, 0.93), rng.uniform(1.07, 1.4), rng.uniform(1.07, 1.4)]))
    turned = transform(image, scale, _turn(rng, 12), (float(rows.mean()), float(cols.mean())), kernel)
    forged = heal(image, inside, {step: differences(turned, rows, cols, step) for step in STEPS})
    return forged, np.where(inside, 255, 0).astype(np.uint8)


def resample_whole(image: np.ndarray, rng: np.random.Generator, kernel: Kernel) -> tuple[np.ndarray, np.ndarray]:
    """Enlarge the middle by 1.05 to 1.5 and turn it by up to 8 degrees: (h, w, 3) uint8 -> the same shape, and a mask that is white everywhere."""
    turn = _turn(rng, 8)
    long, short = max(image.shape[:2]), min(image.shape[:2])
    least = np.cos(turn) + np.sin(abs(turn)) * long / short  # from here on the turned frame shows nothing beyond the picture
    middle = ((image.shape[0] - 1) / 2, (image.shape[1] - 1) / 2)
    return transform(image, float(least * rng.uniform(1.05, 1.5)), turn, middle, kernel), np.full(image.shape[:2], 255, np.uint8)


def transform(image: np.ndarray, scale: float, turn: float, middle: tuple[float, float], kernel: Kernel) -> np.ndarray:
    """Scale and turn (radians, counterclockwise) about a place (row, column), (h, w, 3) uint8 -> the same shape; what lies beyond the frame is mirrored."""
    height, width = image.shape[:2]
    pad = [(side // 2, side // 2) for side in (height, width)]
    padded = np.pad(image, (*pad, (0, 0)), mode="symmetric")
    cos, sin = np.cos(turn) / scale, np.sin(turn) / scale
    row, column = middle[0] + 0.5, middle[1] + 0.5  # Pillow counts from the corner of a pixel
    matrix = (cos, -sin, column - cos * column + sin * row + pad[1][0], sin, cos, row - sin * column - cos * row + pad[0][0])
    return np.asarray(Image.fromarray(padded).transform((width, height), Image.Transform.AFFINE, matrix, resample=_PILLOW[kernel]))


def _turn(rng: np.random.Generator, most: float) -> float:
    """Radians; none in half of the cases, since most resampling is scaling alone."""
    angle = float(rng.uniform(-most, most))
    return float(np.deg2rad(angle)) if rng.random() < 0.5 else 0.0
