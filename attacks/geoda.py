"""GeoDA: takes the boundary for a plane, feels its normal, and looks for the point where the normal through the image meets it.

Source: Rahmati et al., "GeoDA: A Geometric Framework for Black-box Adversarial Attacks", CVPR 2020, arXiv:2003.06468, algorithm 1 and eq. 15
(queries grow geometrically from one estimate to the next).
Deviation: everything that is asked is an 8-bit file; `boundaries` says what follows for the start, the search for the boundary and the probes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import Field
from torch import Tensor

from redteam.attacks.black_box import DecisionAttack, Search
from redteam.attacks.boundaries import Feeling, Part, Paths, start
from redteam.imaging.grid import round_nearest
from redteam.imaging.norms import length, steepest
from redteam.seeding import SampleRNG

FURTHER = (1.0, 1.25, 1.6, 2.0, 3.0)  # times the present distance: where the boundary is looked for along a normal


@dataclass(frozen=True, kw_only=True)
class GeoDA(DecisionAttack):
    """Estimate the boundary's normal from decisions, go from the image along it until the target gives way, and again from there.

    turns:       estimates among which the queries are shared, each 1 / 0.6 times as many as the one before
    reach:       how far the probes lie from the boundary at least, root mean square in 8-bit levels
    frequencies: of the probes
    """

    source: ClassVar[str] = "Rahmati et al., CVPR 2020, arXiv:2003.06468, algorithm 1"

    turns: Annotated[int, Field(ge=1)] = 4
    reach: Annotated[float, Field(gt=0)] = 0.5
    frequencies: tuple[Annotated[float, Field(ge=0, le=1)], Annotated[float, Field(ge=0, le=1)]] = (0.0, 1.0)

    def search(self, clean: Tensor, rng: SampleRNG) -> Search:
        """Come to the boundary, feel, go along the normal, and again; the last estimate takes what is left."""
        paths, feeling, turn = Paths(clean, self.norm, rng), Feeling(clean, self.reach, self.frequencies, rng), 0
        file = yield from start(clean, rng)
        while file is not None:
            file = yield from paths.boundary(file)
            normal = yield from feeling.normal(file, self._probes(turn))
            found = yield from self._along(clean, steepest(normal, self.norm), float(length(file - clean, self.norm)))
            file = file if found is None else found
            turn += 1

    def _probes(self, turn: int) -> int:
        shares = [0.6**-i for i in range(self.turns)]
        return max(1, round(0.8 * self.queries / self.eot * shares[min(turn, self.turns - 1)] / sum(shares)))  # a fifth goes into paths

    def _along(self, clean: Tensor, direction: Tensor, far: float) -> Part[Tensor | None]:
        """The first file along the normal that succeeds; None where none of those that are looked at does."""
        for times in FURTHER:
            file = round_nearest((clean + times * far * direction).clamp(0, 1))
            if (yield file):
                return file
        return None
