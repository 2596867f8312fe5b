"""Hide that an image was saved as JPEG: spread its quantised coefficients over their bins, and soften the borders of blocks.

Source: Stamm and Liu, "Anti-Forensics of Digital Image Compression", IEEE TIFS 6, 2011; Fan, Wang, Cayre and Xiong, IEEE TIFS 9, 2014
(deblocking inside the bins).
Deviation: the luma only, since its dither covers what chroma carries of the grid; blocks are expected to start at the top left pixel, as in
an image that was decoded and not cropped.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from redteam.attack import Attack, State
from redteam.attacks.scattered import Scattered
from redteam.component import Quality
from redteam.images import Images
from redteam.imaging import jpeg_traces
from redteam.imaging.jpeg_traces import SIDE
from redteam.objective import Objective
from redteam.seeding import SampleRNG


@dataclass(frozen=True, kw_only=True)
class JPEGDither(Attack):
    """Fill the gaps that JPEG left in the histograms of an image's DCT coefficients, by a Laplacian dither, and soften block borders.

    An image in which no quantisation shows stays as it is. To hide a compression of your own, put this after `jpeg` in a chain.

    quality: that the image was saved with, for the standard's table; when not given, each step is found in the image's histograms
    deblock: rounds of softening; 0 leaves the borders to the dither
    """

    source: ClassVar[str] = "Stamm and Liu, IEEE TIFS 6, 2011"
    family: ClassVar[str] = "anti-forensic"

    quality: Quality | None = None
    deblock: Annotated[int, Field(ge=0, le=20)] = 2

    def control(self) -> Scattered:
        """Changes of the same size that know nothing of blocks."""
        return Scattered(of=self)

    def perturb(self, objective: Objective, rng: SampleRNG, state: State | None = None) -> Images:
        """Images (n, 3, h, w) in [0, 1] -> the same images with the luma dithered, clipped."""
        images = objective.images
        uniform = rng.rand_like(images.pixels[:, 0].double())
        pairs = zip(images.pixels, uniform, strict=True)
        return images.with_pixels(torch.stack([self._covered(image, numbers) for image, numbers in pairs]) if len(images) else images.pixels)

    def _covered(self, image: Tensor, uniform: Tensor) -> Tensor:
        """One image (3, h, w), and a number in [0, 1) for each pixel."""
        if min(image.shape[1:]) < SIDE:
            return image  # no block is whole
        plane = jpeg_traces.luma(image)
        before = jpeg_traces.coefficients(plane)
        steps = jpeg_traces.quantisation_table(self.quality).to(before) if self.quality else jpeg_traces.quantisation_steps(before)
        numbers = uniform.unfold(0, SIDE, SIDE).unfold(1, SIDE, SIDE)
        rows, columns = (SIDE * count for count in before.shape[:2])
        after = plane.clone()
        after[:rows, :columns] = jpeg_traces.plane_of(jpeg_traces.dithered(before, steps, numbers))
        after = jpeg_traces.deblocked(after, before, steps, self.deblock)
        return (image + (after - plane).to(image) / 255).clamp(0, 1)  # the luma's weights add to 1: an equal shift of all channels is the luma's
