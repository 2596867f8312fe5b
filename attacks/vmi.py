"""Gradients corrected by how much they varied around the step before.

Source: Wang & He, "Enhancing the Transferability of Adversarial Attacks through Variance Tuning", CVPR 2021, arXiv:2103.15571, algorithm 1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import Field
from torch import Tensor

from redteam.attacks.transfer import TransferAttack, around
from redteam.objective import Objective
from redteam.seeding import SampleRNG


@dataclass(frozen=True, kw_only=True)
class VMI(TransferAttack):
    """Momentum on the gradient plus the difference that the neighbourhood of the last step made to it.

    reach:      half width of the neighbourhood, in multiples of eps
    neighbours: points that are asked about in it
    """

    source: ClassVar[str] = "Wang & He, CVPR 2021, arXiv:2103.15571, algorithm 1"

    reach: Annotated[float, Field(ge=0)] = 1.5
    neighbours: Annotated[int, Field(ge=1)] = 20

    def questions(self) -> int:
        """The point itself and its neighbours."""
        return 1 + self.neighbours

    def following(self, objective: Objective, rng: SampleRNG) -> Callable[[Tensor], Tensor]:
        """Remembers the last correction."""
        correction: Tensor | float = 0.0

        def follow(pixels: Tensor) -> Tensor:
            nonlocal correction
            here, before = objective.gradient(pixels), correction
            near = sum(objective.gradient(around(pixels, self.reach * self.eps, rng)) for _ in range(self.neighbours))
            correction = near / self.neighbours - here
            return here + before

        return follow
