"""Targets whose answers are known in advance, for dry runs and tests; one of them is broken in any way that is asked for."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from redteam.seeding import derive_seed
from redteam.target import Detector, TargetSpec

Fault = Literal["none", "zero_gradient", "no_gradient", "nan", "raise", "hang", "crash", "random", "mutate", "hard_labels", "probability", "polarity", "neighbours"]


@dataclass(frozen=True, kw_only=True)
class Constant(TargetSpec):
    """Give every image the same score.

    score: log-odds of label 1
    """

    reference_model: ClassVar[bool] = True

    score: float = 0.0

    def load(self, name: str, device: torch.device) -> Detector:
        """A detector that no attack can move."""
        return Detector(name, lambda pixels: pixels.flatten(1)[:, 0] * 0 + self.score, self.gives())


@dataclass(frozen=True, kw_only=True)
class Linear(TargetSpec):
    """Score with a fixed random direction of signs, so that the best L-infinity and L2 attacks are known.

    scale: log-odds per unit of mean pixel change along the direction
    bias:  log-odds of a grey image (0.5 everywhere)
    seed:  of the direction
    """

    reference_model: ClassVar[bool] = True

    scale: float = 100.0
    bias: float = 0.0
    seed: int = 0

    def direction(self, height: int, width: int) -> Tensor:
        """(3, height, width) of -1 and +1."""
        generator = torch.Generator().manual_seed(derive_seed("linear", self.seed, height, width))
        return torch.randint(0, 2, (3, height, width), generator=generator).float() * 2 - 1

    def load(self, name: str, device: torch.device) -> Detector:
        """score = bias + scale * mean(direction * (pixels - 0.5)), each image summed by itself."""

        def score(pixels: Tensor) -> Tensor:
            direction = self.direction(*pixels.shape[2:]).to(pixels)
            return torch.stack([((image - 0.5) * direction).double().mean() for image in pixels]).float() * self.scale + self.bias

        return Detector(name, score, self.gives())


@dataclass(frozen=True, kw_only=True)
class Brightness(TargetSpec):
    """Call bright images fake: a constant shift is the best attack.

    scale: log-odds per unit of mean brightness
    at:    brightness of even odds
    """

    reference_model: ClassVar[bool] = True

    scale: float = 50.0
    at: float = 0.5

    def load(self, name: str, device: torch.device) -> Detector:
        """score = scale * (mean of all pixels - at), each image averaged by itself."""
        return Detector(name, lambda pixels: brightness(pixels).sub(self.at).mul(self.scale), self.gives())


@dataclass(frozen=True, kw_only=True)
class Broken(Brightness):
    """The brightness detector with a fault that an evaluation must notice.

    fault: what is wrong with it
    above: the fault strikes on images brighter than this (nan, raise, hang and crash only)
    """

    fault: Fault = "none"
    above: float = 0.0

    def load(self, name: str, device: torch.device) -> Detector:
        """The detector; its fault shows when it is asked."""
        generator = torch.Generator().manual_seed(derive_seed("broken", name))
        return Detector(name, lambda pixels: self._score(pixels, generator), self.gives())

    def _score(self, pixels: Tensor, generator: torch.Generator) -> Tensor:
        if self.fault == "mutate":
            with torch.no_grad():
                pixels.mul_(0.5).add_(0.25)
        means = brightness(pixels)
        if (means > self.above).any():
            self._strike()
        score = (means - self.at) * self.scale
        return self._disturb(score, means, generator)

    def _strike(self) -> None:
        if self.fault == "raise":
            raise RuntimeError("broken on purpose")
        if self.fault == "crash":
            os._exit(134)
        if self.fault == "hang":
            time.sleep(1e6)

    def _disturb(self, score: Tensor, means: Tensor, generator: torch.Generator) -> Tensor:
        match self.fault:
            case "zero_gradient":
                return score.detach() + 0 * score
            case "no_gradient":
                return score.detach()
            case "nan":
                return torch.where(means > self.above, torch.nan, score)
            case "random":
                return score + torch.randn(len(score), generator=generator).to(score) * 5
            case "hard_labels":
                return score.detach().sign() + 0 * score
            case "probability":
                return (score * 20).sigmoid()
            case "polarity":
                return -score
            case "neighbours":
                return score - score.mean().detach() * 0.9
        return score


def brightness(pixels: Tensor) -> Tensor:
    """Pixels (n, 3, h, w) -> (n,) mean, each image by itself so that a batch cannot change its last bit.

    >>> brightness(torch.full((2, 3, 4, 4), 0.25)).tolist()
    [0.25, 0.25]
    """
    return torch.stack([image.double().mean() for image in pixels]).float()
