"""The smallest budget at which an attack succeeds, for each image: bisection that goes on from what it has found.

Source: redteam; the question is that of Carlini et al., "On Evaluating Adversarial Robustness", 2019, arXiv:1902.06705, section 4.4 (success against budget).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from redteam.attack import Attack, OptimisedAttack, State, Tier
from redteam.attacks.pgd import PGD
from redteam.component import Radius
from redteam.files import Budget, to_grid
from redteam.images import Images
from redteam.imaging.grid import SLACK, level_l2, level_linf
from redteam.imaging.settling import settle
from redteam.objective import Objective
from redteam.seeding import SampleRNG
from redteam.target import Access


@dataclass(frozen=True, kw_only=True)
class Minimum(Attack):
    """Run an attack with larger and smaller budgets until the smallest that succeeds is known for each image; a record notes it as `distance`.

    An image that falls is searched below, one that stands above; a file that succeeds is drawn in and judged again before the attack is run anew.

    attack: by ref or kind as a stage of a chain; its own eps is replaced
    eps:    the largest budget, image units; who stands at it has no distance
    parts:  budgets from 0 to eps that are told apart; for linf no more than there are levels of 255
    """

    source: ClassVar[str] = "redteam; Carlini et al., 2019, arXiv:1902.06705, section 4.4"
    family: ClassVar[str] = "search"
    strength: ClassVar[str] = "eps"
    tier: ClassVar[Tier] = Tier.MICROBATCH

    attack: Attack = field(default_factory=PGD, metadata={"stage": True})
    eps: Radius = 16 / 255
    parts: Annotated[int, Field(ge=1, le=1000)] = 64

    def __post_init__(self) -> None:
        if why := self.unfit(self.attack):
            raise ValueError(f"attack: {why}")

    @staticmethod
    def unfit(attack: Attack) -> str | None:
        """Why no smallest budget of an attack can be looked for."""
        if attack.budget() is None or not hasattr(attack, "eps"):
            return "must have a budget eps that can be made smaller; take pgd, apgd or another bounded attack"
        return "must not learn before it runs, since it would have to learn for each budget" if attack.learns() else None

    @property
    def stages(self) -> tuple[Attack, ...]:
        """The attack at the largest budget."""
        return (self.at(self.eps),)

    @property
    def needs(self) -> Access:
        """Decisions, to see who falls; more where the attack needs more."""
        return max(Access.DECISIONS, self.attack.needs)

    def access(self) -> Access:
        """As much of the evaluated target; nothing where surrogates are asked."""
        return Access.NONE if self.attack.asked_instead() else max(Access.DECISIONS, self.attack.access())

    def asked_instead(self) -> tuple[str, ...]:
        """The attack's surrogates."""
        return self.attack.asked_instead()

    @property
    def divisible(self) -> bool:
        """Whether the attack is."""
        return self.attack.divisible

    @property
    def resamples(self) -> bool:
        """Whether the attack does."""
        return self.attack.resamples

    def gradients(self) -> int:
        """Those of the attack, for each halving."""
        return (1 + len(self.radii()).bit_length()) * self.attack.gradients()

    def params(self) -> dict[str, Any]:
        """Every field, the attack with its kind."""
        return {"goal": self.goal, "eps": self.eps, "parts": self.parts, "attack": {"kind": type(self.attack).__name__, **self.attack.params()}}

    def budget(self) -> Budget:
        """The largest ball, in the attack's norm."""
        return Budget(self.attack.budget().norm, self.eps)

    def control(self) -> Attack | None:
        """That of the attack at the largest budget."""
        return self.at(self.eps).control()

    def perturb(self, objective: Objective, rng: SampleRNG, state: State | None = None) -> Images:
        """Images (n, 3, h, w) in [0, 1] -> the nearest files that succeed; who stands is handed on as the attack with the largest budget left it."""
        hunt = _Hunt(self, objective, rng)
        hunt.attack(hunt.standing(), len(self.radii()) - 1)
        while len(at := hunt.undecided()):
            tried = hunt.middle(at)
            for middle in tried.unique().tolist():
                here = at[tried == middle]
                hunt.attack(here[~hunt.draw_in(here, middle)], middle)
        hunt.note()
        return objective.images.with_pixels(hunt.files)

    def radii(self) -> list[float]:
        """0 and the budgets that are told apart, rising."""
        norm, most = self.budget().norm, int(self.eps * 255 + SLACK)
        if norm == "linf":
            return [level / 255 for level in sorted({round(most * part / self.parts) for part in range(self.parts + 1)})]
        return [self.eps * part / self.parts for part in range(self.parts + 1)]

    def at(self, radius: float) -> Attack:
        return replace(self.attack, eps=radius, goal=self.goal)


