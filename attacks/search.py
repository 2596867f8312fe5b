"""A search over chains: which composition of cheap operations, and one optimised attack among them, breaks a target worst while the picture stays good.

It sees images of the role `train` only; its winner is kept as an artifact and evaluated on images that the search never saw, since the best of many
chains owes some of its success to the images on which it was chosen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from redteam.attack import Attack, State, Tier
from redteam.attacks.chain import Chain
from redteam.attacks.compositions import Composition, Operation, Space
from redteam.attacks.findings import as_state, compositions, told
from redteam.attacks.halving import Candidate, Purse, Seen, halved
from redteam.attacks.trial import Trial
from redteam.images import Images
from redteam.measure.quality import psnr, ssim
from redteam.objective import Objective
from redteam.seeding import SampleRNG, derive_seed
from redteam.target import Access


@dataclass(frozen=True, kw_only=True)
class Search(Attack):
    """Find the chain that breaks most training images at a quality floor, then attack with it.

    An image is broken where its file is misjudged and keeps the floor; where the chain would fall below the floor the image stays as it is, in
    the search as in the evaluation. Harm is the share of broken images, mean over the classes that the goal is about; equal harm goes to the
    chain that changes less, then to the shorter one.

    pool:        the operations, each by ref or kind as a stage of a chain; {sweep: [...]} gives the strengths to choose among
    finish:      one attack that asks the target, which may stand anywhere in a chain, or nowhere
    length:      operations in a chain at most, the finish among them
    min_psnr_db: floor, dB between the file and that of the unchanged image
    min_ssim:    floor, the same with structural similarity
    queries:     answers for the whole search at most, the target's and those of surrogates: one for each image and question, a gradient like a decision
    images:      training images that the search looks at, at most: the first of each label, in the order of data.train
    chains:      chains that are tried at most: every operation alone first, then longer ones at random
    """

    source: ClassVar[str] = "redteam; successive halving of Jamieson & Talwalkar, AISTATS 2016, arXiv:1502.07943"
    family: ClassVar[str] = "search"

    pool: tuple[Operation, ...] = ()
    finish: Operation | None = None
    length: Annotated[int, Field(ge=1, le=8)] = 3
    min_psnr_db: Annotated[float, Field(gt=0, le=100)] | None = None
    min_ssim: Annotated[float, Field(gt=0, le=1)] | None = None
    queries: Annotated[int, Field(ge=1)] = 5000
    images: Annotated[int, Field(ge=8)] = 64
    chains: Annotated[int, Field(ge=1)] = 100

    def __post_init__(self) -> None:
        alone = len(self._space.choices)
        if self.min_psnr_db is None and self.min_ssim is None:
            raise ValueError("a search must have a quality floor, got none; write min_psnr_db: 30 or min_ssim: 0.9")
        if self.queries < 2 * self.images:
            raise ValueError(f"queries must be at least twice the images (each as it is, and under one chain), got {self.queries} for {self.images} images; raise queries, or lower images")
        if self.length > 1 and self.chains <= alone:
            raise ValueError(f"chains must be more than the {alone} settings of single operations, which are tried first, got {self.chains}; raise chains")
        for operation in self._space.operations:
            if why := self.unfit(operation, finish=operation is self.finish):
                raise ValueError(f"{operation.name} {why}")

    @staticmethod
    def unfit(operation: Operation, *, finish: bool) -> str | None:
        """Why an operation cannot stand in the pool, or as the finish."""
        if any(attack.learns() for attack in operation.settings):
            return "learns before it runs, which would be once for every chain; take it out"
        if any(attack.geometric for attack in operation.settings):
            return "moves pixels or changes the size, so that no floor can be judged; take it out"
        asks = any(attack.needs > Access.NONE for attack in operation.settings)
        if asks and not finish:
            return "asks the target, which only the finish may; write it as finish"
        return "asks the target nothing; put it into the pool" if finish and not asks else None

    @cached_property
    def _space(self) -> Space:
        return Space(self.pool, self.finish, self.length)

    @property
    def names(self) -> tuple[str, ...]:
        """The operations."""
        return tuple(operation.name for operation in self._space.operations)

    @property
    def stages(self) -> tuple[Attack, ...]:
        """Every attack that a chain may hold."""
        return tuple(attack for _, attack in self._space.choices)

    @property
    def needs(self) -> Access:
        """Decisions, to see what a chain does; more where the finish needs more."""
        return max([Access.DECISIONS, *(attack.needs for attack in self.stages)])

    def access(self) -> Access:
        """Decisions of the evaluated target, also where the finish asks surrogates."""
        return max([Access.DECISIONS, *(attack.access() for attack in self.stages)])

    def asked_instead(self) -> tuple[str, ...]:
        """The surrogates of the finish."""
        return tuple(dict.fromkeys(name for attack in self.stages for name in attack.asked_instead()))

    def gradients(self) -> int:
        """Those of the finish, once for each image that is evaluated."""
        return max((attack.gradients() for attack in self.stages), default=0)

    @property
    def tier(self) -> Tier:
        """`sample` where every stage is."""
        return Tier.SAMPLE if all(attack.tier is Tier.SAMPLE for attack in self.stages) else Tier.MICROBATCH

    @property
    def divisible(self) -> bool:
        """Whether every stage is."""
        return all(attack.divisible for attack in self.stages)

    @property
    def resamples(self) -> bool:
        """Whether a stage does."""
        return any(attack.resamples for attack in self.stages)

    def params(self) -> dict[str, Any]:
        """Every field, the operations with all their settings."""
        own = {field.name: getattr(self, field.name) for field in fields(self)}
        return own | {"pool": [operation.params() for operation in self.pool], "finish": self.finish and self.finish.params()}

    def strengths(self) -> dict[str, float]:
        """The floor: the lower it is, the more an attacker may spoil."""
        return {name: value for name in ("min_psnr_db", "min_ssim") if (value := getattr(self, name)) is not None}

    def control(self) -> SearchControl | None:
        """The winner with its optimised stage replaced by that one's control."""
        return SearchControl(of=self, goal=self.goal) if self.finish else None

    def fit(self, objectives: Iterable[Objective], rng: SampleRNG) -> State:
        """The best chains, the winner first, and what was seen of them."""
        purse, seed = Purse(self.queries), rng.seeds[0]
        trial = Trial((objective.watched(purse.pay) for objective in objectives), self.images, derive_seed(seed, "order"))
        drawn = self._space.drawn(derive_seed(seed, "chains"), self.chains)

        def look(composition: Composition, number: int) -> Seen:
            chain = self._space.chain(composition)
            return trial.look(number, lambda objective: self._seen(chain, objective, SampleRNG.of(seed, "search", None, objective.images.ids)))

        tried = halved([Candidate(composition, i) for i, composition in enumerate(drawn)], trial.labels, trial.rounds, look, purse)
        if not tried:
            raise ValueError(f"search: queries must pay for one chain on the first images, got {self.queries}; raise it")
        return as_state(tried, trial, purse)

    def findings(self, state: State) -> dict[str, Any]:
        """The winner, what it cost to find, and the runners-up."""
        return {"kind": "search", "floor": self.strengths(), "length": self.length, "queries": self.queries, **told(state, self._space)}

    def perturb(self, objective: Objective, rng: SampleRNG, state: State | None = None) -> Images:
        """Images (n, 3, h, w) in [0, 1] -> the same images after the winner; those that it would spoil as they were."""
        return self.replayed(objective, rng, state, lambda chain: chain)

    def replayed(self, objective: Objective, rng: SampleRNG, state: State | None, changed: Callable[[Chain], Chain]) -> Images:
        """The winner, changed, on some images."""
        winner = compositions(self.learned(state))[0]
        published, kept = self._published(changed(self._space.chain(winner)), objective, rng)
        objective.note("chain", [self._space.text(winner)] * len(objective))
        objective.note("kept_floor", kept.tolist())
        return published

    def _seen(self, chain: Chain, objective: Objective, rng: SampleRNG) -> Seen:
        """What a chain does to a batch of the search; an image that it spoils costs no question."""
        published, kept = self._published(chain, objective, rng)
        broken = kept.clone()
        if kept.any():
            broken[kept] = objective.subset(kept).succeeded(published.pixels[kept])
        distance = (published.pixels - objective.images.pixels).double().square().flatten(1).mean(1)
        return Seen(broken.cpu(), kept.cpu(), distance.cpu())

    def _published(self, chain: Chain, objective: Objective, rng: SampleRNG) -> tuple[Images, Tensor]:
        """What an attacker who holds to the floor publishes, and (n,) bool where the chain kept it."""
        result, clean = chain.perturb(objective, rng), objective.images.pixels
        kept = self._keeps(objective.saved(clean), objective.saved(result.pixels))
        return result.with_pixels(torch.where(kept[:, None, None, None], result.pixels, clean)), kept

    def _keeps(self, before: Tensor, after: Tensor) -> Tensor:
        """Files (n, 3, h, w) of the unchanged images and of the attacked ones -> (n,) bool, whether each keeps the floor."""
        kept = torch.ones(len(before), dtype=torch.bool, device=before.device)
        if self.min_psnr_db is not None:
            kept &= psnr(before, after) >= self.min_psnr_db
        if self.min_ssim is not None:
            similar = ssim(before, after)
            if similar.isnan().any():
                raise ValueError(f"search: min_ssim must be judged on at least 11 x 11 pixels, got {tuple(before.shape[2:])}; write min_psnr_db instead")
            kept &= similar >= self.min_ssim
        return kept


@dataclass(frozen=True, kw_only=True)
class SearchControl(Attack):
    """The winner of a search without its cleverness: the same operations, and noise in place of the optimised attack.

    of: the search, whose winner it takes over
    """

    family: ClassVar[str] = "control"

    of: Search

    def learner(self) -> Attack:
        """The search."""
        return self.of

    def fit(self, objectives: Iterable[Objective], rng: SampleRNG) -> State:
        """What the search finds."""
        return self.of.fit(objectives, rng)

    @property
    def tier(self) -> Tier:
        """`sample` where every operation and every control is."""
        return Tier.SAMPLE if all((stage.control() or stage).tier is Tier.SAMPLE for stage in self.of.stages) else Tier.MICROBATCH

    def params(self) -> dict[str, Any]:
        """The fields of the search."""
        return {"goal": self.goal, "of": self.of.params()}

    def strengths(self) -> dict[str, float]:
        """Those of the search."""
        return self.of.strengths()

    def perturb(self, objective: Objective, rng: SampleRNG, state: State | None = None) -> Images:
        """Images (n, 3, h, w) in [0, 1] -> the same images after the winner's operations; a winner without an optimised attack is its own control."""
        return self.of.replayed(objective, rng, state, lambda chain: chain.control() or chain)
