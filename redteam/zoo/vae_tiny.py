"""`zoo/vae-tiny`: a small variational autoencoder, 16 latent channels at a quarter of the resolution.

Source: Rombach et al., "High-Resolution Image Synthesis with Latent Diffusion Models", CVPR 2022, arXiv:2112.10752, section 3.1.
Deviation: a fiftieth of its size, no attention, no adversarial or perceptual loss.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from diffusers import AutoencoderKL
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from torch import Tensor, nn

from redteam.zoo.model import ReferenceModel

FACTOR = 4  # pixels per latent, along each side


@dataclass(frozen=True, kw_only=True)
class VAETiny(ReferenceModel):
    """Small autoencoder whose reconstructions are the `regenerate` forgery."""

    name: ClassVar[str] = "vae-tiny"
    role: ClassVar[Literal["detector", "autoencoder"]] = "autoencoder"
    source: ClassVar[str] = "Rombach et al., CVPR 2022, arXiv:2112.10752; our training"

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
            block_out_channels=(24, 48, 96),
            layers_per_block=1,
            latent_channels=16,
            norm_num_groups=8,
            mid_block_add_attention=False,
            sample_size=128,
        )

    def encode(self, images: Tensor) -> Tensor:
        """(n, 3, h, w) in [0, 1] -> latent means (n, 16, h / 4, w / 4)."""
        return self.posterior(images).mode()

    def posterior(self, images: Tensor) -> DiagonalGaussianDistribution:
        """(n, 3, h, w) in [0, 1] -> diffusers' diagonal Gaussian over latents."""
        return self.vae.encode(images * 2 - 1).latent_dist

    def decode(self, latents: Tensor) -> Tensor:
        """(n, 16, h / 4, w / 4) -> (n, 3, h, w), about [0, 1], not clipped."""
        return (self.vae.decode(latents).sample + 1) / 2

    def forward(self, images: Tensor) -> Tensor:
        """(n, 3, h, w) in [0, 1] -> the reconstruction from the latent means, not clipped."""
        return self.decode(self.encode(images))
