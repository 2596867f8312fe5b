"""What attacks that look for the smallest change have in common: the nearest point that wins, and the shortest file along it."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from redteam.attack import OptimisedAttack, State, Tier
from redteam.attacks.noise import Noise
from redteam.attacks.standing import Standing
from redteam.component import Radius
from redteam.files import Budget
from redteam.imaging.grid import level_l2, level_linf
from redteam.imaging.norms import Norm, each, length
from redteam.imaging.settling import settle
from redteam.images import Images
from redteam.objective import Objective, Slope
from redteam.seeding import SampleRNG
from redteam.target import Access

LENGTHS = (1.0, 1.02, 1.05, 1.1, 1.2, 1.5, 2.0, 3.0, 4.0, 8.0, 16.0)  # of the nearest point's: rounding to 8 bits may undo what is shorter
REFINED = 4  # halvings between the last length that did not succeed and the first that did
LEVEL = 1 / 255  # what is shorter than a level is nothing on the grid


@dataclass(frozen=True, kw_only=True)
class MinimalAttack(OptimisedAttack):
    """Base of attacks that look for the smallest change that succeeds; the file of it is noted as `distance`.

    eps:  radius of the ball that is enough, image units; when not given, it goes as far as it needs
    stop: with eps, ask no more about an image once a file inside the ball succeeds; false looks for a smaller change all the same
    """

    family: ClassVar[str] = "gradient"
    needs: ClassVar[Access] = Access.GRADIENTS
    strength: ClassVar[str] = "eps"
    norm: ClassVar[Norm] = "l2"

    eps: Radius | None = None
    stop: bool = True

    @property
    def tier(self) -> Tier:
        """`sample` where every question holds the whole micro-batch."""
        return Tier.MICROBATCH if self.stop and self.eps is not None and not self.surrogates else Tier.SAMPLE

    @property
    def divisible(self) -> bool:
        """Images leave the batch, and are never mixed."""
        return True

    def strengths(self) -> dict[str, float]:
        """The radius, where there is one."""
        return {} if self.eps is None else {"eps": self.eps}

    def budget(self) -> Budget | None:
        """The ball that every result lies in, where there is one."""
        return None if self.eps is None else Budget(self.norm, self.eps)

    def control(self) -> Noise | None:
        """Random signs of the same norm and radius, where there is a ball."""
        return None if self.eps is None else Noise(norm=self.norm, eps=self.eps, goal=self.goal)

    def perturb(self, objective: Objective, rng: SampleRNG, state: State | None = None) -> Images:
        """Images (n, 3, h, w) in [0, 1] -> the nearest files that succeed; as near to success as it came where none does."""
        nearest = Nearest(objective, self.norm, self.eps, stop=self.stop)
        self.search(nearest, rng)
        return objective.images.with_pixels(nearest.shortest_files())

    @abstractmethod
    def search(self, nearest: Nearest, rng: SampleRNG) -> None:
        """Ask `nearest` about points until one that is near enough has won, or there is nothing more to try."""


class Nearest(Standing):
    """Standing images, and for each the nearest point that has won against it so far; before one has, the point with the lowest margin.

    pixels:   that point (n, 3, h, w)
    distance: how far it is (n,); infinite before one has won
    """

    def __init__(self, objective: Objective, norm: Norm, eps: float | None, *, stop: bool) -> None:
        super().__init__(objective, None if eps is None else Budget(norm, eps), stop=stop and eps is not None)
        self.pixels = self.clean.clone()
        self.distance = torch.full((len(objective),), torch.inf, device=self.clean.device)
        self._margin = torch.full_like(self.distance, torch.inf, dtype=torch.float64)
        self._norm: Norm = norm
        self._most = math.inf if eps is None else eps

    def look(self, pixels: Tensor) -> Slope:
        """Loss, margin and gradient at pixels (n, 3, h, w), which are kept where they are the nearest that won."""
        slope = self.slope(pixels)
        self._keep(pixels, slope.margin)
        return slope

    def glance(self, pixels: Tensor) -> Tensor:
        """The margin (n,) alone, for the price of a score."""
        margin = self.margin(pixels)
        self._keep(pixels, margin)
        return margin

    def away(self, pixels: Tensor) -> Tensor:
        """Pixels (n, 3, h, w) -> their distance (n,) from the images."""
        return length(pixels - self.clean, self._norm)

    def _keep(self, pixels: Tensor, margin: Tensor) -> None:
        standing = torch.zeros_like(margin, dtype=torch.bool).index_fill(0, self.left, True)
        away, won = self.away(pixels), margin < 0
        nearer = standing & torch.where(won, away < self.distance, self.distance.isinf() & (margin < self._margin))
        self.pixels = torch.where(each(nearer), pixels, self.pixels)
        self.distance = torch.where(nearer & won, away, self.distance)
        self._margin = torch.where(nearer, margin, self._margin)
        reached = nearer & won & (away <= self._most)
        if reached.any() and self._stops:
            self.check(self._reaching(), reached)

    def _reaching(self) -> Tensor:
        """The nearest points as far as the ball reaches, where a file loses least; they may lie outside [0, 1]."""
        return self.clean + (self.pixels - self.clean) * each(self._most / self.away(self.pixels).clamp(min=1e-12))

    def shortest_files(self) -> Tensor:
        """The nearest points as files (n, 3, h, w), each as long as it needs to succeed and the ball allows; notes the distance of those that do."""
        files = self.files.clone()
        lost = self.away(self.pixels)  # no file of this length or less is expected to succeed
        won = self._lengthen(files, lost)
        for _ in range(REFINED):
            at = (won.isfinite() & (lost < won)).nonzero().flatten()
            self._try(files, at, (lost[at] + won[at]) / 2, lost, won)
        self._note(files, won.isfinite() | self.fallen)
        return files

    def _lengthen(self, files: Tensor, lost: Tensor) -> Tensor:
        """The first of LENGTHS at which the file succeeds (n,), infinite where none does; fills in the files and the last length that did not."""
        won, away = torch.full_like(lost, torch.inf), lost.clamp(min=LEVEL)
        at = (~self.fallen).nonzero().flatten()
        for factor in LENGTHS:
            radius = (factor * away[at]).clamp(max=self._most)
            tried = self._try(files, at, radius, lost, won)
            kept = (radius >= self._most) | (factor == 1)  # of who does not succeed: the longest that may be, or else the nearest point
            files[at[kept]] = tried[kept]
            at = at[won[at].isinf() & (radius < self._most) & self.distance[at].isfinite()]
        return won

    def _try(self, files: Tensor, at: Tensor, radius: Tensor, lost: Tensor, won: Tensor) -> Tensor:
        """The files of these lengths (k,) for the images at `at`; those that succeed are filled in, and the lengths booked."""
        if not len(at):
            return files[at]
        candidates = self._lengthened(at, radius)
        fell = self._whole.subset(at).succeeded(candidates)
        files[at[fell]] = candidates[fell]
        won[at[fell]], lost[at[~fell]] = radius[fell], radius[~fell]
        return candidates

    def _lengthened(self, at: Tensor, radius: Tensor) -> Tensor:
        """The files of the nearest points of some images, brought to these distances (k,)."""
        clean = self.clean[at]
        moved = self.pixels[at] - clean
        return settle(clean + moved * each(radius / length(moved, self._norm).clamp(min=1e-12)), clean, self._norm, radius)

    def _note(self, files: Tensor, won: Tensor) -> None:
        if not self._stops:  # else it rests on the border of the ball
            levels = (level_l2 if self._norm == "l2" else level_linf)(files[won], self.clean[won])
            self._whole.subset(won).note("distance", (levels / 255).tolist())
