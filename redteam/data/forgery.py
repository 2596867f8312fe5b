"""Forgeries that a corpus makes on the fly, with their true masks."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from pydantic import Field

from redteam import registry
from redteam.component import Component, ModelRef
from redteam.data import copy_move, regenerate, removal, resample, splice
from redteam.data.corpus import Picture, Resolve


@dataclass(frozen=True, kw_only=True)
class Forgery(Component):
    """Base of all forgeries.

    weight: how often it is chosen, beside the weights of the others
    """

    weight: Annotated[float, Field(gt=0)] = 1.0

    @abstractmethod
    def forge(self, host: np.ndarray, donor: Callable[[], np.ndarray], rng: np.random.Generator, resolve: Resolve) -> Picture:
        """Host (h, w, 3) uint8 -> the forged picture with its mask; `donor` gives another picture of that size, `resolve` a model."""

    def content(self) -> dict[str, object]:
        """What fixes its result besides the images, for the lock."""
        return {"kind": type(self).__name__, **{name: value for name, value in self.params().items() if name != "weight"}}


@dataclass(frozen=True, kw_only=True)
class Splice(Forgery):
    """Paste a region of another photograph."""

    def forge(self, host: np.ndarray, donor: Callable[[], np.ndarray], rng: np.random.Generator, resolve: Resolve) -> Picture:
        """A region of the donor over the host; the mask is that region."""
        return Picture(*splice.splice(host, donor(), rng))


@dataclass(frozen=True, kw_only=True)
class CopyMove(Forgery):
    """Paste a region of the same photograph elsewhere."""

    def forge(self, host: np.ndarray, donor: Callable[[], np.ndarray], rng: np.random.Generator, resolve: Resolve) -> Picture:
        """A region of the host over another place; the mask is the copy."""
        return Picture(*copy_move.copy_move(host, rng))


@dataclass(frozen=True, kw_only=True)
class Removal(Forgery):
    """Remove what stands out and continue its surroundings over its place.

    Source: Pérez et al., "Poisson Image Editing", 2003; Pritch et al., "Shift-Map Image Editing", ICCV 2009.
    """

    def forge(self, host: np.ndarray, donor: Callable[[], np.ndarray], rng: np.random.Generator, resolve: Resolve) -> Picture:
        """The host without the object; the mask is the place that was filled."""
        return Picture(*removal.removal(host, rng))


@dataclass(frozen=True, kw_only=True)
class Resample(Forgery):
    """Scale and turn a region, or the whole image, in place.

    Source: Popescu & Farid, "Exposing Digital Forgeries by Detecting Traces of Resampling", IEEE TSP 2005.

    kernel: of the interpolation
    whole:  share of images that are resampled as a whole, their mask white everywhere
    """

    kernel: resample.Kernel = "bicubic"
    whole: Annotated[float, Field(ge=0, le=1)] = 0.25

    def forge(self, host: np.ndarray, donor: Callable[[], np.ndarray], rng: np.random.Generator, resolve: Resolve) -> Picture:
        """The resampled host; the mask is the region, or everything."""
        chosen = resample.resample_whole if rng.random() < self.whole else resample.resample_region
        return Picture(*chosen(host, rng, self.kernel))


@dataclass(frozen=True, kw_only=True)
class Regenerate(Forgery):
    """Replace the whole image by what a generative model's autoencoder makes of it.

    Source: Rajan et al., "Aligned Datasets Improve Detection of Latent Diffusion-Generated Images", 2024, arXiv:2410.11835.

    model: the autoencoder
    """

    model: ModelRef = "zoo/vae-tiny"

    def forge(self, host: np.ndarray, donor: Callable[[], np.ndarray], rng: np.random.Generator, resolve: Resolve) -> Picture:
        """The reconstruction; the mask is everything."""
        pixels = torch.from_numpy(np.array(host)).permute(2, 0, 1).float()[None] / 255
        with torch.no_grad():
            made = regenerate.regenerate(pixels, resolve(self.model))
        back = (made[0].clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).contiguous().numpy()
        return Picture(back, np.full(host.shape[:2], 255, np.uint8))

    def content(self) -> dict[str, object]:
        """The model's weights besides the fields."""
        return super().content() | {"weights": registry.get("models", self.model.removeprefix("zoo/")).sha256()}
