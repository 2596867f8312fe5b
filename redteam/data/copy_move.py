"""Copy-move: a region of a photograph pasted elsewhere in the same photograph."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from redteam.data.splice import blend, paste, region


def copy_move(image: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Copy an irregular region to another place, a little scaled and turned.

    (h, w, 3) uint8 -> forged (h, w, 3) uint8, mask (h, w) uint8 of 0 and 255 that marks the copy, not its source. The copy covers 4 to
    20% of the image and comes from at least a quarter of a side away; outside the mask the image is untouched.
    """
    height, width = image.shape[:2]
    alpha = blend(region(rng, height, width, share=float(rng.uniform(0.05, 0.18))))
    rows, cols = np.nonzero(alpha)
    middle = np.array([rows.mean(), cols.mean()])
    source = _elsewhere(rng, middle, np.array([height, width]))
    scale, turn = float(rng.uniform(0.9, 1.1)), float(rng.uniform(-0.26, 0.26))  # up to 15 degrees
    if rng.random() < 0.4:
        scale, turn, source = 1.0, 0.0, np.rint(source - middle) + middle  # an exact copy, as block matching finds it
    matrix = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) / scale
    offset = source - matrix @ middle
    moved = [ndimage.affine_transform(image[..., c].astype(np.float64), matrix, offset, order=1, mode="mirror") for c in range(3)]
    return paste(image, np.stack(moved, axis=-1), alpha)


def _elsewhere(rng: np.random.Generator, middle: np.ndarray, extent: np.ndarray) -> np.ndarray:
    """A point in the inner frame at least a quarter of the shorter side from the middle."""
    least = 0.25 * extent.min()
    corners = np.array([[0.25, 0.25], [0.25, 0.75], [0.75, 0.25], [0.75, 0.75]]) * extent
    for _ in range(20):
        point = rng.uniform(0.2, 0.8, 2) * extent
        if np.hypot(*(point - middle)) >= least:
            return point
    return corners[np.argmax(np.hypot(*(corners - middle).T))]
