"""Whole-image regeneration: a photograph sent through a generative model's autoencoder.

The result shows the same scene, so that only what the decoder leaves behind tells it from the original.

Source: Rajan et al., "Aligned Datasets Improve Detection of Latent Diffusion-Generated Images", ICLR 2025, arXiv:2410.11835.
"""

from __future__ import annotations

from typing import Protocol

import torch.nn.functional as F
from torch import Tensor


class Reconstructs(Protocol):
    """What regeneration needs of an autoencoder."""

    factor: int

    def __call__(self, images: Tensor) -> Tensor:
        """(n, 3, h, w) in [0, 1], sides divisible by factor -> the reconstruction, same shape."""


def regenerate(images: Tensor, vae: Reconstructs) -> Tensor:
    """(n, 3, h, w) in [0, 1], any size -> the autoencoder's reconstruction (n, 3, h, w) in [0, 1].

    Sides that the autoencoder's factor does not divide are mirrored up to the next multiple, and cut back.
    """
    height, width = images.shape[-2:]
    padded = F.pad(images, (0, -width % vae.factor, 0, -height % vae.factor), mode="reflect")
    return vae(padded)[..., :height, :width].clamp(0, 1)
