"""Procedural scenes in linear light with depth: what stands before the simulated camera.

A scene is a backdrop (sky, hills, wall or room), often a ground plane in perspective, and props painted back to front with
shading, surface relief and the shadows that they throw on what lies behind them.

Source: Lee, Mumford and Huang, "Occlusion Models for Natural Images: A Statistical Study of a Scale-Invariant Dead Leaves
Model", IJCV 2001.
Deviation: leaves are objects with surfaces and shadows, and stand in a place, so that content has large structure as photographs do.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from redteam.data.backdrops import facade, ground, hills, sky, wall
from redteam.data.canvas import EARTH, FLOWER, GREEN, PAINT, SKIN, STONE, Body, Canvas, colour, place
from redteam.data.props import Crowd, bloom, fence, foliage, scatter, tree
from redteam.data.surfaces import F32, outline

PLACES = ("landscape", "street", "wall", "thicket", "table", "clutter")
_ODDS = (0.2, 0.18, 0.14, 0.16, 0.16, 0.16)


@dataclass(frozen=True)
class Scene:
    """Light from a scene: radiance (3, h, w) float32, linear, above 0; depth (h, w) in [0, 1], 0 near and 1 far."""

    radiance: np.ndarray
    depth: np.ndarray
    place: str


def compose(rng: np.random.Generator, side: int) -> Scene:
    """A random scene, side x side."""
    canvas = Canvas(rng, side)
    name = str(rng.choice(PLACES, p=_ODDS))
    _PAINTERS[name](canvas)
    _dapple(canvas)
    return Scene(np.maximum(canvas.radiance, F32(1e-4)), np.clip(canvas.depth, 0, 1), name)


def _dapple(canvas: Canvas) -> None:
    """Light and shade over the whole frame, now and then the hard shadow of something out of frame."""
    canvas.radiance *= np.exp(F32(canvas.rng.uniform(0, 0.35)) * canvas.soft)
    if canvas.rng.random() < 0.3:
        edge = (canvas.soft + F32(0.25) * canvas.plain.tone - F32(canvas.rng.uniform(-0.8, 0.8))) * F32(canvas.rng.uniform(4, 15))
        shade = np.clip(edge, 0, 1) * F32(canvas.rng.uniform(0.3, 0.75))
        canvas.radiance *= 1 - shade * colour(1.0, 0.96, 0.88)  # the sky still lights the shade, so it is bluer


def _landscape(canvas: Canvas) -> None:
    rng = canvas.rng
    horizon = float(rng.uniform(0.15, 0.75))
    sky(canvas, horizon)
    if rng.random() < 0.7:
        hills(canvas, horizon)
    ground(canvas, horizon, str(rng.choice(["grass", "grass", "sand", "water", "pebbles"])))
    for near in np.sort(rng.random(int(rng.integers(0, 6)))):
        foot = horizon + 0.02 + 0.4 * near**2
        tree(canvas, float(rng.uniform(0, 1)), foot, 0.15 + 0.75 * float(near), 0.9 - 0.8 * float(near))
    scatter(canvas, int(rng.integers(0, 16)), Crowd(
        kinds=("rock", "bush"), family=STONE + EARTH + GREEN, radii=(0.015, 0.16), box=(0, horizon + 0.05, 1, 1.1),
        depth=(0.7, 0.1), contrast=0.5,
    ))


def _street(canvas: Canvas) -> None:
    rng = canvas.rng
    horizon = float(rng.uniform(0.35, 0.95))
    sky(canvas, horizon)
    ground(canvas, horizon, str(rng.choice(["bricks", "tiles", "sand", "grass"])))
    for _ in range(int(rng.integers(1, 4))):
        left, width = float(rng.uniform(-0.5, 0.8)), float(rng.uniform(0.35, 1.2))
        facade(canvas, left, left + width, float(rng.uniform(-0.6, horizon - 0.15)), horizon + float(rng.uniform(0.0, 0.15)))
    for _ in range(int(rng.integers(0, 3))):
        tree(canvas, float(rng.random()), horizon + 0.1, float(rng.uniform(0.2, 0.7)), 0.4)
    scatter(canvas, int(rng.integers(1, 8)), Crowd(
        kinds=("box", "round", "bar"), family=PAINT + STONE, radii=(0.015, 0.1), box=(0, horizon - 0.1, 1, 1.05),
        depth=(0.6, 0.1), bulge=0.7, contrast=0.15,
    ))


def _wall(canvas: Canvas) -> None:
    rng = canvas.rng
    wall(canvas)
    if rng.random() < 0.35:
        facade(canvas, -0.2, 1.2, -0.2, 1.3)
    if rng.random() < 0.5:
        ground(canvas, float(rng.uniform(0.6, 0.9)), str(rng.choice(["planks", "tiles", "sand", "grass", "bricks"])))
    if rng.random() < 0.4:
        fence(canvas)
    for _ in range(int(rng.integers(0, 3))):
        foliage(canvas, (float(rng.random()), float(rng.uniform(0.3, 1.1))), float(rng.uniform(0.1, 0.35)), 0.3)
    scatter(canvas, int(rng.integers(1, 9)), Crowd(
        kinds=("box", "round", "rock", "leaf"), family=PAINT + EARTH + FLOWER, radii=(0.03, 0.28), box=(0, 0.1, 1, 1.1),
        depth=(0.7, 0.1), bulge=0.8, contrast=0.2,
    ))


def _thicket(canvas: Canvas) -> None:
    rng = canvas.rng
    if rng.random() < 0.4:
        sky(canvas, 0.9)
    else:
        canvas.radiance[:] = canvas.tone(GREEN) * F32(0.4) * canvas.surface(canvas.side, canvas.side, 0.8)
    for _ in range(int(rng.integers(0, 4))):
        foliage(canvas, (float(rng.random()), float(rng.random())), float(rng.uniform(0.2, 0.5)), 0.8)
    scatter(canvas, int(rng.integers(0, 7)), Crowd(
        kinds=("bar",), family=EARTH, radii=(0.01, 0.06), box=(0, 0, 1, 1), depth=(0.8, 0.3), contrast=0.5,
    ))
    size = float(rng.uniform(0.03, 0.14))
    scatter(canvas, int(rng.integers(25, 75)), Crowd(
        kinds=("leaf",), family=GREEN if rng.random() < 0.8 else EARTH, radii=(size * 0.5, size * 1.8),
        box=(-0.1, -0.1, 1.1, 1.1), depth=(0.9, 0.0), bulge=0.55, contrast=0.25, shadow=0.55,
    ))
    if rng.random() < 0.45:
        bloom(canvas, (float(rng.uniform(0.2, 0.8)), float(rng.uniform(0.2, 0.8))), float(rng.uniform(0.08, 0.25)))


def _table(canvas: Canvas) -> None:
    rng = canvas.rng
    wall(canvas)
    horizon = float(rng.uniform(0.1, 0.6))
    ground(canvas, horizon, str(rng.choice(["planks", "planks", "tiles", "sand"])))
    family = [PAINT, EARTH, FLOWER, SKIN, STONE][int(rng.integers(5))] + PAINT[:2]
    for near in np.sort(rng.random(int(rng.integers(2, 9)))):
        radius = float(rng.uniform(0.05, 0.24)) * (0.6 + 0.6 * float(near))
        centre = (float(rng.uniform(0.05, 0.95)), horizon + 0.05 + 0.6 * float(near) - radius * 0.4)
        kind = str(rng.choice(["round", "round", "box", "rock", "bar"]))
        shape, size = outline(rng, kind), radius if kind != "bar" else radius * 0.2
        place(canvas, shape, centre, size, Body(
            tone=canvas.tone(family), shadow=0.6, depth=0.75 - 0.7 * float(near), contrast=float(rng.uniform(0.02, 0.25)),
            gloss=float(rng.random() < 0.4) * 0.8,
        ))


def _clutter(canvas: Canvas) -> None:
    rng = canvas.rng
    canvas.radiance[:] = canvas.tone(STONE + EARTH) * canvas.surface(canvas.side, canvas.side, 0.4) * canvas.lit(0.6)
    family = [STONE + EARTH, PAINT + EARTH, SKIN + PAINT, STONE + GREEN, FLOWER + GREEN][int(rng.integers(5))]
    kinds = [("rock", "round"), ("box", "round", "rock"), ("rock",), ("rock", "leaf", "bar")][int(rng.integers(4))]
    scatter(canvas, int(rng.integers(20, 70)), Crowd(
        kinds=kinds, family=family, radii=(0.02, 0.4), box=(-0.1, -0.1, 1.1, 1.1), depth=(0.9, 0.1),
        bulge=float(rng.uniform(0.3, 1)), contrast=float(rng.uniform(0.15, 0.5)), shadow=0.5,
    ))


_PAINTERS = {"landscape": _landscape, "street": _street, "wall": _wall, "thicket": _thicket, "table": _table, "clutter": _clutter}
