"""Descent that stays above a floor of picture quality, as PSNR, SSIM or both, instead of inside a ball.

Source: redteam; the quality figures are those of Wang et al., "Image Quality Assessment: From Error Visibility to Structural Similarity", IEEE TIP 13, 2004.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from redteam.attack import Attack, OptimisedAttack, State, Tier
from redteam.attacks.standing import Standing
from redteam.images import Images
from redteam.imaging.grid import round_nearest
from redteam.imaging.norms import each, length, unit
from redteam.measure.quality import psnr, ssim
from redteam.objective import Objective
from redteam.seeding import SampleRNG
from redteam.target import Access

PSNR = Annotated[float, Field(gt=0, le=60)]
SSIM = Annotated[float, Field(gt=0, lt=1)]
FIRST_DB = 20.0  # where the first step goes before it is scaled back, unless the floor is higher
LONGEST = 4.0  # times the iterate: what rounding takes away from small changes may be more than that of larger ones
HALVINGS = 8  # of the file's scale
SPREAD = 1e-3  # of sizes that are equal, so that those that move first lie all over the image
GOLDEN = (5**0.5 - 1) / 2


@dataclass(frozen=True)
class Floor:
    """The least quality of a file.

    psnr_db, ssim: between the file and the unchanged image; None where it does not matter
    """

    psnr_db: float | None
    ssim: float | None

    def kept(self, files: Tensor, clean: Tensor) -> Tensor:
        """Files (n, 3, h, w) -> (n,) bool; an image that is too small for SSIM keeps no floor of it."""
        keeps = torch.ones(len(files), dtype=torch.bool, device=files.device)
        for least, measure in ((self.psnr_db, psnr), (self.ssim, ssim)):
            keeps &= torch.ones_like(keeps) if least is None else measure(files, clean) >= least
        return keeps

    def scaled(self, pixels: Tensor, clean: Tensor) -> Tensor:
        """Pixels (n, 3, h, w) -> the pixels drawn back to about where the floor is: both errors grow with the square of the change."""
        share = torch.ones(len(pixels), dtype=torch.float64, device=pixels.device)
        if self.psnr_db is not None:
            error = (pixels - clean).double().square().flatten(1).mean(1)
            share = torch.minimum(share, 10 ** (-self.psnr_db / 10) / error.clamp(min=1e-30))
        if self.ssim is not None:
            share = torch.minimum(share, (1 - self.ssim) / (1 - ssim(pixels, clean)).nan_to_num(nan=torch.inf).clamp(min=1e-30))
        return clean + each(share.sqrt()).to(pixels) * (pixels - clean)

    def files(self, pixels: Tensor, clean: Tensor) -> Tensor:
        """Pixels (n, 3, h, w) -> the files farthest along the way to them and beyond that keep the floor; the unchanged image where none does.

        Between the last scale that keeps it and the first that does not, entries that would move next do so one by one, the largest first.
        """
        moved, low = pixels - clean, torch.zeros(len(pixels), device=pixels.device)
        inner, outer, high = clean, round_nearest((clean + LONGEST * moved).clamp(0, 1)), torch.full_like(low, LONGEST)
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            tried = round_nearest((clean + each(middle) * moved).clamp(0, 1))
            keeps = self.kept(tried, clean)
            inner, outer = torch.where(each(keeps), tried, inner), torch.where(each(keeps), outer, tried)
            low, high = torch.where(keeps, middle, low), torch.where(keeps, high, middle)
        return self._filled(inner, outer, moved.abs(), clean)

    def _filled(self, inner: Tensor, outer: Tensor, size: Tensor, clean: Tensor) -> Tensor:
        """Files that keep the floor and files that do not (n, 3, h, w) -> the first with as many entries of the second as the floor allows."""
        ranked = size.flatten(1) * (1 + SPREAD * _scattered(size.shape[1:].numel()).to(size))
        rank = torch.where((inner != outer).flatten(1), ranked, -1.0).argsort(dim=1, descending=True, stable=True).argsort(dim=1).view_as(size)
        low = torch.zeros(len(size), dtype=torch.int64, device=size.device)
        high = (inner != outer).flatten(1).sum(1)
        best = inner
        while (low < high).any():
            middle = (low + high + 1) // 2
            tried = torch.where(rank < each(middle), outer, inner)
            keeps = self.kept(tried, clean) & (low < high)
            best = torch.where(each(keeps), tried, best)
            low, high = torch.where(keeps, middle, low), torch.where(keeps | (low >= high), high, middle - 1)
        return best


@dataclass(frozen=True, kw_only=True)
class Perceptual(OptimisedAttack):
    """Lower the objective's loss as far as the file's quality allows: after each step the change is scaled back to the floor.

    min_psnr_db: floor, dB between the file and the unchanged image
    min_ssim:    floor, the same with structural similarity
    steps:       gradient queries per image
    stop:        ask no more about an image once its file succeeds, and hand on that file; never on surrogates
    """

    source: ClassVar[str] = "redteam; Wang et al., IEEE TIP 13, 2004"
    family: ClassVar[str] = "perceptual"
    needs: ClassVar[Access] = Access.GRADIENTS

    min_psnr_db: PSNR | None = None
    min_ssim: SSIM | None = None
    steps: Annotated[int, Field(ge=1)] = 20
    stop: bool = True

    def __post_init__(self) -> None:
        if self.min_psnr_db is None and self.min_ssim is None:
            raise ValueError("a perceptual attack must have a floor, got none; write min_psnr_db: 40 or min_ssim: 0.98")

    @property
    def tier(self) -> Tier:
        """`sample` where every question holds the whole micro-batch."""
        return Tier.MICROBATCH if self.stop and not self.surrogates else Tier.SAMPLE

    @property
    def divisible(self) -> bool:
        """Images leave the batch, and are never mixed."""
        return True

    def strengths(self) -> dict[str, float]:
        """The floors."""
        return {name: value for name in ("min_psnr_db", "min_ssim") if (value := getattr(self, name)) is not None}

    def control(self) -> PerceptualNoise:
        """Random signs that go as far as the same floors."""
        return PerceptualNoise(goal=self.goal, min_psnr_db=self.min_psnr_db, min_ssim=self.min_ssim)

    def perturb(self, objective: Objective, rng: SampleRNG, state: State | None = None) -> Images:
        """Images (n, 3, h, w) in [0, 1] -> the same images changed, on the 8-bit grid, their quality at or above the floors."""
        floor, clean = Floor(self.min_psnr_db, self.min_ssim), objective.images.pixels
        standing = _Floored(objective, floor, stop=self.stop)
        adv, step = clean, torch.full((len(clean),), _first(clean, floor), device=clean.device)
        for _ in range(self.steps):
            if not len(standing):
                break
            slope = standing.slope(adv)
            standing.check(adv, slope.margin < 0)
            adv = floor.scaled((adv - each(step) * unit(slope.gradient)).clamp(0, 1), clean)
            step = length(adv - clean, "l2") / 4
        return objective.images.with_pixels(standing.settled(adv))


@dataclass(frozen=True, kw_only=True)
class PerceptualNoise(Attack):
    """Random signs as far as a floor of quality allows.

    min_psnr_db: as for the attack that it is the control of
    min_ssim:    likewise
    """

    family: ClassVar[str] = "control"

    min_psnr_db: PSNR | None = None
    min_ssim: SSIM | None = None

    def strengths(self) -> dict[str, float]:
        """The floors."""
        return {name: value for name in ("min_psnr_db", "min_ssim") if (value := getattr(self, name)) is not None}

    def perturb(self, objective: Objective, rng: SampleRNG, state: State | None = None) -> Images:
        """Images (n, 3, h, w) in [0, 1] -> the same images with noise, on the 8-bit grid."""
        floor, clean = Floor(self.min_psnr_db, self.min_ssim), objective.images.pixels
        ranked = rng.signs_like(clean) * (1 + rng.rand_like(clean))  # distinct sizes, so that a high floor picks pixels at random
        far = (clean + _first(clean, floor) * unit(ranked)).clamp(0, 1)
        return objective.images.with_pixels(floor.files(floor.scaled(far, clean), clean))


class _Floored(Standing):
    """Standing images whose files keep a floor of quality instead of a budget."""

    def __init__(self, objective: Objective, floor: Floor, *, stop: bool) -> None:
        super().__init__(objective, None, stop=stop)
        self._floor = floor

    def _settled(self, pixels: Tensor, at: Tensor) -> Tensor:
        return self._floor.files(pixels[at], self.clean[at])


def _scattered(n: int) -> Tensor:
    """(n,) numbers in [0, 1) of which any stretch is spread evenly."""
    return (torch.arange(n, dtype=torch.float64) * GOLDEN) % 1


def _first(clean: Tensor, floor: Floor) -> float:
    """Length of the first step, image units: that of a change with the PSNR of the floor, or a low one."""
    return clean.shape[1:].numel() ** 0.5 * 10 ** (-max(FIRST_DB, floor.psnr_db or 0.0) / 20)
