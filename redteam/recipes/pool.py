"""Training pictures, rendered or cut once into one array on disk."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from redteam.data.camera import render
from redteam.data.corpus import CorpusError
from redteam.recipes.recipe import Progress

TRAIN_SEED = 0  # of the camera corpus; evaluation uses 1 and above
_CHUNK = 50
_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp"}


def pictures(folder: Path, photographs: Path | None, *, count: int, size: int, progress: Progress) -> np.ndarray:
    """The training pictures of a recipe, made when absent: of the camera corpus under its training seed, or of a folder."""
    if photographs is None:
        return camera_pool(folder, seed=TRAIN_SEED, count=count, size=size, progress=progress)
    return folder_pool(folder, photographs, seed=TRAIN_SEED, count=count, size=size, progress=progress)


def camera_pool(folder: Path, *, seed: int, count: int, size: int, progress: Progress) -> np.ndarray:
    """Pictures 0..count-1 of the camera corpus -> read-only (count, size, size, 3) uint8, rendered by all cores when absent."""
    return _pool(folder / f"camera-{seed}-{count}-{size}.npy", _rendered, (seed,), count=count, size=size, progress=progress)


def folder_pool(folder: Path, photographs: Path, *, seed: int, count: int, size: int, progress: Progress) -> np.ndarray:
    """count crops of a folder's photographs, each photograph in turn -> read-only (count, size, size, 3) uint8.

    Raises: CorpusError when the folder holds no picture of at least size x size.
    """
    names = _large_enough(photographs, size)
    return _pool(folder / f"folder-{seed}-{count}-{size}.npy", _cut, (names, seed), count=count, size=size, progress=progress)


def centre_crops(photographs: Path, size: int) -> list[np.ndarray]:
    """The middle of each photograph of a folder that is large enough, at its own resolution, (size, size, 3) uint8, by name."""
    crops = []
    for name in _large_enough(photographs, size):
        with Image.open(name) as image:
            left, top = (image.width - size) // 2, (image.height - size) // 2
            crops.append(np.asarray(image.convert("RGB").crop((left, top, left + size, top + size))))
    return crops


def _large_enough(photographs: Path, size: int) -> list[str]:
    names = []
    for path in sorted(p for p in photographs.rglob("*") if p.suffix.lower() in _SUFFIXES):
        with Image.open(path) as image:
            if min(image.size) >= size:
                names.append(str(path))
    if not names:
        raise CorpusError(f"data: {photographs} must hold photographs of at least {size} x {size}, found none")
    return names


def _pool(path: Path, make: Callable[..., np.ndarray], args: tuple, *, count: int, size: int, progress: Progress) -> np.ndarray:
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".part")
        pool = np.lib.format.open_memmap(unfinished, mode="w+", dtype=np.uint8, shape=(count, size, size, 3))
        starts = range(0, count, _CHUNK)
        ranges = [(start, min(start + _CHUNK, count)) for start in starts]
        for (start, stop), made in zip(ranges, _in_parallel(make, args, ranges, size), strict=True):
            pool[start:stop] = made
            progress(f"pictures {stop}/{count}")
        pool.flush()
        unfinished.rename(path)
    return np.load(path, mmap_mode="r")


def _in_parallel(make: Callable[..., np.ndarray], args: tuple, ranges: list[tuple[int, int]], size: int) -> Iterator[np.ndarray]:
    if len(ranges) == 1:  # starting processes would take longer
        yield make(*args, *ranges[0], size)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=min(len(ranges), os.cpu_count() or 1), mp_context=context) as workers:
        jobs = [workers.submit(make, *args, start, stop, size) for start, stop in ranges]
        for job in jobs:
            yield job.result()


def _rendered(seed: int, start: int, stop: int, size: int) -> np.ndarray:
    return np.stack([render(seed, index, size) for index in range(start, stop)])


def _cut(names: list[str], seed: int, start: int, stop: int, size: int) -> np.ndarray:
    crops = []
    for index in range(start, stop):
        rng = np.random.default_rng([seed, index])
        with Image.open(names[index % len(names)]) as opened:
            image = opened.convert("RGB")
        reduction = max(1, min(image.size) // (3 * size))  # large photographs would give crops without content
        image = image.reduce(reduction)
        left, top = (int(rng.integers(side - size + 1)) for side in image.size)
        crops.append(np.asarray(image.crop((left, top, left + size, top + size))))
    return np.stack(crops)
