"""Noise, drawn again and again: what an adversary without any method achieves by asking often enough.

Source: the baseline that Carlini et al., "On Evaluating Adversarial Robustness", 2019, arXiv:1902.06705, section 4.6, asks for beside every
optimised attack: what random search finds, a stronger attack must find too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from redteam.attacks.black_box import ScoreAttack, Search
from redteam.imaging.norms import into_ball, unit
from redteam.seeding import SampleRNG


@dataclass(frozen=True, kw_only=True)
class Draws(ScoreAttack):
    """Draw noise on the border of the ball, each time anew, and keep what harms most."""

    family: ClassVar[str] = "random"
    source: ClassVar[str] = "Carlini et al., 2019, arXiv:1902.06705, section 4.6"

    def search(self, clean: Tensor, rng: SampleRNG) -> Search:
        """One draw for each query: random signs for linf, a random direction for l2."""
        inside = into_ball(clean, self.norm, self.eps)
        while True:
            direction = rng.signs_like(clean) if self.norm == "linf" else unit(rng.randn_like(clean))
            yield self.file(inside(clean + self.eps * direction), clean)
