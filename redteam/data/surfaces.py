"""Random fields, man-made patterns and outlines, of which the procedural scenes are made.

Source: Lee, Mumford and Huang, "Occlusion Models for Natural Images", IJCV 2001 (dead leaves); Field, "Relations Between the
Statistics of Natural Images and the Response Properties of Cortical Cells", JOSA A 1987 (amplitude falls as 1/f).
Worley, "A Cellular Texture Basis Function", SIGGRAPH 1996.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import fft, ndimage
from scipy.spatial import cKDTree

F32 = np.float32
_RIM = 512
_WAVES = np.arange(2, 14)[:, None] * np.linspace(0, 2 * np.pi, _RIM, endpoint=False)
_COSINES, _SINES = np.cos(_WAVES), np.sin(_WAVES)


def field(rng: np.random.Generator, side: int, slope: float, stretch: float = 1.0) -> np.ndarray:
    """A periodic Gaussian field (side, side), mean 0 and deviation 1, of amplitude 1 / f**slope, drawn out along x by stretch."""
    fy = fft.fftfreq(side).astype(F32)[:, None]
    fx = fft.rfftfreq(side).astype(F32)[None, :] * F32(stretch)
    radius = np.hypot(fy / F32(np.sqrt(stretch)), fx / F32(np.sqrt(stretch)))
    radius[0, 0] = 1.0
    half = (side, side // 2 + 1)
    spectrum = rng.standard_normal(half, dtype=F32) + 1j * rng.standard_normal(half, dtype=F32)
    spectrum *= radius ** F32(-slope)
    spectrum[0, 0] = 0.0
    out = fft.irfft2(spectrum, s=(side, side))
    return out * F32(1 / out[::2, ::2].std())


@dataclass(frozen=True)
class Texture:
    """One field and its relief under the scene's light, both (side, side), periodic."""

    tone: np.ndarray
    relief: np.ndarray

    @classmethod
    def of(cls, tone: np.ndarray, light: tuple[float, float]) -> "Texture":
        """The field with the brightness of its slopes under light from (x, y)."""
        dx = np.roll(tone, -1, 1) - tone
        dy = np.roll(tone, -1, 0) - tone
        relief = dx * F32(light[0]) + dy * F32(light[1])
        return cls(tone, relief * F32(1 / relief[::4, ::4].std()))

    def patch(self, rng: np.random.Generator, height: int, width: int, *, relief: float) -> np.ndarray:
        """A random window (height, width), both at most side, of tone plus relief times its slopes; deviation about 1."""
        side = self.tone.shape[0]
        stride = 2 if 2 * max(height, width) <= side and rng.random() < 0.5 else 1
        top, left = int(rng.integers(side - height * stride + 1)), int(rng.integers(side - width * stride + 1))
        window = (slice(top, top + height * stride, stride), slice(left, left + width * stride, stride))
        return (self.tone[window] + F32(relief) * self.relief[window]) * F32(1 / np.hypot(1.0, relief))


def hashed(*cells: np.ndarray, salt: int) -> np.ndarray:
    """Integer cell coordinates -> uniform noise in [0, 1), the same for the same cell and salt."""
    mixed = np.full(cells[0].shape, (salt * 2654435761 + 1) % 2**32, dtype=np.uint32)
    for cell in cells:
        mixed = (mixed ^ cell.astype(np.int64).astype(np.uint32)) * np.uint32(2246822519)
        mixed ^= mixed >> np.uint32(13)
    mixed *= np.uint32(3266489917)
    mixed ^= mixed >> np.uint32(16)
    return (mixed >> np.uint32(8)).astype(F32) / F32(2**24)


def bricks(u: np.ndarray, v: np.ndarray, *, salt: int, aspect: float, joint: float) -> tuple[np.ndarray, np.ndarray]:
    """Surface coordinates in courses -> (tone of each brick in [0, 1), coverage by brick rather than mortar in [0, 1])."""
    row = np.floor(v)
    along = u / F32(aspect) + F32(0.5) * (row % 2)
    column = np.floor(along)
    edge_v = np.minimum(v - row, row + 1 - v)
    edge_u = np.minimum(along - column, column + 1 - along) * F32(aspect)
    solid = np.clip((np.minimum(edge_u, edge_v) - F32(joint)) / F32(0.06) + F32(0.5), 0, 1)
    return hashed(row, column, salt=salt), solid


