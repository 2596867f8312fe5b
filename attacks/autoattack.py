"""An ensemble of four attacks that fail in different ways, each on the images that the ones before left standing.

Source: Croce & Hein, "Reliable Evaluation of Adversarial Robustness with an Ensemble of Diverse Parameter-free Attacks", ICML 2020,
arXiv:2003.01690, section 5 (APGD of 100 steps without restarts, FAB of 100 steps, Square of 5,000 queries) and its appendix (the version for
random targets: APGD with 20 averaged gradients).
Deviation: with two outcomes the DLR loss and attacks aimed at a class do not exist: APGD on the margin and untargeted FAB take their
places. An image has fallen when its 8-bit file is misjudged.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from redteam.attack import OptimisedAttack, State
from redteam.attacks.apgd import APGD
from redteam.attacks.bounded import BoundedAttack
from redteam.attacks.fab import FAB
from redteam.attacks.square import Square
from redteam.images import Images
from redteam.objective import Objective
from redteam.seeding import SampleRNG

DRAWS = 20  # answers averaged by the version for random targets


@dataclass(frozen=True, kw_only=True)
class AutoAttack(BoundedAttack):
    """Worst case of APGD on the cross-entropy, APGD on the margin, FAB and Square; a record notes in `broken_by` which part broke the image.

    version:  standard, or rand for targets that answer at random: the two APGDs alone, 20 answers averaged where `eot` says nothing else
    steps:    gradient queries of each gradient attack, per image and restart
    restarts: of each gradient attack
    queries:  scores that Square may ask for, per image
    """

    source: ClassVar[str] = "Croce & Hein, ICML 2020, arXiv:2003.01690, section 5"
    family: ClassVar[str] = "ensemble"

    version: Literal["standard", "rand"] = "standard"
    steps: Annotated[int, Field(ge=1)] = 100
    restarts: Annotated[int, Field(ge=1)] = 1
    queries: Annotated[int, Field(ge=1)] = 5000

    def parts(self) -> dict[str, OptimisedAttack]:
        """The attacks by name, in the order in which they run."""
        ball = {"norm": self.norm, "eps": self.eps, "stop": self.stop}
        effort = ball | {"steps": self.steps, "restarts": self.restarts}
        found: dict[str, OptimisedAttack] = {"apgd-ce": APGD(loss="ce", **effort), "apgd-margin": APGD(loss="margin", **effort)}
        if self.version == "standard":
            found |= {"fab": FAB(**effort), "square": Square(**ball, queries=self.queries)}
        return found

    def gradients(self) -> int:
        """Those of all parts."""
        return self._draws() * sum(part.gradients() for part in self.parts().values())

    def asking(self, objective: Objective) -> Objective:
        """As for every attack, with the version's own number of answers."""
        return (objective.through(self.surrogates) if self.surrogates else objective).averaged(self._draws())

    def perturb(self, objective: Objective, rng: SampleRNG, state: State | None = None) -> Images:
        """Images (n, 3, h, w) in [0, 1] -> for each the file of the first part that broke it, or the one with the lowest loss."""
        standing = self.standing(objective)
        for name, part in self.parts().items():
            if not len(standing):
                break
            left, asked = standing.left, standing.objective
            files = standing.files.index_copy(0, left, part.perturb(asked, rng.subset(left).fork(name)).pixels)
            standing.take(files)
            fell = standing.fallen[left]
            asked.subset(fell).note("broken_by", [name] * int(fell.sum()))
        return objective.images.with_pixels(standing.files)

    def _draws(self) -> int:
        return DRAWS if self.version == "rand" and self.eot == 1 else self.eot
