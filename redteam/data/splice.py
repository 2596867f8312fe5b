"""Splicing: a region of one photograph pasted over another."""

from __future__ import annotations

import numpy as np
from PIL import Image
from scipy import ndimage

_FEATHER = 0.7  # deviation of the blend at the seam, pixels


def splice(host: np.ndarray, donor: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Paste an irregular region of the donor over the same place of the host.

    Host and donor (h, w, 3) uint8 -> forged (h, w, 3) uint8, mask (h, w) uint8 of 0 and 255. The region covers 5 to 35% of the host; in
    half of the cases the donor is resampled first, by up to a quarter larger. Outside the mask the host is untouched.
    """
    if host.shape != donor.shape:
        raise ValueError(f"splice: donor must be shaped like its host {host.shape}, got {donor.shape}")
    if rng.random() < 0.5:
        donor = enlarge(donor, float(rng.uniform(1.05, 1.25)))
    alpha = blend(region(rng, host.shape[0], host.shape[1], share=float(rng.uniform(0.07, 0.33))))
    return paste(host, donor, alpha)


def region(rng: np.random.Generator, height: int, width: int, *, share: float) -> np.ndarray:
    """A random outline filled, (height, width) bool: a smooth blob or a polygon, of about this share of the frame, in one piece."""
    y, x = np.mgrid[:height, :width].astype(np.float64)
    cy, cx = rng.uniform(0.3, 0.7) * height, rng.uniform(0.3, 0.7) * width
    theta = np.arctan2(y - cy, x - cx)
    stretch = np.exp(rng.normal(0, 0.2))
    distance = np.hypot((y - cy) * stretch, (x - cx) / stretch) / _rim(rng, theta)
    limit = np.partition(distance.ravel(), k := round(share * height * width))[k]  # the level set that has this area
    return distance < limit


def blend(inside: np.ndarray) -> np.ndarray:
    """A region (h, w) bool -> weights in [0, 1] with a narrow seam, 0 outside the region."""
    soft = ndimage.gaussian_filter(ndimage.binary_erosion(inside, border_value=1).astype(np.float64), _FEATHER)
    return np.where(inside, np.minimum(1.0, soft), 0.0)


def paste(host: np.ndarray, patch: np.ndarray, alpha: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Blend a patch over the host by alpha (h, w) -> forged (h, w, 3) uint8, mask of where alpha is above 0."""
    weight = alpha[..., None]
    forged = np.rint(host * (1 - weight) + patch * weight).astype(np.uint8)
    return forged, np.where(alpha > 0, 255, 0).astype(np.uint8)


def enlarge(image: np.ndarray, scale: float) -> np.ndarray:
    """The middle of an image, resampled by a scale of at least 1 to the image's own size."""
    height, width = image.shape[:2]
    left, top = width * (1 - 1 / scale) / 2, height * (1 - 1 / scale) / 2
    resized = Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC, box=(left, top, width - left, height - top))
    return np.asarray(resized)


def _rim(rng: np.random.Generator, theta: np.ndarray) -> np.ndarray:
    """Radius over angle: harmonics for a blob, or the sides of a polygon."""
    if rng.random() < 0.6:
        waves = sum(rng.normal(0, 0.22 / k) * np.cos(k * theta + rng.uniform(0, 2 * np.pi)) for k in range(2, 7))
        return np.exp(waves)
    sides = int(rng.integers(3, 7))
    corners = np.sort((np.arange(sides) + rng.uniform(-0.25, 0.25, sides)) * 2 * np.pi / sides)
    reach = rng.uniform(0.75, 1.25, sides)
    at = np.append(corners, corners[0] + 2 * np.pi)
    px, py = np.cos(at) * np.append(reach, reach[0]), np.sin(at) * np.append(reach, reach[0])
    turn = np.mod(theta - corners[0], 2 * np.pi) + corners[0]
    side = np.clip(np.searchsorted(at, turn, side="right") - 1, 0, sides - 1)
    nx, ny = py[side + 1] - py[side], px[side] - px[side + 1]  # outward normal of the side that this direction meets
    return (nx * px[side] + ny * py[side]) / (nx * np.cos(turn) + ny * np.sin(turn))
