"""Projected gradient descent inside an L-infinity or L2 ball.

Source: Madry et al., "Towards Deep Learning Models Resistant to Adversarial Attacks", ICLR 2018, arXiv:1706.06083, eq. 3.
Deviation: the objective supplies the loss (a margin in log-odds, which does not saturate) instead of a cross-entropy; the last iterate is
moved to the best-aligned point of the 8-bit grid inside the ball, since that is what a file can hold.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from redteam.attack import OptimisedAttack, State
from redteam.attacks.noise import Noise
from redteam.component import Radius
from redteam.files import Budget
from redteam.imaging.settling import settle
from redteam.images import Images
from redteam.objective import Objective
from redteam.seeding import SampleRNG
from redteam.target import Access


@dataclass(frozen=True, kw_only=True)
class PGD(OptimisedAttack):
    """Lower the objective's loss by steps along the gradient's sign (linf) or direction (l2), projected back into the ball.

    norm:         of the ball, over all pixels and channels of one image
    eps:          radius of the ball, image units
    step:         length of one step, image units; when not given eps / 4, or 2 eps / steps where so few steps would not cross the ball
    steps:        gradient queries per image
    random_start: begin at a random point of the ball instead of the image itself
    """

    source: ClassVar[str] = "Madry et al., ICLR 2018, arXiv:1706.06083, eq. 3"
    family: ClassVar[str] = "gradient"
    needs: ClassVar[Access] = Access.GRADIENTS
    strength: ClassVar[str] = "eps"

    norm: Literal["linf", "l2"] = "linf"
    eps: Radius = 4 / 255
    step: Radius | None = None
    steps: Annotated[int, Field(ge=1)] = 20
    random_start: bool = True

    def budget(self) -> Budget:
        """The ball that every result lies in."""
        return Budget(self.norm, self.eps)

    def control(self) -> Noise:
        """Random signs of the same norm and radius."""
        return Noise(norm=self.norm, eps=self.eps, goal=self.goal)

    def perturb(self, objective: Objective, rng: SampleRNG, state: State | None = None) -> Images:
        """Images (n, 3, h, w) in [0, 1] -> the same images moved inside the ball, on the 8-bit grid."""
        clean = objective.images.pixels
        project = self._projection(clean)
        adv = project(clean + self._offset(clean, rng)) if self.random_start else clean
        step = self.eps * max(1 / 4, 2 / self.steps) if self.step is None else self.step
        for _ in range(self.steps):
            adv = project(adv - step * self._direction(objective.gradient(adv)))
        return objective.images.with_pixels(settle(adv, clean, self.norm, self.eps))

    def _offset(self, clean: Tensor, rng: SampleRNG) -> Tensor:
        """A random point of the ball around zero."""
        if self.norm == "linf":
            return self.eps * (2 * rng.rand_like(clean) - 1)
        radius = rng.rand_like(clean[:, :1, :1, :1])
        return self.eps * radius * _unit(rng.randn_like(clean))

    def _direction(self, gradient: Tensor) -> Tensor:
        return gradient.sign() if self.norm == "linf" else _unit(gradient)

    def _projection(self, clean: Tensor) -> Callable[[Tensor], Tensor]:
        """A function that moves pixels (n, 3, h, w) into the ball around clean and into [0, 1]."""
        if self.norm == "linf":
            low, high = (clean - self.eps).clamp_(min=0), (clean + self.eps).clamp_(max=1)
            return lambda adv: adv.clamp(low, high)

        def shorten(adv: Tensor) -> Tensor:
            delta = adv - clean
            length = delta.flatten(1).norm(dim=1).clamp(min=1e-12)[:, None, None, None]
            return (clean + delta * (self.eps / length).clamp(max=1)).clamp_(0, 1)

        return shorten


def _unit(x: Tensor) -> Tensor:
    """(n, 3, h, w) -> the same directions with an L2 norm of 1 for each image; zeros stay zeros, and no gradient is too small to follow."""
    largest = x.abs().flatten(1).amax(1)[:, None, None, None]
    x = x / torch.where(largest > 0, largest, 1.0)  # else the squares of small entries vanish
    return x / x.flatten(1).norm(dim=1).clamp(min=1.0)[:, None, None, None]
