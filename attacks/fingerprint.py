"""What attacks on sensor noise share: they learn a camera's fingerprint from its images in the `train` role."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Annotated, ClassVar

from pydantic import Field
from torch import Tensor

from redteam.attack import Attack, State
from redteam.attacks.scattered import Scattered
from redteam.component import Number
from redteam.imaging import denoising
from redteam.objective import Objective
from redteam.seeding import SampleRNG


@dataclass(frozen=True, kw_only=True)
class FingerprintAttack(Attack):
    """Base of attacks with a camera's fingerprint, which lies on the pixels of its sensor: images must be as large as those that it was learned from.

    camera: glob over the ids of training images, such as "canon/*"; those that match are this camera's
    sigma:  deviation of the noise that the denoiser takes away, image units
    """

    source: ClassVar[str] = "Chen, Fridrich, Goljan and Lukas, IEEE TIFS 3, 2008"
    family: ClassVar[str] = "anti-forensic"
    both_classes: ClassVar[bool] = True

    camera: str = "*"
    sigma: Annotated[Number, Field(gt=0, le=0.2)] = 3 / 255

    def control(self) -> Scattered:
        """Changes of the same size on other pixels."""
        return Scattered(of=self)

    def fit(self, objectives: Iterable[Objective], rng: SampleRNG) -> State:
        """The fingerprint (3, h, w) for each size of image, by its name HxW."""
        sums: dict[str, tuple[Tensor, Tensor]] = {}
        for objective in objectives:
            images = objective.images
            own = [i for i, name in enumerate(images.ids) if fnmatchcase(name, self.camera)]
            if own:
                pixels = images.pixels[own].double()
                noise = denoising.residual(pixels, self.sigma)
                above, below = sums.get(size := _size(pixels), (0.0, 0.0))
                sums[size] = above + (noise * pixels).sum(0), below + pixels.square().sum(0)
        if not sums:
            raise ValueError(f"no training image is called {self.camera!r}; camera is a glob over their ids, and data.train must hold images of that camera")
        return {size: denoising.zero_mean(above / below.clamp(min=1e-6)).float() for size, (above, below) in sums.items()}

    def fingerprint(self, pixels: Tensor, state: State | None) -> Tensor:
        """(1, 3, h, w), for images of this size. Raises ValueError where none was learned."""
        known = self.learned(state)
        if (size := _size(pixels)) not in known:
            raise ValueError(f"the fingerprint must be as large as the images, got {', '.join(known)} and images of {size}; train on images of the same sensor area")
        return known[size].to(pixels)[None]


def _size(pixels: Tensor) -> str:
    return "x".join(map(str, pixels.shape[2:]))
