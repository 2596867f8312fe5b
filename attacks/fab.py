"""The fast adaptive boundary attack: walk along the decision boundary, towards the image.

Source: Croce & Hein, "Minimally Distorted Adversarial Examples with a Fast Adaptive Boundary Attack", ICML 2020, arXiv:1907.02044,
algorithm 1; alpha at most 0.1, eta 1.05, beta 0.9, three steps of final search.
Deviation: with two outcomes there is one boundary, so that no class has to be chosen; the point that wins is lengthened until its 8-bit file
does; later searches start within half of the distance that the earlier ones found, or of eps where they found none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from redteam.attacks.minimal import MinimalAttack, Nearest
from redteam.imaging.norms import Norm, each, length, onto_plane, steepest
from redteam.seeding import SampleRNG

MOST_BIAS = 0.1  # alpha_max: how much of a step may head for the image's own projection
OVERSHOOT = 1.05  # eta: how far beyond the linearised boundary a step goes
BACKWARD = 0.9  # beta: share of the way from the image that is kept after a win
FINAL = 3  # steps of the search between the image and the point that won
SHORT = 1e-12  # image units


@dataclass(frozen=True, kw_only=True)
class FAB(MinimalAttack):
    """Step onto the linearised boundary, between the nearest point of it to the iterate and the nearest to the image.

    norm:     in which the change shall be small
    steps:    gradient queries per image and restart; each step asks for one score more
    restarts: searches; the first starts at the image, the others around it
    """

    source: ClassVar[str] = "Croce & Hein, ICML 2020, arXiv:1907.02044, algorithm 1"

    norm: Literal["linf", "l2"] = "linf"
    steps: Annotated[int, Field(ge=1)] = 100
    restarts: Annotated[int, Field(ge=1)] = 1

    def gradients(self) -> int:
        """All searches."""
        return super().gradients() * self.restarts

    def search(self, nearest: Nearest, rng: SampleRNG) -> None:
        """As many walks as there are restarts, then a finer look at what they found."""
        x = nearest.clean
        for number in range(self.restarts):
            if number:
                x = self._around(nearest, rng)
            self._walk(nearest, x)
        self._refine(nearest)

    def _walk(self, nearest: Nearest, x: Tensor) -> None:
        clean = nearest.clean
        for _ in range(self.steps):
            if not len(nearest):
                return
            slope = nearest.look(x)
            move = onto_plane(x, slope.gradient, slope.margin, self.norm)
            shift = ((clean - x) * slope.gradient).flatten(1).sum(1, dtype=torch.float64)
            own = onto_plane(clean, slope.gradient, slope.margin + shift, self.norm)
            bias = each(_bias(length(move, self.norm), length(own, self.norm)))
            x = ((1 - bias) * (x + OVERSHOOT * move) + bias * (clean + OVERSHOOT * own)).clamp(0, 1)
            if len(nearest):
                won = nearest.glance(x) < 0
                x = torch.where(each(won), (1 - BACKWARD) * clean + BACKWARD * x, x)

    def _around(self, nearest: Nearest, rng: SampleRNG) -> Tensor:
        """A random point within half of the distance that was found, at most half of eps."""
        clean = nearest.clean
        known = nearest.distance.clamp(max=torch.inf if self.eps is None else self.eps)
        radius = torch.where(known.isfinite(), known, 1.0) / 2
        direction = 2 * rng.rand_like(clean) - 1 if self.norm == "linf" else steepest(rng.randn_like(clean), "l2")
        return (clean + each(radius) * direction).clamp(0, 1)

    def _refine(self, nearest: Nearest) -> None:
        """Regula falsi between the image and the nearest point that won: wherever it wins the point is nearer."""
        inner, outer = nearest.clean, nearest.pixels
        if not len(nearest):
            return
        low, high = nearest.margin(inner), nearest.margin(outer)
        for _ in range(FINAL):
            share = (low / (low - high)).nan_to_num(1.0).clamp(0, 1)
            between = inner + each(share.to(inner)) * (outer - inner)
            margin = nearest.glance(between)
            if not len(nearest):
                return
            won = margin < 0
            outer, high = torch.where(each(won), between, outer), torch.where(won, margin, high)
            inner, low = torch.where(each(won), inner, between), torch.where(won, low, margin)


def _bias(move: Tensor, own: Tensor) -> Tensor:
    """alpha (n,): the share of the image's own projection, larger where the iterate is farther from the boundary than the image."""
    return (move / (move + own).clamp(min=SHORT)).clamp(max=MOST_BIAS)
