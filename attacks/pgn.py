"""Gradients that look for flat places of the loss, by a penalty on their own size.

Source: Ge et al., "Boosting Adversarial Transferability by Achieving Flat Local Maxima", NeurIPS 2023, arXiv:2306.05225, algorithm 1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import Field
from torch import Tensor

from redteam.attacks.transfer import TransferAttack, around, scaled
from redteam.objective import Objective
from redteam.seeding import SampleRNG


@dataclass(frozen=True, kw_only=True)
class PGN(TransferAttack):
    """Momentum on gradients averaged over neighbours, each mixed with the gradient one step back up: their difference is the slope of the penalty.

    reach:      half width of the neighbourhood, in multiples of eps
    neighbours: points that are asked about in it, twice each
    balance:    share of the gradient one step back; 0 averages over neighbours only
    """

    source: ClassVar[str] = "Ge et al., NeurIPS 2023, arXiv:2306.05225, algorithm 1"

    reach: Annotated[float, Field(ge=0)] = 3.0
    neighbours: Annotated[int, Field(ge=1)] = 20
    balance: Annotated[float, Field(ge=0, le=1)] = 0.5

    def questions(self) -> int:
        """Two for each neighbour."""
        return 2 * self.neighbours

    def following(self, objective: Objective, rng: SampleRNG) -> Callable[[Tensor], Tensor]:
        """The mean over the neighbours."""
        back = self.eps / self.steps if self.step is None else self.step

        def mixed(pixels: Tensor) -> Tensor:
            near = around(pixels, self.reach * self.eps, rng)
            there = objective.gradient(near)
            worse = objective.gradient((near + back * scaled(there)).clamp(0, 1))  # against the adversary
            return (1 - self.balance) * there + self.balance * worse

        return lambda pixels: sum(mixed(pixels) for _ in range(self.neighbours)) / self.neighbours