def planks(u: np.ndarray, v: np.ndarray, *, salt: int, gap: float) -> tuple[np.ndarray, np.ndarray]:
    """Surface coordinates in boards -> (tone with grain along u, about [0, 1], coverage by wood rather than gap)."""
    board = np.floor(v)
    shift = hashed(board, salt=salt)
    across = (v - board) + F32(0.12) * np.sin(u * F32(1.3) + shift * F32(40))
    grain = np.sin(across * F32(28) + shift * F32(90) + F32(1.5) * np.sin(across * F32(11) + u * F32(0.6)))
    solid = np.clip((np.minimum(v - board, board + 1 - v) - F32(gap)) / F32(0.04) + F32(0.5), 0, 1)
    return shift * F32(0.6) + F32(0.2) + F32(0.2) * grain, solid


def pebbles(rng: np.random.Generator, u: np.ndarray, v: np.ndarray, *, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates (h, w), any range -> (tone per stone in [0, 1), roundness in [0, 1], 0 in the gaps); the pattern has period 1."""
    seeds = rng.random((count, 2))
    points = np.stack([np.mod(u, 1), np.mod(v, 1)], axis=-1)[::2, ::2]
    distance, nearest = cKDTree(seeds, boxsize=1.0).query(points, k=2, eps=0.1)
    round_ = np.clip((distance[..., 1] - distance[..., 0]) * np.sqrt(count) * 1.6, 0, 1).astype(F32)
    tone = hashed(nearest[..., 0], salt=int(rng.integers(2**31)))
    doubled = [np.repeat(np.repeat(a, 2, 0), 2, 1)[: u.shape[0], : u.shape[1]] for a in (tone, round_)]
    return doubled[0], ndimage.uniform_filter(doubled[1], 2)


@dataclass(frozen=True)
class Outline:
    """A closed shape about the origin: `inside(x, y)` is 1 at the centre, 0 on the rim, below 0 outside."""

    kind: str
    aspect: float
    angle: float
    rim: np.ndarray | None = None  # radius over _RIM directions, for shapes that are no ellipses

    def extent(self) -> tuple[float, float]:
        """Half width and half height of a box about the shape, in units of its radius."""
        if self.kind == "bar":
            cos, sin = abs(np.cos(self.angle)), abs(np.sin(self.angle))
            return float(5 * cos + sin), float(5 * sin + cos)
        reach = 1.42 if self.kind == "box" else 1.3 if self.rim is not None else 1.05
        return reach, reach

    def inside(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Coordinates (h, w) in units of the shape's radius -> signed depth below the rim."""
        cos, sin = F32(np.cos(self.angle)), F32(np.sin(self.angle))
        along, across = cos * x + sin * y, (cos * y - sin * x) * F32(self.aspect)
        if self.kind == "box":
            return 1 - np.maximum(np.abs(along), np.abs(across))
        if self.kind == "leaf":
            return 1 - np.sqrt(along**2 + across**2 * (F32(1.6) + F32(1.6) * np.abs(along)))
        if self.kind == "bar":
            return 1 - np.maximum(np.abs(across), np.abs(along) * F32(0.2))
        radius = np.sqrt(along**2 + across**2)
        if self.rim is None:
            return 1 - radius
        turn = np.arctan2(across, along) * F32(_RIM / (2 * np.pi))
        return self.rim[turn.astype(np.int32) % _RIM] - radius


def outline(rng: np.random.Generator, kind: str) -> Outline:
    """A random outline of a kind: round, box, leaf, bar (a pole or a branch), rock or bush."""
    angle = float(rng.uniform(0, 2 * np.pi))
    if kind in ("rock", "bush"):
        orders, swing = (5, 0.09) if kind == "rock" else (14, 0.08)
        swings = rng.normal(0, swing, (2, orders - 2)) / np.sqrt(np.arange(1, orders - 1))
        rim = 1 + swings[0] @ _COSINES[: orders - 2] + swings[1] @ _SINES[: orders - 2]
        return Outline(kind, float(rng.uniform(1, 1.8 if kind == "rock" else 1.3)), angle, rim.astype(F32))
    aspect = {"round": rng.uniform(1, 1.5), "box": rng.uniform(1, 2.5), "leaf": rng.uniform(1.2, 2.5), "bar": 1.0}[kind]
    return Outline(kind, float(aspect), angle)
