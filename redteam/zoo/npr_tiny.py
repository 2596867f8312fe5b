"""`zoo/npr-tiny`: a small detector of generated images by what upsampling leaves between neighbouring pixels.

Source: Tan et al., "Rethinking the Up-Sampling Operations in CNN-based Generative Network for Generalizable Deepfake Detection",
CVPR 2024, arXiv:2312.10461, section 3.2 (the map of neighbouring pixel relations).
Deviation: a residual network of 0.1 M parameters without max pooling instead of a ResNet-50 cut after its second stage; pixels are
not normalised; the map is scaled by 8 because differences between neighbours are small.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch.nn.functional as F
from torch import Tensor, nn

from redteam.zoo.model import ReferenceModel

_GAIN = 8.0


@dataclass(frozen=True, kw_only=True)
class NPRTiny(ReferenceModel):
    """Small detector of images that went through an autoencoder."""

    name: ClassVar[str] = "npr-tiny"
    role: ClassVar[Literal["detector", "autoencoder"]] = "detector"
    source: ClassVar[str] = "Tan et al., CVPR 2024, arXiv:2312.10461; our training"

    @classmethod
    def build(cls) -> Detector:
        """The architecture with untrained weights."""
        return Detector()


def neighbour_relations(images: Tensor) -> Tensor:
    """(n, 3, h, w) -> (n, 3, h - h % 2, w - w % 2): each pixel minus the top left pixel of its 2 x 2 block."""
    even = images[..., : images.shape[-2] // 2 * 2, : images.shape[-1] // 2 * 2]
    corners = even[..., ::2, ::2]
    return even - corners.repeat_interleave(2, -2).repeat_interleave(2, -1)


class Detector(nn.Module):
    """Neighbour relations, four residual blocks, average pooling, one logit; label 1 is generated."""

    def __init__(self, widths: tuple[int, ...] = (16, 32, 32, 64)) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, widths[0], 4, stride=2, padding=1, bias=False), nn.BatchNorm2d(widths[0]), nn.ReLU())
        strides = (1, 2, 1, 2)
        ins = (widths[0], *widths[:-1])
        self.blocks = nn.Sequential(*(Block(a, b, stride) for a, b, stride in zip(ins, widths, strides, strict=True)))
        self.head = nn.Linear(widths[-1], 1)

    def forward(self, images: Tensor) -> Tensor:
        """(n, 3, h, w) in [0, 1], h and w at least 32 -> logits (n,), above 0 for generated."""
        features = self.blocks(self.stem(neighbour_relations(images) * _GAIN))
        return self.head(features.mean((-2, -1))).squeeze(1)


class Block(nn.Module):
    """Two 3 x 3 convolutions beside a shortcut."""

    def __init__(self, ins: int, outs: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(ins, outs, 3, stride, 1, bias=False), nn.BatchNorm2d(outs), nn.ReLU(), nn.Conv2d(outs, outs, 3, 1, 1, bias=False), nn.BatchNorm2d(outs)
        )
        plain = ins == outs and stride == 1
        self.shortcut = nn.Identity() if plain else nn.Sequential(nn.Conv2d(ins, outs, 1, stride, bias=False), nn.BatchNorm2d(outs))

    def forward(self, x: Tensor) -> Tensor:
        """(n, ins, h, w) -> (n, outs, h / stride, w / stride)."""
        return F.relu(self.body(x) + self.shortcut(x))
