"""One batch of images with everything an attack or a measurement may need to know about them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from redteam.seeding import Index, positions


@dataclass(frozen=True, eq=False)
class Images:
    """A batch of images of one height and width; checked on construction.

    pixels:    (n, 3, h, w) float32 in [0, 1]
    ids:       n names, each once; a name is what an image's randomness and its records hang on
    labels:    (n,) int64; 1 is fake, forged or marked, 0 is not
    groups:    n names of the source image; images of one group are not independent
    masks:     (n, 1, h, w) float32 in [0, 1], 1 is forged; None where there are none
    messages:  (n, bits) float32 of 0 and 1; None where there are none
    landmarks: (n, points, 2) float32, x and y in pixels; None where there are none
    """

    pixels: Tensor
    ids: tuple[str, ...]
    labels: Tensor
    groups: tuple[str, ...]
    masks: Tensor | None = None
    messages: Tensor | None = None
    landmarks: Tensor | None = None

    def __post_init__(self) -> None:
        check_pixels(self.pixels)
        n, _, height, width = self.pixels.shape
        if len(self.ids) != n or len(self.groups) != n or self.labels.shape != (n,):
            raise ValueError(f"images: {n} pictures need as many ids, groups and labels, got {len(self.ids)}, {len(self.groups)}, {tuple(self.labels.shape)}")
        if len(set(self.ids)) != n:
            raise ValueError("images: ids must be unique within a batch; an image's randomness and its records hang on its id")
        if self.labels.dtype != torch.int64:
            raise ValueError(f"images: labels must be int64, got {self.labels.dtype}")
        if not torch.isin(self.labels, torch.tensor([0, 1], device=self.labels.device)).all():
            raise ValueError(f"images: labels must be 0 or 1, got {sorted(set(self.labels.tolist()))}")
        if self.masks is not None and self.masks.shape != (n, 1, height, width):
            raise ValueError(f"images: masks must be {(n, 1, height, width)}, got {tuple(self.masks.shape)}")
        for name, values in (("messages", self.messages), ("landmarks", self.landmarks)):
            if values is not None and len(values) != n:
                raise ValueError(f"images: {n} pictures need as many {name}, got {len(values)}")

    def __len__(self) -> int:
        return len(self.ids)

    def subset(self, index: Index) -> Images:
        """The images at `index` (positions or a boolean mask (n,)), in that order."""
        where = positions(index, len(self))
        at = where.to(self.pixels.device)
        order = where.tolist()
        optional = {name: None if value is None else value[at] for name, value in (("masks", self.masks), ("messages", self.messages), ("landmarks", self.landmarks))}
        return Images(
            pixels=self.pixels[at],
            ids=tuple(self.ids[i] for i in order),
            labels=self.labels[at],
            groups=tuple(self.groups[i] for i in order),
            **optional,
        )

    def with_pixels(self, pixels: Tensor, masks: Tensor | None = None) -> Images:
        """The same images with other pixels; where height or width change, an image that has a mask needs a new one."""
        return replace(self, pixels=pixels, masks=self.masks if masks is None else masks)

    def to(self, device: torch.device | str) -> Images:
        """The same images on `device`."""
        moved = {name: None if (value := getattr(self, name)) is None else value.to(device) for name in ("pixels", "labels", "masks", "messages", "landmarks")}
        return replace(self, **moved)


def check_pixels(pixels: Tensor) -> None:
    """Raise ValueError unless pixels are (n, 3, h, w) float32, finite, in [0, 1]."""
    if pixels.ndim != 4 or pixels.shape[1] != 3:
        raise ValueError(f"images must be (n, 3, h, w), got {tuple(pixels.shape)}")
    if pixels.dtype != torch.float32:
        raise ValueError(f"images must be float32, got {pixels.dtype}")
    if pixels.numel() == 0:
        return
    low, high = (value.item() for value in torch.aminmax(pixels))
    if not (low >= 0.0 and high <= 1.0):  # written so that NaN fails too
        raise ValueError(f"images must lie in [0, 1], got [{low:.2f}, {high:.2f}]; the target's adapter normalises, not the caller")
