"""Random sizes and places: an image shrunk and put somewhere on black, or cut into blocks that change places.

Chance comes from the caller, as uniform numbers in [0, 1) for each image.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from redteam.imaging.resampling import resize
from redteam.imaging.rotation import rotate

PLACED = 4  # numbers that resize_and_pad takes for an image


def resize_and_pad(pixels: Tensor, chances: Tensor, smallest: float, probability: float = 1.0) -> Tensor:
    """Pixels (n, c, h, w) and chances (n, 4) -> the same shape: each image shrunk to a random size from `smallest` of its own, at a random place on black.

    Differentiable. The chances are: whether it happens, the size, and the place down and across.

    >>> resize_and_pad(torch.ones(1, 1, 2, 2), torch.tensor([[0.0, 0.0, 0.9, 0.0]]), 0.5).tolist()
    [[[[0.0, 0.0], [1.0, 0.0]]]]
    """
    drawn = zip(pixels, chances.tolist(), strict=True)
    return torch.stack([_placed(image, draws, smallest) if draws[0] < probability else image for image, draws in drawn])


def shuffle_blocks(pixels: Tensor, chances: Tensor, blocks: int, angle: float) -> Tensor:
    """Pixels (n, c, h, w) and chances (n, shuffled(blocks)) -> the same shape: cut into blocks x blocks, shuffled, each turned by up to `angle` degrees.

    Differentiable. What lay outside a turned block is mirrored in.

    >>> shuffle_blocks(torch.arange(4.0).view(1, 1, 2, 2), torch.full((1, shuffled(1)), 0.5), 1, 0.0).flatten().tolist()
    [0.0, 1.0, 2.0, 3.0]
    """
    return torch.stack([_shuffled(image, draws, blocks, angle) for image, draws in zip(pixels, chances.tolist(), strict=True)])


def shuffled(blocks: int) -> int:
    """Numbers that shuffle_blocks takes for an image: cuts and order of the strips, then of the blocks in each, and their turns.

    >>> shuffled(2)
    13
    """
    strip = 2 * blocks - 1
    return strip + blocks * (strip + blocks)


def _placed(image: Tensor, draws: Sequence[float], smallest: float) -> Tensor:
    height, width = image.shape[-2:]
    _, size, down, across = draws
    small = [max(1, round(length * (smallest + (1 - smallest) * size))) for length in (height, width)]
    top, left = (int(place * (length - inner + 1)) for place, length, inner in zip((down, across), (height, width), small, strict=True))
    inner = resize(image[None], *small)[0]
    return functional.pad(inner, (left, width - small[1] - left, top, height - small[0] - top))


def _shuffled(image: Tensor, draws: list[float], blocks: int, angle: float) -> Tensor:
    """Horizontal strips in a new order, and inside each its own vertical cuts in a new order."""
    strip = 2 * blocks - 1
    rows = []
    for i, row in enumerate(_cut(image, -2, draws[:strip])):
        own = draws[strip + i * (strip + blocks) :][: strip + blocks]
        turned = [rotate(block[None], angle * (2 * turn - 1))[0] if angle else block for block, turn in zip(_cut(row, -1, own[:strip]), own[strip:], strict=False)]
        rows.append(torch.cat(turned, -1))
    return torch.cat(rows, -2)


def _cut(image: Tensor, dim: int, draws: Sequence[float]) -> list[Tensor]:
    """Parts along an axis, cut at the first numbers and ordered by the others; empty ones are left out."""
    parts = len(draws) // 2 + 1
    length = image.shape[dim]
    cuts = [0, *sorted(int(at * (length + 1)) for at in draws[: parts - 1]), length]
    sizes = [later - sooner for sooner, later in zip(cuts, cuts[1:], strict=False)]
    found = image.split(sizes, dim)
    order = sorted(range(parts), key=lambda i: draws[parts - 1 + i])
    return [found[i] for i in order if sizes[i]]
