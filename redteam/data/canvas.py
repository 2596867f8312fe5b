"""A scene while it is painted: radiance, depth, the light, and objects with shading and shadows.

Reflectances and light are linear; lengths are in frame widths.
"""

from __future__ import annotations

from dataclasses import dataclass, field as attribute

import numpy as np
from scipy import ndimage

from redteam.data.surfaces import F32, Outline, Texture, field

Family = tuple[tuple[float, float, float], ...]

# Linear-light reflectances, families of things as they stand together in photographs.
EARTH = ((0.30, 0.20, 0.12), (0.20, 0.13, 0.08), (0.42, 0.33, 0.22), (0.36, 0.22, 0.13), (0.5, 0.42, 0.31))
STONE = ((0.35, 0.34, 0.32), (0.22, 0.22, 0.23), (0.5, 0.48, 0.44), (0.14, 0.13, 0.13), (0.62, 0.6, 0.56))
GREEN = ((0.07, 0.14, 0.03), (0.12, 0.2, 0.05), (0.05, 0.09, 0.03), (0.2, 0.26, 0.07), (0.28, 0.27, 0.1))
BRICK = ((0.36, 0.13, 0.08), (0.45, 0.22, 0.14), (0.55, 0.42, 0.28), (0.28, 0.11, 0.08), (0.5, 0.47, 0.42))
PAINT = ((0.7, 0.68, 0.62), (0.45, 0.06, 0.05), (0.05, 0.14, 0.35), (0.65, 0.45, 0.06), (0.06, 0.06, 0.07), (0.12, 0.3, 0.3))
SKIN = ((0.5, 0.3, 0.2), (0.3, 0.16, 0.1), (0.62, 0.42, 0.31), (0.12, 0.06, 0.04))
FLOWER = ((0.6, 0.08, 0.15), (0.75, 0.5, 0.05), (0.7, 0.66, 0.7), (0.3, 0.1, 0.4), (0.75, 0.25, 0.2))


def colour(red: float, green: float, blue: float) -> np.ndarray:
    """Three numbers as (3, 1, 1), to be multiplied with planes."""
    return np.array([red, green, blue], F32).reshape(3, 1, 1)


