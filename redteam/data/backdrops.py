"""What fills a frame behind the objects: sky, hills, ground planes in perspective, walls and house fronts."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from redteam.data.canvas import BRICK, EARTH, GREEN, PAINT, STONE, Canvas, colour
from redteam.data.surfaces import F32, bricks, pebbles, planks


def sky(canvas: Canvas, horizon: float) -> None:
    """Fill the frame with a sky that pales toward the horizon, with or without clouds."""
    rng = canvas.rng
    height = np.clip(1 - canvas.y[:, :1] / F32(max(horizon, 0.2)), 0, 1)
    zenith = colour(0.18, 0.36, 0.85) * F32(rng.uniform(0.6, 1.3))
    low = colour(0.8, 0.88, 1.0) * F32(rng.uniform(0.7, 1.2)) * (canvas.sun if rng.random() < 0.5 else 1)
    base = low + (zenith - low) * height ** F32(rng.uniform(0.4, 1.0))
    cloud = canvas.plain.tone * F32(0.6) + canvas.soft * F32(0.8)
    cover = np.clip((cloud - F32(rng.uniform(-1, 2))) * F32(rng.uniform(0.5, 1.5)), 0, 1)
    white = F32(1.15) - F32(0.3) * np.clip(canvas.soft, 0, 2)
    canvas.radiance[:] = base + cover * (white - base)


def hills(canvas: Canvas, horizon: float) -> None:
    """Ridges before the sky, paler with distance."""
    rng = canvas.rng
    haze = canvas.radiance[:, max(0, int(horizon * canvas.side) - 2)].mean(1).reshape(3, 1, 1)
    for share in np.linspace(0.75, 0.1, int(rng.integers(1, 4))):
        ridge = canvas.plain.tone[int(rng.integers(canvas.side))] * F32(0.02) + canvas.soft[int(rng.integers(canvas.side))] * F32(0.05)
        crest = F32(horizon - 0.16 * share) + ndimage.uniform_filter1d(ridge, 3, mode="wrap")
        cover = np.clip((canvas.y - crest[None, :]) * F32(canvas.side), 0, 1)
        land = canvas.surface(canvas.side, canvas.side, 0.4) * (canvas.tone(GREEN + EARTH[:2]) * canvas.lit(0.5) * F32(1 - share))
        land += F32(share) * haze
        canvas.radiance += cover * (land - canvas.radiance)
        canvas.depth += cover * (F32(0.7 + 0.3 * share) - canvas.depth)


def pattern(canvas: Canvas, u: np.ndarray, v: np.ndarray, *, kind: str, fade: np.ndarray | None = None) -> np.ndarray:
    """Reflectance (3, h, w) of a surface at coordinates (u, v) in units of its elements; fade 0..1 flattens the far away."""
    rng, salt = canvas.rng, int(canvas.rng.integers(2**31))
    family = {"bricks": BRICK, "tiles": STONE, "planks": EARTH, "pebbles": STONE + EARTH}[kind]
    base, other = canvas.tone(family), canvas.tone(family)
    if kind == "pebbles":
        tone, solid = pebbles(rng, u * F32(0.11), v * F32(0.11), count=80)
        solid = F32(0.25) + F32(0.75) * solid
    elif kind == "planks":
        tone, solid = planks(u, v, salt=salt, gap=0.03)
    else:
        tone, solid = bricks(u, v, salt=salt, aspect=2.3 if kind == "bricks" else 1.0, joint=0.05 if kind == "bricks" else 0.02)
    mixed = base + tone * F32(rng.uniform(0.3, 1.0)) * (other - base)
    joint = canvas.tone(STONE) * F32(0.7) if kind == "bricks" else base * F32(0.35)
    full = joint + solid * (mixed - joint)
    mean = F32(0.5) * (base + other)
    return full if fade is None else mean + fade * (full - mean)


def ground(canvas: Canvas, horizon: float, kind: str) -> None:
    """A plane in perspective below the horizon: paving, boards, stones, grass, sand or water."""
    rng = canvas.rng
    first = int(np.clip(horizon, 0, 1) * canvas.side)
    if first >= canvas.side - 2:
        return
    x, y = canvas.x[first:], canvas.y[first:]
    distance = F32(0.35) / (y - F32(horizon) + F32(0.03))
    turn = F32(rng.uniform(-0.6, 0.6))
    across, away = (x - F32(0.5)) * distance, distance
    u, v = across + turn * away, away - turn * across
    fade = np.clip(F32(1.6) / distance, 0, 1)
    if kind in ("bricks", "tiles", "planks", "pebbles"):
        scale = F32(rng.uniform(2.5, 7))
        albedo = pattern(canvas, u * scale, v * scale, kind=kind, fade=fade)
    else:
        family = {"grass": GREEN, "sand": EARTH, "water": ((0.03, 0.08, 0.12), (0.06, 0.1, 0.09))}[kind]
        albedo = canvas.tone(family)
    source = canvas.streaks if kind == "water" else canvas.textures[int(rng.integers(0, 2))]
    step = F32(canvas.side * rng.uniform(0.4, 0.9))
    rows, cols = (v * step).astype(np.int64) % canvas.side, (u * step).astype(np.int64) % canvas.side
    rough = source.tone[rows, cols] + F32(rng.uniform(0.2, 1.2)) * source.relief[rows, cols]
    lift = np.exp(np.clip(F32(rng.uniform(0.15, 0.45)) * rough * fade, -1.5, 1.2))
    light = canvas.lit(0.8) + (F32(0.35) * canvas.sky if kind == "water" else F32(0))
    near = np.clip((y - F32(horizon)) / F32(1 - horizon + 1e-3), 0, 1)
    canvas.radiance[:, first:] = albedo * light * lift
    canvas.depth[first:] = F32(0.9) * (1 - near) + F32(0.05)


def wall(canvas: Canvas) -> None:
    """A wall that faces the camera, at a slant: bricks, boards, tiles or plaster."""
    rng = canvas.rng
    kind = str(rng.choice(["bricks", "planks", "tiles", "plaster", "plaster"]))
    slant, scale = F32(rng.uniform(-0.5, 0.5)), F32(rng.uniform(4, 13))
    depth = 1 / (1 + slant * (canvas.x - F32(0.5)))
    u, v = (canvas.x - F32(0.5)) * depth * scale, (canvas.y - F32(0.5)) * depth * scale
    if rng.random() < 0.3:
        u, v = v, u
    albedo = canvas.tone(PAINT + STONE + EARTH) if kind == "plaster" else pattern(canvas, u, v, kind=kind)
    falloff = np.exp(F32(0.35) * canvas.soft)
    canvas.radiance[:] = albedo * canvas.lit(0.6) * (canvas.surface(canvas.side, canvas.side, float(rng.uniform(0.04, 0.3))) * falloff)
    canvas.depth[:] = F32(0.75) + F32(0.3) * (depth - 1)


def facade(canvas: Canvas, left: float, right: float, top: float, bottom: float) -> None:
    """A house front with rows of windows, seen at an angle."""
    rng = canvas.rng
    spans = ((top - 0.2, bottom + 0.2), (left, right))
    rows, cols = (slice(int(max(0, low) * canvas.side), int(max(0, min(1, high) * canvas.side))) for low, high in spans)
    x, y = canvas.x[rows, cols], canvas.y[rows, cols]
    if x.size == 0:
        return
    slant, lean = F32(rng.uniform(-0.5, 0.5)), F32(rng.uniform(-0.15, 0.15))
    s = (x - F32(left)) / F32(right - left)
    t = (y - F32(top) - lean * (x - F32(left))) / F32(bottom - top)
    s = s / (1 + slant * (1 - s))
    inside = (s > 0) & (s < 1) & (t > 0) & (t < 1)
    a, b = s * F32(rng.integers(2, 7)), t * F32(rng.integers(2, 7))
    fa, fb = np.abs(a - np.floor(a) - F32(0.5)), np.abs(b - np.floor(b) - F32(0.5))
    half_w, half_h = F32(rng.uniform(0.18, 0.36)), F32(rng.uniform(0.22, 0.4))
    frame = (fa < half_w + F32(0.05)) & (fb < half_h + F32(0.05))
    pane = (fa < half_w) & (fb < half_h) & (fa > F32(0.02)) & (fb > F32(0.02))
    light = canvas.lit(float(rng.uniform(0.1, 1)))
    if rng.random() < 0.5:
        skin = pattern(canvas, a * F32(8), b * F32(9), kind="bricks")
    else:
        skin = canvas.tone(PAINT + STONE)
    skin = skin * light * canvas.surface(*x.shape, 0.1)
    skin[:, frame] = (canvas.tone(PAINT + STONE) * light)[..., 0]
    glass = F32(0.04) + F32(0.3) * np.clip(canvas.soft[rows, cols] * F32(0.4) + F32(0.3), 0, 1)
    skin[:, pane] = glass[pane] * canvas.sky[..., 0]
    canvas.radiance[:, rows, cols][:, inside] = skin[:, inside]
    canvas.depth[rows, cols][inside] = F32(rng.uniform(0.45, 0.8))
