"""What transfer attacks share: momentum along the sign of a gradient that should mean something to targets that were never asked.

Source: Dong et al., "Boosting Adversarial Attacks with Momentum", CVPR 2018, arXiv:1710.06081, eq. 6 and 7 (MI); Lin et al., "Nesterov Accelerated
Gradient and Scale Invariance for Adversarial Attacks", ICLR 2020, arXiv:1908.06281, eq. 6-8 (look-ahead, NI); Dong et al., "Evading Defenses to
Transferable Adversarial Examples by Translation-Invariant Attacks", CVPR 2019, arXiv:1904.02884, eq. 7 (smoothed gradient, TI).
Deviation: losses in log-odds; nothing stops on an image that the surrogate already misjudges, since what goes beyond it is what carries over;
gradients are divided by their mean size instead of their sum, which is the same up to a constant.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from redteam.attack import OptimisedAttack, State
from redteam.attacks.noise import Noise
from redteam.component import Radius
from redteam.files import Budget
from redteam.images import Images
from redteam.imaging.filters import filter_valid, gaussian_kernel
from redteam.imaging.settling import settle
from redteam.objective import Objective
from redteam.seeding import SampleRNG
from redteam.target import Access

Seen = Callable[[Tensor], Tensor]  # pixels (n, 3, h, w) -> what is asked about, differentiable


@dataclass(frozen=True, kw_only=True)
class TransferAttack(OptimisedAttack):
    """Base of the transfer attacks: a subclass says which gradient is followed.

    eps:        radius of the L-infinity ball, image units
    step:       length of one step, image units; eps / steps when not given
    steps:      steps, each with as many gradient queries as the method takes
    momentum:   share of the former direction that is kept
    look_ahead: ask where the momentum alone would lead (NI)
    smoothing:  standard deviation of a Gaussian that the gradient is blurred with, pixels (TI); 0 leaves it as it is
    """

    family: ClassVar[str] = "transfer"
    needs: ClassVar[Access] = Access.GRADIENTS
    strength: ClassVar[str] = "eps"

    eps: Radius = 16 / 255
    step: Radius | None = None
    steps: Annotated[int, Field(ge=1)] = 10
    momentum: Annotated[float, Field(ge=0)] = 1.0
    look_ahead: bool = False
    smoothing: Annotated[float, Field(ge=0, le=50)] = 0.0

    def budget(self) -> Budget:
        """The ball that every result lies in."""
        return Budget("linf", self.eps)

    def control(self) -> Noise:
        """Random signs of the same radius."""
        return Noise(norm="linf", eps=self.eps, goal=self.goal)

    def gradients(self) -> int:
        """Those of one step, as often as there are steps."""
        return super().gradients() * self.questions()

    def questions(self) -> int:
        """Gradient queries of one step."""
        return 1

    def perturb(self, objective: Objective, rng: SampleRNG, state: State | None = None) -> Images:
        """Images (n, 3, h, w) in [0, 1] -> the same images moved inside the ball, on the 8-bit grid."""
        clean = objective.images.pixels
        low, high = (clean - self.eps).clamp(min=0), (clean + self.eps).clamp(max=1)
        step = self.eps / self.steps if self.step is None else self.step
        follow = self.following(objective, rng)
        adv, direction = clean, torch.zeros_like(clean)
        for _ in range(self.steps):
            at = (adv - step * self.momentum * direction).clamp(low, high) if self.look_ahead else adv
            direction = self.momentum * direction + scaled(smooth(follow(at), self.smoothing))
            adv = (adv - step * direction.sign()).clamp(low, high)
        return objective.images.with_pixels(settle(adv, clean, "linf", self.eps))

    @abstractmethod
    def following(self, objective: Objective, rng: SampleRNG) -> Callable[[Tensor], Tensor]:
        """A function from pixels (n, 3, h, w) in [0, 1] to the gradient that one step follows, same shape."""


def through(seen: Seen, objective: Objective, pixels: Tensor) -> Tensor:
    """The gradient (n, 3, h, w) of the loss of `seen(pixels)` with respect to the pixels.

    What `seen` puts outside [0, 1] is clipped, since a target takes nothing else; the gradient passes the clip as if it were not there.
    """
    x = pixels.detach().requires_grad_(True)
    with torch.enable_grad():
        y = seen(x)
    return torch.autograd.grad(y, x, objective.gradient(y.detach().clamp(0, 1)))[0]


def around(pixels: Tensor, radius: float, rng: SampleRNG) -> Tensor:
    """Pixels (n, 3, h, w) -> a random point of [0, 1] within `radius` of them in each pixel."""
    return (pixels + radius * (2 * rng.rand_like(pixels) - 1)).clamp(0, 1)


def scaled(gradient: Tensor) -> Tensor:
    """(n, 3, h, w) -> the same directions with a mean size of 1 for each image; zeros stay zeros, and no gradient is too small to follow.

    >>> scaled(torch.tensor([1e-30, -3e-30]).view(1, 1, 1, 2)).flatten().tolist()
    [0.5, -1.5]
    """
    largest = gradient.abs().flatten(1).amax(1)[:, None, None, None]
    within_one = gradient / torch.where(largest > 0, largest, 1.0)
    mean = torch.stack([image.abs().mean() for image in within_one])[:, None, None, None] if len(gradient) else largest
    return within_one / torch.where(mean > 0, mean, 1.0)


def smooth(gradient: Tensor, sigma: float) -> Tensor:
    """(n, 3, h, w) -> blurred with a Gaussian, as if the image stood at many places at once; zeros lie beyond the border."""
    if not sigma:
        return gradient
    kernel = gaussian_kernel(sigma)
    return filter_valid(functional.pad(gradient, [len(kernel) // 2] * 4), kernel)
