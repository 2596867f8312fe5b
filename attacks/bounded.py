"""What attacks inside a ball have in common: the ball, its control, and rest once an image is broken."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from redteam.attack import OptimisedAttack, Tier
from redteam.attacks.noise import Noise
from redteam.attacks.standing import Standing
from redteam.component import Radius
from redteam.files import Budget
from redteam.imaging.norms import unit
from redteam.objective import Objective
from redteam.seeding import SampleRNG
from redteam.target import Access


@dataclass(frozen=True, kw_only=True)
class BoundedAttack(OptimisedAttack):
    """Base of attacks that follow answers inside a ball.

    norm: of the ball, over all pixels and channels of one image
    eps:  radius of the ball, image units
    stop: ask no more about an image once its file succeeds, and hand on that file; never on surrogates, nor before the last stage of a chain,
          where going on is what carries over. Scores then say where it stopped: set false to measure an AUC
    """

    family: ClassVar[str] = "gradient"
    needs: ClassVar[Access] = Access.GRADIENTS
    strength: ClassVar[str] = "eps"

    norm: Literal["linf", "l2"] = "linf"
    eps: Radius = 4 / 255
    stop: bool = True

    @property
    def tier(self) -> Tier:
        """`sample` where every question holds the whole micro-batch."""
        return Tier.MICROBATCH if self.stop and not self.surrogates else Tier.SAMPLE

    @property
    def divisible(self) -> bool:
        """Images leave the batch, and are never mixed."""
        return True

    def budget(self) -> Budget:
        """The ball that every result lies in."""
        return Budget(self.norm, self.eps)

    def control(self) -> Noise:
        """Random signs of the same norm and radius."""
        return Noise(norm=self.norm, eps=self.eps, goal=self.goal)

    def standing(self, objective: Objective) -> Standing:
        """All images, before the first question."""
        return Standing(objective, self.budget(), stop=self.stop)


def somewhere(clean: Tensor, budget: Budget, rng: SampleRNG) -> Tensor:
    """Pixels (n, 3, h, w) -> a random point of the ball around each, which may lie outside [0, 1]."""
    if budget.norm == "linf":
        return clean + budget.eps * (2 * rng.rand_like(clean) - 1)
    radius = rng.rand_like(clean[:, :1, :1, :1])
    return clean + budget.eps * radius * unit(rng.randn_like(clean))