@dataclass
class Canvas:
    """A scene while it is painted, the light that falls on it, and the fields of which its surfaces are cut."""

    rng: np.random.Generator
    side: int
    radiance: np.ndarray = attribute(init=False)
    depth: np.ndarray = attribute(init=False)

    def __post_init__(self) -> None:
        rng, side = self.rng, self.side
        self.radiance = np.zeros((3, side, side), F32)  # planes: numpy is slow where the last axis is 3
        self.depth = np.ones((side, side), F32)
        axis = (np.arange(side, dtype=F32) + F32(0.5)) / F32(side)
        self.x, self.y = np.meshgrid(axis, axis)
        angle = rng.uniform(-2.8, -0.34)  # the light stands above the horizon
        self.light = (float(np.cos(angle)), float(np.sin(angle)))
        warmth = rng.uniform(-0.1, 0.3)
        self.sun = colour(1 + warmth, 1.0, 1 - warmth)
        self.sky = colour(0.86, 1.0, 1.18)
        self.ambient = float(rng.uniform(0.25, 0.85))  # share of light without a direction: noon to overcast
        soft = field(rng, side // 4, 2.2)
        self.soft = ndimage.zoom(soft, side / soft.shape[0], order=1, mode="grid-wrap", grid_mode=True)
        fields = [field(rng, side, rng.uniform(0.35, 0.7)), field(rng, side, rng.uniform(0.9, 1.4)),
                  field(rng, side, rng.uniform(0.8, 1.2), rng.uniform(3.0, 9.0))]
        self.rough, self.plain, self.streaks = self.textures = [Texture.of(tone, self.light) for tone in fields]

    def tone(self, family: Family) -> np.ndarray:
        """A reflectance (3, 1, 1) near one of a family."""
        spread = np.exp(self.rng.normal(0, 0.08, 3) + self.rng.normal(0, 0.3))
        base = family[int(self.rng.integers(len(family)))]
        return np.clip(colour(*base) * colour(*spread), F32(0.015), F32(0.9))

    def lit(self, lambert: float) -> np.ndarray:
        """Cosine to the light -> illumination (3, 1, 1)."""
        return self.sun * F32(1.6 * lambert * (1 - self.ambient)) + self.sky * F32(self.ambient)

    def surface(self, height: int, width: int, contrast: float) -> np.ndarray:
        """A random surface's multiplier (height, width), median 1."""
        texture = self.textures[self.rng.integers(len(self.textures))]
        patch = texture.patch(self.rng, height, width, relief=float(self.rng.uniform(0, 1.5)))
        return np.exp(np.clip(F32(contrast) * patch, -1.5, 1.2))


def _window(canvas: Canvas, shape: Outline, centre: tuple[float, float], radius: float) -> tuple[slice, slice] | None:
    """The rows and columns that a shape and its shadow may reach; None when they are out of frame."""
    side, spans = canvas.side, []
    for at, reach in zip(reversed(centre), reversed(shape.extent()), strict=True):
        low, high = max(0, int((at - (reach + 0.25) * radius) * side)), min(side, int((at + (reach + 0.25) * radius) * side) + 2)
        if high - low < 2:
            return None
        spans.append(slice(low, high))
    return spans[0], spans[1]


def _shifted(inner: np.ndarray, light: tuple[float, float], distance: float) -> np.ndarray:
    """The depth below a rim (h, w), moved away from the light by a distance in pixels."""
    height, width = inner.shape
    down, right = (int(np.clip(round(-c * distance), 1 - n, n - 1)) for c, n in ((light[1], height), (light[0], width)))
    out = np.full_like(inner, -1)
    out[max(0, down) : height + min(0, down), max(0, right) : width + min(0, right)] = (
        inner[max(0, -down) : height - max(0, down), max(0, -right) : width - max(0, right)])
    return out


@dataclass(frozen=True, kw_only=True)
class Body:
    """What an object is made of and where in depth it stands.

    tone:     reflectance (3, 1, 1)
    depth:    in [0, 1], 1 is far
    contrast: of its surface's texture, in log reflectance
    bulge:    0 is flat and 1 a ball
    shadow:   share of the light that its shadow takes away
    gloss:    level of its highlight
    """

    tone: np.ndarray
    depth: float
    contrast: float = 0.3
    bulge: float = 1.0
    shadow: float = 0.5
    gloss: float = 0.0


def place(canvas: Canvas, shape: Outline, centre: tuple[float, float], radius: float, body: Body) -> None:
    """Paint one object: its shadow on what is there, then its shaded and textured body."""
    cx, cy = centre
    window = _window(canvas, shape, centre, radius)
    if window is None:
        return
    x, y = (canvas.x[window] - F32(cx)) / F32(radius), (canvas.y[window] - F32(cy)) / F32(radius)
    inner = shape.inside(x, y)
    edge = F32(radius * canvas.side)
    cover = np.clip(inner * edge + F32(0.5), 0, 1)
    if body.shadow > 0:
        dark = np.clip(_shifted(inner, canvas.light, 0.22 * radius * canvas.side) / F32(0.35) + F32(0.65), 0, 1)
        canvas.radiance[:, *window] *= 1 - F32(body.shadow) * dark * (1 - cover)
    if not cover.any():
        return
    slope = np.clip(1 - inner, 0, 1) * F32(body.bulge)
    norm = np.sqrt(x**2 + y**2) + F32(1e-3)
    lean = (x * F32(canvas.light[0]) + y * F32(canvas.light[1])) / norm
    lambert = np.clip(F32(0.75) * np.sqrt(1 - np.minimum(slope, F32(0.999)) ** 2) + F32(0.66) * slope * lean, 0, 1.2)
    height, width = inner.shape
    direct, indirect = body.tone * canvas.sun * F32(1.6 * (1 - canvas.ambient)), body.tone * canvas.sky * F32(canvas.ambient)
    front = canvas.surface(height, width, body.contrast) * (lambert * direct + indirect)
    if body.gloss > 0:
        front += F32(body.gloss) * np.clip((lambert - F32(0.85)) / F32(0.15), 0, 1) ** 4
    behind = canvas.radiance[:, *window]
    behind += cover * (front - behind)
    canvas.depth[window] += cover * (F32(body.depth) - canvas.depth[window])
