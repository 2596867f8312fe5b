"""Projected gradient descent in a band of cosine frequencies.

Source: Guo, Frank and Weinberger, "Low Frequency Adversarial Perturbation", UAI 2019, arXiv:1809.08758 (low bands of the DCT);
Sharma, Ding and Brubaker, "On the Effectiveness of Low Frequency Perturbations", IJCAI 2019, arXiv:1903.00073 (masks of bands on the gradient).
Deviation: iterates are projected onto the band and into the ball in turn, so that only rounding and the borders of [0, 1] put anything outside the
band; losses in log-odds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from redteam.attack import State
from redteam.attacks.noise import Noise
from redteam.attacks.pgd import PGD, Room
from redteam.images import Images
from redteam.imaging import dct
from redteam.imaging.norms import into_ball
from redteam.objective import Objective
from redteam.seeding import SampleRNG

Band = Literal["low", "mid", "high"]
THIRDS: dict[str, tuple[float, float]] = {"low": (0.0, 1 / 3), "mid": (1 / 3, 2 / 3), "high": (2 / 3, 1.0)}
TURNS = 8  # projections onto the band and into the ball, one after the other
BLOCK = 8


@dataclass(frozen=True, kw_only=True)
class DCTPGD(PGD):
    """Lower the objective's loss by changes that hold some cosine frequencies only.

    band:   which third of the frequencies, each the mean of its vertical and its horizontal part
    blocks: of 8 x 8 pixels, as in JPEG; false takes the whole image
    """

    source: ClassVar[str] = "Guo et al., UAI 2019, arXiv:1809.08758; Sharma et al., IJCAI 2019, arXiv:1903.00073"

    norm: Literal["linf"] = "linf"
    band: Band = "low"
    blocks: bool = True

    def control(self) -> DCTNoise:
        """Random signs of the same radius and band."""
        return DCTNoise(eps=self.eps, goal=self.goal, band=self.band, blocks=self.blocks)

    def room(self, objective: Objective, rng: SampleRNG) -> Room:
        """The part of the ball that the band passes through."""
        return band_in_ball(objective.images.pixels, self.eps, self.band, self.blocks)


@dataclass(frozen=True, kw_only=True)
class DCTNoise(Noise):
    """Random signs in a band of cosine frequencies.

    band:   as for the attack that it is the control of
    blocks: likewise
    """

    norm: Literal["linf"] = "linf"
    band: Band = "low"
    blocks: bool = True

    def along(self, clean: Tensor, signs: Tensor, rng: SampleRNG) -> Tensor:
        """Pixels and signs (n, 3, h, w) -> the pixels moved to where the signs point in the band, within the budget."""
        room = band_in_ball(clean, self.eps, self.band, self.blocks)
        return room.project(clean + self.eps * room.along(signs).sign())


def band_in_ball(clean: Tensor, eps: float, band: Band, blocks: bool) -> Room:
    """Pixels (n, 3, h, w) -> the points of their L-infinity ball that differ from them in one band only."""
    block = BLOCK if blocks else None
    kept = dct.band(*clean.shape[-2:], *THIRDS[band], block)
    inside = into_ball(clean, "linf", eps)

    def project(adv: Tensor) -> Tensor:
        for _ in range(TURNS):
            adv = inside(clean + dct.filter_band(adv - clean, kept, block))
        return adv

    return Room(project, lambda gradient: dct.filter_band(gradient, kept, block))
