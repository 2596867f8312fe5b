"""Momentum along the sign of the gradient itself; with `look_ahead` it is NI, with `smoothing` TI.

Source: Dong et al., "Boosting Adversarial Attacks with Momentum", CVPR 2018, arXiv:1710.06081, algorithm 1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from redteam.attacks.transfer import TransferAttack
from redteam.objective import Objective
from redteam.seeding import SampleRNG


@dataclass(frozen=True, kw_only=True)
class MI(TransferAttack):
    """Follow the gradient with momentum: the frame that the other transfer attacks put their gradients into."""

    source: ClassVar[str] = "Dong et al., CVPR 2018, arXiv:1710.06081, algorithm 1"

    def following(self, objective: Objective, rng: SampleRNG) -> Callable[[Tensor], Tensor]:
        """The gradient at the pixels."""
        return objective.gradient