class _Hunt:
    """What is known of each image; budgets are numbers in the list of radii, which begins with 0.

    files: pixels (n, 3, h, w), the nearest that succeeds so far
    """

    def __init__(self, search: Minimum, objective: Objective, rng: SampleRNG) -> None:
        self._search, self._objective, self._rng = search, objective, rng
        self._judge = search.attack.asking(objective) if isinstance(search.attack, OptimisedAttack) else objective
        self._radii = torch.tensor(search.radii(), dtype=torch.float64)
        self.files = objective.images.pixels.clone()
        self._fails = torch.zeros(len(objective), dtype=torch.int64)  # the largest that was not enough
        self._falls = torch.full_like(self._fails, len(self._radii))  # the smallest that was; none yet
        self._distance = torch.full((len(objective),), torch.inf, dtype=torch.float64)

    def standing(self) -> Tensor:
        """Judge the unchanged images -> the positions of those that do not succeed as they are."""
        everyone = torch.arange(len(self._objective))
        return everyone[~self._kept(everyone, self.files)] if len(everyone) else everyone

    def attack(self, at: Tensor, number: int) -> None:
        """Run the attack with one budget on the images at these positions (k,)."""
        if not number or not len(at):
            return
        attack, images = self._search.at(self._radii[number].item()), self._objective.subset(at)
        made = attack.run(images, self._rng.subset(at).fork(number)).pixels
        files = to_grid(made, images.images.pixels, attack.budget())
        lost = ~self._kept(at, files)
        self._fails[at[lost]] = number
        if number == len(self._radii) - 1:
            self.files[at[lost]] = files[lost]

    def draw_in(self, at: Tensor, number: int) -> Tensor:
        """Whether the nearest files of these images still succeed when they are drawn in to a budget (k,) bool; asks one decision."""
        clean = self._objective.images.pixels[at]
        return self._kept(at, settle(self.files[at], clean, self._search.budget().norm, self._radii[number].item()))

    def undecided(self) -> Tensor:
        """The positions of the images that fall to some budget, and for which a smaller one may be enough."""
        return ((self._falls < len(self._radii)) & (self._falls - self._fails > 1)).nonzero().flatten()

    def middle(self, at: Tensor) -> Tensor:
        """The budget to try next (k,)."""
        return (self._fails[at] + self._falls[at]) // 2

    def note(self) -> None:
        """Tell the records the distance of those that fell."""
        found = self._distance.isfinite()
        self._objective.subset(found).note("distance", self._distance[found].tolist())

    def _kept(self, at: Tensor, files: Tensor) -> Tensor:
        """Judge files (k, 3, h, w), keep those that succeed, and say which (k,) bool."""
        fell = self._judge.subset(at).succeeded(files).cpu()
        measure = level_linf if self._search.budget().norm == "linf" else level_l2
        away = measure(files, self._objective.images.pixels[at]).double().cpu() / 255
        won = at[fell]
        self.files[won], self._distance[won] = files[fell], away[fell]
        self._falls[won] = torch.searchsorted(self._radii, away[fell] * (1 - 1e-9))
        return fell
