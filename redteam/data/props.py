"""What stands in a scene: crowds of objects, foliage, trees, fences and flowers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from redteam.data.canvas import EARTH, FLOWER, GREEN, PAINT, Body, Canvas, Family, place
from redteam.data.surfaces import F32, Outline, outline


@dataclass(frozen=True, kw_only=True)
class Crowd:
    """Many objects of one family.

    kinds:  outlines to choose from
    family: tones to choose from
    radii:  least and greatest radius, frame widths; small ones are many
    box:    left, top, right and bottom of where their centres lie
    depth:  of the farthest and of the nearest
    bulge, contrast, shadow: as of a Body; contrast varies about its value
    """

    kinds: tuple[str, ...]
    family: Family
    radii: tuple[float, float]
    box: tuple[float, float, float, float]
    depth: tuple[float, float]
    bulge: float = 1.0
    contrast: float = 0.3
    shadow: float = 0.45


def scatter(canvas: Canvas, count: int, crowd: Crowd) -> None:
    """Paint count objects of a crowd, far to near."""
    rng, (low, high), box, depth = canvas.rng, crowd.radii, crowd.box, crowd.depth
    for nearness in np.sort(rng.random(count)):
        radius = low * (high / low) ** float(rng.beta(1.0, 2.2))
        centre = (float(rng.uniform(box[0], box[2])), float(rng.uniform(box[1], box[3])))
        shape, tone = outline(rng, str(rng.choice(crowd.kinds))), canvas.tone(crowd.family)
        away, contrast = depth[0] + (depth[1] - depth[0]) * float(nearness), crowd.contrast * float(rng.uniform(0.5, 1.4))
        place(canvas, shape, centre, radius, Body(tone=tone, depth=away, contrast=contrast, bulge=crowd.bulge, shadow=crowd.shadow))


def foliage(canvas: Canvas, centre: tuple[float, float], radius: float, depth: float) -> None:
    """A crown or a bush: a dark body, then tufts that catch the light above."""
    rng = canvas.rng
    family = GREEN if rng.random() < 0.85 else EARTH
    base = canvas.tone(family)
    place(canvas, outline(rng, "bush"), centre, radius, Body(tone=base * F32(0.35), depth=depth, contrast=0.9, shadow=0.4))
    dx, dy = canvas.light
    for _ in range(int(rng.integers(8, 20))):
        angle, reach = rng.uniform(0, 6.28), radius * np.sqrt(rng.random()) * 1.05
        ox, oy = np.cos(angle) * reach, np.sin(angle) * reach
        bright = F32(0.75 + 0.5 * (ox * dx + oy * dy) / radius)
        place(canvas, outline(rng, "bush"), (centre[0] + ox, centre[1] + oy), radius * float(rng.uniform(0.12, 0.36)),
              Body(tone=base * bright, depth=depth, contrast=1.0, shadow=0.35))


def tree(canvas: Canvas, x: float, foot: float, height: float, depth: float) -> None:
    """A trunk, most times, and a crown."""
    rng = canvas.rng
    if rng.random() < 0.8:
        trunk = Outline("bar", 1.0, float(np.pi / 2 + rng.normal(0, 0.06)))
        place(canvas, trunk, (x, foot - height * 0.3), height * 0.08, Body(tone=canvas.tone(EARTH) * F32(0.5), depth=depth, contrast=0.6))
    foliage(canvas, (x, foot - height * 0.72), height * 0.36, depth)


def fence(canvas: Canvas) -> None:
    """Upright bars across the frame."""
    rng = canvas.rng
    pitch, tone = float(rng.uniform(0.05, 0.2)), canvas.tone(PAINT + EARTH)
    bar = Outline("bar", 1.0, float(np.pi / 2 + rng.normal(0, 0.1)))
    for x in np.arange(float(rng.uniform(0, pitch)), 1.05, pitch):
        place(canvas, bar, (float(x), 0.6), pitch * float(rng.uniform(0.12, 0.2)) * 2, Body(tone=tone, depth=0.35, contrast=0.15))


def bloom(canvas: Canvas, centre: tuple[float, float], radius: float) -> None:
    """A flower: petals about a disc."""
    rng = canvas.rng
    tone, count = canvas.tone(FLOWER), int(rng.integers(5, 13))
    for k in range(count):
        angle = 6.283 * k / count + float(rng.normal(0, 0.08))
        petal = Outline("leaf", 1.6, angle)
        at = (centre[0] + np.cos(angle) * radius * 0.6, centre[1] + np.sin(angle) * radius * 0.6)
        place(canvas, petal, at, radius * 0.55, Body(tone=tone * F32(rng.uniform(0.85, 1.1)), depth=0.1, bulge=0.5, contrast=0.12, shadow=0.35))
    place(canvas, outline(rng, "round"), centre, radius * 0.25, Body(tone=canvas.tone(EARTH + FLOWER), depth=0.1, contrast=0.6))
