"""`zoo/vae-tiny`: a small variational autoencoder, 16 latent channels at a quarter of the resolution.

Source: Rombach et al., "High-Resolution Image Synthesis with Latent Diffusion Models", CVPR 2022, arXiv:2112.10752, section 3.1 (the
networks); Chen et al., "Deep Compression Autoencoder for Efficient High-Resolution Diffusion Models", ICLR 2025, arXiv:2410.10733,
section 3.1 (shortcuts that move pixels into channels and back, beside the networks).
Deviation: a hundredth of the size and no attention; the shortcuts are linear maps over the whole factor of four, start as the lowest
frequencies of a colour DCT, and are trained with the rest, so that minutes of training are enough.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from scipy import fft
from torch import Tensor, nn

from redteam.zoo.model import ReferenceModel

FACTOR = 4  # pixels per latent, along each side
LATENTS = 16
_FIRST_LOG_VARIANCE = -8.0  # little noise at first, so that latents are worth reading


@dataclass(frozen=True, kw_only=True)
class VAETiny(ReferenceModel):
    """Small autoencoder whose reconstructions are the `regenerate` forgery."""

    name: ClassVar[str] = "vae-tiny"
    role: ClassVar[Literal["detector", "autoencoder"]] = "autoencoder"
    source: ClassVar[str] = "Rombach et al., CVPR 2022, arXiv:2112.10752; Chen et al., ICLR 2025, arXiv:2410.10733; our training"

    @classmethod
    def build(cls) -> Autoencoder:
        """The architecture with untrained weights."""
        return Autoencoder()


class Autoencoder(nn.Module):
    """Pixels in [0, 1] to latents and back; height and width must be divisible by 4."""

    factor = FACTOR

    def __init__(self) -> None:
        super().__init__()
        self.vae = AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * 3,
            up_block_types=("UpDecoderBlock2D",) * 3,
            block_out_channels=(24, 48, 64),
            layers_per_block=1,
            latent_channels=LATENTS,
            norm_num_groups=8,
            mid_block_add_attention=False,
            sample_size=128,
        )
        basis = torch.from_numpy(_lowest_frequencies()).float()[:, :, None, None]
        self.fold = nn.Conv2d(3 * FACTOR**2, LATENTS, 1)
        self.unfold = nn.Conv2d(LATENTS, 3 * FACTOR**2, 1)
        with torch.no_grad():
            self.fold.weight.copy_(basis)
            self.unfold.weight.copy_(basis.transpose(0, 1))
            for layer in (self.fold, self.unfold, self.vae.quant_conv, self.vae.decoder.conv_out):
                layer.bias.zero_()
            for layer in (self.vae.quant_conv, self.vae.decoder.conv_out):
                layer.weight.zero_()  # the networks begin as corrections of nothing
            self.vae.quant_conv.bias[LATENTS:] = _FIRST_LOG_VARIANCE

    def posterior(self, images: Tensor) -> DiagonalGaussianDistribution:
        """(n, 3, h, w) in [0, 1] -> a diagonal Gaussian over latents (n, 16, h / 4, w / 4)."""
        signed = images * 2 - 1
        mean, log_variance = self.vae.quant_conv(self.vae.encoder(signed)).chunk(2, dim=1)
        return DiagonalGaussianDistribution(torch.cat([mean + self.fold(F.pixel_unshuffle(signed, FACTOR)), log_variance], dim=1))

    def encode(self, images: Tensor) -> Tensor:
        """(n, 3, h, w) in [0, 1] -> latent means (n, 16, h / 4, w / 4)."""
        return self.posterior(images).mode()

    def decode(self, latents: Tensor) -> Tensor:
        """(n, 16, h / 4, w / 4) -> (n, 3, h, w), about [0, 1], not clipped."""
        signed = self.vae.decode(latents).sample + F.pixel_shuffle(self.unfold(latents), FACTOR)
        return (signed + 1) / 2

    def forward(self, images: Tensor) -> Tensor:
        """(n, 3, h, w) in [0, 1] -> the reconstruction from the latent means, not clipped."""
        return self.decode(self.encode(images))


def _lowest_frequencies() -> np.ndarray:
    """An orthonormal basis (16, 48) over 4 x 4 blocks as pixel_unshuffle lays them out: 10 frequencies of luma, 3 of each chroma."""
    wave = fft.dct(np.eye(FACTOR), norm="ortho", axis=0)  # frequency, position
    order = sorted(((row, col) for row in range(FACTOR) for col in range(FACTOR)), key=lambda at: (sum(at), max(at)))
    colours = np.array([[1, 1, 1], [1, 0, -1], [-1, 2, -1]]) / np.sqrt([[3], [2], [6]])  # luma and two opponent axes
    rows = [np.einsum("c,y,x->cyx", colours[c], wave[u], wave[v]).ravel() for c, count in ((0, 10), (1, 3), (2, 3)) for u, v in order[:count]]
    return np.stack(rows)
