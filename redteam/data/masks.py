"""Reads masks: pictures that are white where the image is forged, and pictures whose values are class numbers."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import ImageOps

from redteam.data.corpus import UnreadableImage
from redteam.data.pictures import MODES, check_kind, opened, read_upright

White = Literal["forged", "authentic"]  # what white means in a mask
VOID = 255  # class number of the border in PASCAL VOC


def read_mask(path: Path, height: int, width: int, *, white: White = "forged") -> np.ndarray:
    """A mask file -> (height, width) uint8, 255 where it is forged, else 0. Raises UnreadableImage.

    A pixel is white where the mean over its channels is above 127.5; a mask of zeros and small numbers is refused rather than read as black.
    """
    levels = read_upright(path, ("1", *MODES))
    _check_size(path, levels, height, width)
    light = levels.sum(2, dtype=np.uint16) > 382  # of three channels: 3 * 127.5 = 382.5
    if levels.any() and not light.any():
        raise UnreadableImage(f"{path.name}: a mask must be white (255) where the image is {white}, got {int(levels.max())} at most; save it in black and white")
    return np.where(light == (white == "forged"), np.uint8(255), np.uint8(0))


def read_classes(path: Path, classes: Collection[int] | None = None) -> np.ndarray:
    """A picture of class numbers -> (h, w) uint8, 255 where the class is one of `classes`, or any but 0 when not given. Raises UnreadableImage."""
    with opened(path) as picture:
        check_kind(path, picture, ("1", "L", "P"))
        numbers = np.array(ImageOps.exif_transpose(picture))  # of a palette picture the numbers, not the colours
    found = set(np.unique(numbers).tolist())
    if classes is None and VOID in found and found - {0, VOID}:
        others = ", ".join(map(str, sorted(found - {0, VOID})))
        raise UnreadableImage(f"{path.name}: class {VOID} is the border in VOC but may also mean forged, got it beside {others}; name the forged classes with classes: [...]")
    forged = numbers != 0 if classes is None else np.isin(numbers, list(classes))
    return forged.astype(np.uint8) * 255


def fitted(path: Path, mask: np.ndarray, height: int, width: int) -> np.ndarray:
    """The mask itself where it has its image's size. Raises UnreadableImage."""
    _check_size(path, mask, height, width)
    return mask


def _check_size(path: Path, mask: np.ndarray, height: int, width: int) -> None:
    if mask.shape[:2] == (height, width):
        return
    found = f"{mask.shape[0]} high and {mask.shape[1]} wide"
    turned = mask.shape[:2] == (width, height)
    repair = "if EXIF turns the image, turn the mask too" if turned else "make the mask from this image"
    raise UnreadableImage(f"{path.name}: a mask must be as large as its image, {height} high and {width} wide, got {found}; {repair}")
