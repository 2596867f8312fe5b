"""Exposure, blur and noise, chosen for each image so that its statistics come near to those of the other class.

Source: Hou et al., "Evading DeepFake Detectors via Adversarial Statistical Consistency", CVPR 2023, arXiv:2304.11670 (the three
degradations in this order, and the kernel distance between distributions that they are chosen by).
Deviation: a random search over smooth exposures and one blur and one noise for the whole image, instead of gradients through a value for
each pixel; the distance is that of one image's moments to those of the training images, since an attacker holds one image. With `ask`
the target's own answer chooses instead.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from redteam.attack import OptimisedAttack, State
from redteam.attacks.scattered import Scattered
from redteam.component import Number
from redteam.images import Images
from redteam.imaging.filters import gaussian_blur
from redteam.imaging.moments import moments
from redteam.objective import Objective
from redteam.seeding import SampleRNG
from redteam.target import Access

KEPT = 512  # training images of a class whose moments are kept; more change little and cost as much


@dataclass(frozen=True, kw_only=True)
class StatisticsMatch(OptimisedAttack):
    """Try random exposures, blurs and noises on an image, and keep those that make its moments most like those of the other class in training.

    ask:      choose by the target's score, one question a trial, instead of by moments
    trials:   settings that are tried for each image; the unchanged image is one of them
    exposure: largest change of brightness anywhere, as a factor 2^+-exposure
    blur:     largest standard deviation of the blur, pixels
    noise:    largest standard deviation of the noise, image units
    """

    source: ClassVar[str] = "Hou et al., CVPR 2023, arXiv:2304.11670"
    family: ClassVar[str] = "anti-forensic"
    both_classes: ClassVar[bool] = True

    ask: bool = False
    trials: Annotated[int, Field(ge=2)] = 32
    exposure: Annotated[Number, Field(ge=0, le=2)] = 0.15
    blur: Annotated[Number, Field(ge=0, le=4)] = 0.8
    noise: Annotated[Number, Field(ge=0, le=0.2)] = 4 / 255

    def __post_init__(self) -> None:
        if self.surrogates and not self.ask:
            raise ValueError("surrogates are only asked with ask: true; add it, or leave them out")

    @property
    def needs(self) -> Access:
        """Scores where it asks."""
        return Access.SCORES if self.ask else Access.NONE

    def control(self) -> Scattered:
        """The change that it makes when it does not ask, at random places."""
        return Scattered(of=replace(self, ask=False, surrogates=(), goal=None), goal=self.goal)

    def fit(self, objectives: Iterable[Objective], rng: SampleRNG) -> State:
        """For each label the moments of its training images, (m, 8)."""
        found: dict[str, list[Tensor]] = {"0": [], "1": []}
        for objective in objectives:
            for image, label in zip(objective.images.pixels, objective.images.labels.tolist(), strict=True):
                if len(found[str(label)]) < KEPT:
                    found[str(label)].append(moments(image))
        if min(map(len, found.values())) < 2:
            raise ValueError(f"data.train must hold at least 2 real and 2 fake images, got {len(found['0'])} real and {len(found['1'])} fake; each class is made to resemble the other")
        return {label: torch.stack(rows) for label, rows in found.items()}

    def perturb(self, objective: Objective, rng: SampleRNG, state: State | None = None) -> Images:
        """Images (n, 3, h, w) in [0, 1] -> the same images under the best settings that were tried."""
        images = objective.images
        best, least = images.pixels, self._distance(objective, images.pixels, state)
        for _ in range(self.trials - 1):
            tried = self._degraded(images.pixels, rng)
            distance = self._distance(objective, tried, state)
            nearer = distance < least
            best, least = torch.where(nearer[:, None, None, None], tried, best), torch.where(nearer, distance, least)
        return images.with_pixels(best)

    def _distance(self, objective: Objective, pixels: Tensor, state: State | None) -> Tensor:
        """(n,) how far each image is from what it should pass for, lower is nearer."""
        if self.ask:
            return objective.scored(pixels)[1].nan_to_num(torch.inf)
        known, labels = self.learned(state), objective.images.labels.tolist()
        return torch.stack([_unlikeness(moments(image), known[str(1 - label)].to(image.device)) for image, label in zip(pixels, labels, strict=True)])

    def _degraded(self, pixels: Tensor, rng: SampleRNG) -> Tensor:
        """Each image under an exposure, a blur and a noise of its own."""
        height, width = pixels.shape[2:]
        draws = rng.rand_like(pixels.new_empty(len(pixels), 5))
        grain = rng.randn_like(pixels)
        down, across = torch.linspace(-1, 1, height).to(pixels)[:, None], torch.linspace(-1, 1, width).to(pixels)
        found = []
        for image, (level, slope, tilt, blur, noise), speckle in zip(pixels, draws.tolist(), grain, strict=True):
            field = ((2 * level - 1) + (2 * slope - 1) * down + (2 * tilt - 1) * across) / 3  # in [-1, 1]
            exposed = (image * torch.exp2(self.exposure * field)).clamp(0, 1)
            found.append(gaussian_blur(exposed, self.blur * blur) + self.noise * noise * speckle)
        return torch.stack(found).clamp(0, 1)


def _unlikeness(one: Tensor, others: Tensor) -> Tensor:
    """What one image's moments (8,) add to the squared kernel distance from the others (m, 8): less the mean of its Gaussian kernels with them."""
    scale = others.std(0).clamp(min=1e-3)
    square = ((others - one) / scale).square().sum(1)
    return torch.logsumexp(-square / (2 * len(one)), 0).neg()  # as wide as two images are apart by rights; a logarithm keeps the order far away
