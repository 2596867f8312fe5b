"""A target as a classifier of two classes, for attacks that want a module to differentiate; the objective stays the only door.

Source: Croce & Hein, "Reliable Evaluation of Adversarial Robustness with an Ensemble of Diverse Parameter-free Attacks", ICML 2020,
arXiv:2003.01690, for what a saturated cross-entropy does to an attack.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from redteam.objective import Objective

CONFIDENT = 10.0  # log-odds up to which float32 still tells a probability from 1, with three digits to spare
SMALLEST = 1e-30  # log-odds: what a smaller margin is shown as, so that float32 keeps its side


class TwoLogits(nn.Module):
    """Pixels (k, 3, h, w) -> logits (k, 2) = (-m/2, m/2), where m is the objective's margin: class 1 wins while the target holds.

    Their softmax is the sigmoid of m. They are opposite rather than (0, m), since attacks that compare the largest of the other logits
    with zero (CW and its kin) would see nothing of a margin below zero. An objective of one image may be asked about any number of copies,
    one after the other; one of more images wants them all, in order. Pixels outside [0, 1] are asked about as the nearest inside.

    objective: what answers, and books every question
    as_is:     whether m is shown as it is; else an image that starts beyond 10 has its margins divided so that it starts at 10, since a
               cross-entropy of a surer answer has no gradient in float32, and a robust target would be reported where there is none
    """

    def __init__(self, objective: Objective, *, as_is: bool = False) -> None:
        super().__init__()
        self.anchor = nn.Parameter(torch.empty(0, device=objective.images.pixels.device), requires_grad=False)  # says where the model is
        self.nearest: Tensor | None = None  # of one image's copies, the one with the lowest margin so far; None where no answer was a number
        self._objective, self._as_is = objective, as_is
        self._scale: Tensor | None = None
        self._lowest = torch.inf

    def forward(self, pixels: Tensor) -> Tensor:
        """Logits (k, 2), differentiable in the pixels where they ask for it."""
        copies = pixels.split(1) if len(self._objective) == 1 else (pixels,)
        margins = torch.cat([self._margin(copy) for copy in copies])
        if len(self._objective) == 1:
            self._remember(pixels.detach(), margins.detach())
        if self._scale is None:
            self._scale = (margins.detach()[: len(self._objective)].abs() / CONFIDENT).clamp(min=1)
        half = margins / 2 if self._as_is else margins / (2 * self._scale)
        return torch.stack([-half, half], 1)

    def _margin(self, pixels: Tensor) -> Tensor:
        if pixels.requires_grad and torch.is_grad_enabled():
            return _Margin.apply(pixels, self._objective)
        return _single(self._objective.margin(pixels.clamp(0, 1)))

    def _remember(self, pixels: Tensor, margins: Tensor) -> None:
        best = int(margins.argmin())
        if margins[best] < self._lowest:
            self._lowest, self.nearest = float(margins[best]), pixels[best : best + 1].clamp(0, 1)


class _Margin(torch.autograd.Function):
    """The margin at the nearest pixels in [0, 1], with the objective's gradient as its derivative, zero outside; one question for both, however often backward is called."""

    @staticmethod
    def forward(ctx: Any, pixels: Tensor, objective: Objective) -> Tensor:
        inside = pixels.clamp(0, 1)
        margin, gradient = objective.margin_and_gradient(inside)
        if not torch.equal(inside, pixels):
            gradient = gradient.where(inside == pixels, 0)  # a clamp under autograd would stop pixels at 0 and 1 too
        ctx.save_for_backward(gradient.contiguous())  # convolutions may leave channels last, which not every attack can flatten
        return _single(margin)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None]:
        (gradient,) = ctx.saved_tensors
        told = upstream.nan_to_num(0.0, 0.0, 0.0)  # of an answer that is not a number there is nothing to follow
        return told[:, None, None, None] * gradient, None


def _single(margin: Tensor) -> Tensor:
    """Margin (n,) float64, never 0 -> float32, never 0, on the same side."""
    single = margin.float()
    return torch.where(single.abs() < SMALLEST, SMALLEST * margin.sign().float(), single)
