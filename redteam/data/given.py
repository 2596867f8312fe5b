"""Images that a program hands over: tensors, arrays and pictures in memory, or the paths of files."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from redteam.data.corpus import Corpus, Picture, Reader, Resolve, Sample
from redteam.data.pictures import header, read_rgb
from redteam.imaging.grid import to_levels

Pixels8 = np.ndarray  # (h, w, 3) uint8


@dataclass(frozen=True, kw_only=True, eq=False)
class Given(Corpus):
    """Images in memory, or in files that are read when they are needed. Not a component of scenarios: YAML holds no images.

    images: (h, w, 3) uint8, or the path of a file
    labels: 1 is fake or forged, 0 is not
    ids:    a name for each, each once; an image's randomness hangs on it
    groups: the source image of each
    masks:  (h, w) uint8, 255 where forged; None where there are none
    """

    images: tuple[Pixels8 | Path, ...]
    labels: tuple[int, ...]
    ids: tuple[str, ...]
    groups: tuple[str, ...]
    masks: tuple[np.ndarray, ...] | None = None

    def samples(self) -> Iterator[Sample]:
        """The samples in the order in which they were given."""
        return (self._sample(i) for i in range(len(self.images)))

    def open(self, resolve: Resolve) -> Reader:
        """A function that hands one over, or reads its file."""

        def read(sample: Sample) -> Picture:
            image = self.images[sample.source]
            return Picture(read_rgb(image) if isinstance(image, Path) else image, None if self.masks is None else self.masks[sample.source])

        return read

    def has_masks(self) -> bool:
        """Whether masks were given."""
        return self.masks is not None

    def _sample(self, i: int) -> Sample:
        image = self.images[i]
        known = {"id": self.ids[i], "label": self.labels[i], "group": self.groups[i], "source": i}
        if isinstance(image, Path):
            found = header(image)
            return Sample(**known, height=found.height, width=found.width, content=found.content, container=found.container)
        return Sample(**known, height=image.shape[0], width=image.shape[1], content=hashlib.sha256(str(image.shape).encode() + image.tobytes()).hexdigest())


def given(images: Any, labels: Any, *, ids: Iterable[str] | None = None, groups: Iterable[Any] | None = None, masks: Any = None) -> Given:
    """The corpus of images as programs hold them.

    images: a tensor (n, 3, h, w), an array (n, h, w, 3), or a sequence of tensors (3, h, w), arrays (h, w, 3), Pillow images and paths;
            floating-point pixels lie in [0, 1] and are rounded to 8 bits, as a file would hold them
    labels: n numbers 0 or 1
    ids:    n names; their numbers when not given
    groups: n names of the source image; each image its own when not given
    masks:  n masks (h, w) or (1, h, w), forged where above half of 1 (floating point, flags) or of 255 (integers)

    Raises ValueError.
    """
    pixels = tuple(_image(image, f"images[{i}]") for i, image in enumerate(images))
    if not pixels:
        raise ValueError("images must hold at least one image, got none")
    names = tuple(f"{i:05d}" for i in range(len(pixels))) if ids is None else tuple(map(str, ids))
    found = Given(
        images=pixels, labels=tuple(_label(label, i) for i, label in enumerate(labels)), ids=names,
        groups=names if groups is None else tuple(str(_plain(group)) for group in groups), masks=None if masks is None else tuple(_mask(mask, f"masks[{i}]") for i, mask in enumerate(masks)),
    )  # fmt: skip
    for what, values in (("labels", found.labels), ("ids", found.ids), ("groups", found.groups), ("masks", found.masks)):
        if values is not None and len(values) != len(pixels):
            raise ValueError(f"{what} must be as many as images, {len(pixels)}, got {len(values)}")
    if len(set(names)) < len(names):
        raise ValueError("ids must be unique: an image's randomness and its records hang on its id")
    _check_masks(found)
    return found


def _check_masks(found: Given) -> None:
    for i, mask in enumerate(found.masks or ()):
        image = found.images[i]
        if not isinstance(image, Path) and mask.shape != image.shape[:2]:
            raise ValueError(f"masks[{i}] must be as large as its image, {image.shape[:2]}, got {mask.shape}")


def _image(value: Any, name: str) -> Pixels8 | Path:
    if isinstance(value, (str, Path)):
        return Path(value)
    if isinstance(value, Image.Image):
        if value.mode not in ("RGB", "L"):
            raise ValueError(f"{name} must be of mode RGB or L, got {value.mode}; convert it by image.convert('RGB') once you know what that does to it")
        return np.array(value.convert("RGB"))
    channels_first = isinstance(value, Tensor)
    tensor = value.detach().cpu() if channels_first else torch.from_numpy(np.ascontiguousarray(value))
    if tensor.ndim != 3 or tensor.shape[0 if channels_first else 2] != 3:
        wanted = "(3, h, w), as tensors are" if channels_first else "(h, w, 3), as arrays are"
        raise ValueError(f"{name} must be {wanted}, got {tuple(tensor.shape)}")
    levels = tensor if tensor.dtype == torch.uint8 else _levels(tensor, name)
    return np.ascontiguousarray((levels.permute(1, 2, 0) if channels_first else levels).numpy())


def _levels(tensor: Tensor, name: str) -> Tensor:
    low, high = (tensor.min().item(), tensor.max().item()) if tensor.numel() else (0, 0)
    if not tensor.is_floating_point() or not (0 <= low and high <= 1):
        raise ValueError(f"{name} must be uint8, or lie in [0, 1], got {tensor.dtype} in [{low:g}, {high:g}]; what your network is fed stands under input, since attacks move pixels")
    return to_levels(tensor).to(torch.uint8)


def _label(value: Any, i: int) -> int:
    label = _plain(value)
    if isinstance(label, (bool, int, float)) and label in (0, 1):
        return int(label)
    raise ValueError(f"labels[{i}] must be 0 (real) or 1 (fake), got {label!r}")


def _mask(value: Any, name: str) -> np.ndarray:
    mask = np.asarray(value.detach().cpu() if isinstance(value, Tensor) else value)
    mask = mask[0] if mask.ndim == 3 and mask.shape[0] == 1 else mask
    if mask.ndim != 2:
        raise ValueError(f"{name} must be (h, w) or (1, h, w), got {mask.shape}")
    half = 127.5 if np.issubdtype(mask.dtype, np.integer) else 0.5
    return (mask > half).astype(np.uint8) * 255


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) or isinstance(value, Tensor) and value.numel() == 1 else value
