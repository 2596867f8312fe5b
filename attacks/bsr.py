"""Gradients through images cut into blocks, which change places and turn.

Source: Wang et al., "Boosting Adversarial Transferability by Block Shuffle and Rotation", CVPR 2024, arXiv:2308.10299, section 3.
Deviation: what a turned block would leave black is mirrored in; the angle is uniform.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import Field
from torch import Tensor

from redteam.attacks.transfer import TransferAttack, through
from redteam.imaging.placing import shuffle_blocks, shuffled
from redteam.objective import Objective
from redteam.seeding import SampleRNG


@dataclass(frozen=True, kw_only=True)
class BSR(TransferAttack):
    """Momentum on gradients averaged over shuffled and rotated blocks; the rotation resamples, which takes away what low-level detectors read.

    copies: shuffled images that are averaged in a step
    blocks: along each side
    angle:  largest rotation of a block, degrees; at 0 pixels only change places
    """

    source: ClassVar[str] = "Wang et al., CVPR 2024, arXiv:2308.10299, section 3"
    copies: Annotated[int, Field(ge=1)] = 20
    blocks: Annotated[int, Field(ge=1, le=16)] = 2
    angle: Annotated[float, Field(ge=0, le=180)] = 24.0

    @property
    def resamples(self) -> bool:
        """Only where blocks turn."""
        return self.angle > 0

    def questions(self) -> int:
        """One for each shuffled image."""
        return self.copies

    def following(self, objective: Objective, rng: SampleRNG) -> Callable[[Tensor], Tensor]:
        """The mean gradient over new cuts each time."""
        return lambda pixels: sum(through(lambda x: self._shuffled(x, rng), objective, pixels) for _ in range(self.copies)) / self.copies

    def _shuffled(self, x: Tensor, rng: SampleRNG) -> Tensor:
        return shuffle_blocks(x, rng.rand_like(x.new_empty(len(x), shuffled(self.blocks))), self.blocks, self.angle)
