"""The attacks of the library torchattacks, on a target with two outcomes.

Source: Kim, "Torchattacks: A PyTorch Repository for Adversarial Attacks", 2020, arXiv:2010.01950, version 3.5.1; the paper of each method
is named in its class.
Deviation: the library sees the objective's margin as two logits, or a detector with one logit would look robust to all of it; results are
moved to the 8-bit grid inside the ball; the smallest change that a method finds is lengthened until its file succeeds; where a bounded method
hands an image back as it was, the closest candidate that it asked about is taken; APGD, CW, EAD and others see one image at a time.
"""

from __future__ import annotations

import math
import random
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import AfterValidator, BeforeValidator, ValidationInfo
from torch import Tensor

from redteam.attack import OptimisedAttack, State, Tier
from redteam.attacks.noise import Noise
from redteam.attacks.torchattacks_methods import METHODS, Method, arguments, canonical, defaults, library, radius_name
from redteam.attacks.two_logits import TwoLogits
from redteam.component import Radius
from redteam.files import Budget
from redteam.imaging.grid import SLACK
from redteam.imaging.settling import settle
from redteam.images import Images
from redteam.objective import Objective
from redteam.seeding import SampleRNG, derive_seed
from redteam.target import Access


def _in_place(args: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
    """The arguments in full, so that a complaint lands on the line where they stand."""
    return arguments(info.data["method"], args) if "method" in info.data else args


MethodName = Annotated[Literal[tuple(METHODS)], BeforeValidator(canonical)]
Args = Annotated[dict[str, Any], AfterValidator(_in_place)]
LENGTHS = (1.0, 1.2, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0)  # of the smallest change that was found, until its file succeeds
FAMILIES = {Access.GRADIENTS: "gradient", Access.SCORES: "score", Access.NONE: "distortion"}


@dataclass(frozen=True, kw_only=True)
class TorchAttacks(OptimisedAttack):
    """Run an attack of the library torchattacks 3.5.1, which must be installed: pip install 'redteam[torchattacks]'.

    method: its class; AutoAttack, APGDT, Jitter, LGV and MultiAttack are refused with the reason
    eps:    radius of the ball, image units; the library's default for the method when not given, and none for a method without a ball
    args:   the other arguments of the class, such as {steps: 10, alpha: 2/255}; what is not given has the library's default
    """

    source: ClassVar[str] = "Kim, Torchattacks, 2020, arXiv:2010.01950; the paper of each method is named in its class"

    method: MethodName
    eps: Radius | None = None
    args: Args = field(default_factory=dict)

    def __post_init__(self) -> None:
        """The configuration in full: the library's spelling and all arguments, so that a record names what ran."""
        object.__setattr__(self, "method", canonical(self.method))
        object.__setattr__(self, "args", arguments(self.method, self.args))
        name = radius_name(self.method)
        if name is None and self.eps is not None:
            raise ValueError(f"eps: {self.method} has no ball, got {self.eps:.4g}; delete it, or take a method that has one")
        if name is not None and self.eps is None:
            object.__setattr__(self, "eps", defaults(self.method)[name])
        if self.needs is Access.NONE and self.surrogates:
            raise ValueError(f"surrogates: {self.method} asks no target, got {', '.join(self.surrogates)}; delete them")

    @property
    def needs(self) -> Access:
        """What the method asks for."""
        return self._method.needs

    @property
    def tier(self) -> Tier:
        """`sample` where images go through it one by one."""
        return Tier.SAMPLE if self._method.alone else Tier.MICROBATCH

    @property
    def family(self) -> str:
        """By what it asks for."""
        return FAMILIES[self.needs]

    @property
    def steps(self) -> int:
        """Most gradients for one image."""
        return self._method.gradients(self.args) if self.needs is Access.GRADIENTS else 0

    @property
    def _method(self) -> Method:
        return METHODS[self.method]

    def strengths(self) -> dict[str, float]:
        """The radius, where there is one."""
        return {} if self.eps is None else {"eps": self.eps}

    def budget(self) -> Budget | None:
        """The ball that every result lies in, where the method has one."""
        return None if self.eps is None else Budget(self.args["norm"].lower() if self._method.norm == "own" else self._method.norm, self.eps)

    def control(self) -> Noise | None:
        """Random signs of the same norm and radius, where there is a ball."""
        budget = self.budget()
        return budget and Noise(norm=budget.norm, eps=budget.eps, goal=self.goal)

    def perturb(self, objective: Objective, rng: SampleRNG, state: State | None = None) -> Images:
        """Images (n, 3, h, w) in [0, 1] -> the same images attacked, on the 8-bit grid where the method has a ball or seeks the smallest change."""
        if self._method.alone:
            pixels = torch.cat([self._attacked(objective.subset([i]), seed) for i, seed in enumerate(rng.seeds)])
        else:
            pixels = self._attacked(objective, derive_seed(self.method, *rng.seeds))
        return objective.images.with_pixels(pixels)

    def _attacked(self, objective: Objective, seed: int) -> Tensor:
        clean = objective.images.pixels
        reach = self._reach()
        if reach == 0:
            return clean
        self._check_size(clean)
        model = TwoLogits(objective, as_is=self._method.as_is)
        with _borrowed_generators(seed), torch.enable_grad():
            found = self._built(model, reach, seed)(clean.clone(), torch.full((len(clean),), 0 if self._method.aimed else 1, device=clean.device))
        found = found.detach()
        if lost := [name for name, row in zip(objective.images.ids, found, strict=True) if not row.isfinite().all()]:
            raise ValueError(f"torchattacks {self.method} gave NaN for {', '.join(lost)}; it divides by its gradient, which is zero or not finite there")
        if self._method.alone and reach is not None and model.nearest is not None and torch.equal(found, clean):
            found = model.nearest  # else a failure would count as an attack that was not made
        return self._finished(objective, found)

    def _reach(self) -> float | None:
        """The radius that a file can use of eps: whole levels where every pixel counts by itself."""
        budget = self.budget()
        if budget is None or budget.norm == "l2":
            return self.eps
        return int(budget.eps * 255 + SLACK) / 255

    def _built(self, model: TwoLogits, reach: float | None, seed: int) -> Any:
        """The library's attack on the model."""
        own = {radius_name(self.method): reach, "seed": seed, "n_classes": 2}
        cls = getattr(library(), self.method)
        attack = cls(model, **self.args, **{name: value for name, value in own.items() if name in defaults(self.method)})
        if self._method.aimed:
            attack.set_mode_targeted_by_label(quiet=True)
        return attack

    def _check_size(self, pixels: Tensor) -> None:
        height, width = pixels.shape[2:]
        if self._method.most is not None and 3 * height * width > self._method.most:
            raise ValueError(f"{self.method} compares all pairs of an image's {3 * height * width} numbers and can carry {self._method.most}; use smaller images, or SparseFool")
        if self._method.upright and width > height:
            raise ValueError(f"{self.method} of torchattacks mistakes height for width; images must not be wider than high, got {height} x {width}")

    def _finished(self, objective: Objective, found: Tensor) -> Tensor:
        """What the library found (n, 3, h, w) -> the pixels that are handed on."""
        clean, budget = objective.images.pixels, self.budget()
        if self._method.minimal:
            return _lengthened(objective, found, budget)
        return found.clamp(0, 1) if budget is None else settle(found, clean, budget.norm, budget.eps)


def _lengthened(objective: Objective, found: Tensor, budget: Budget | None) -> Tensor:
    """A smallest change (1, 3, h, w) on the grid, as long as its file needs to succeed; at its own length where no length does."""
    clean = objective.images.pixels
    moved, norm, most = found - clean, budget.norm if budget else "l2", budget.eps if budget else math.inf
    length = torch.linalg.vector_norm(moved, ord=math.inf if norm == "linf" else 2).item()
    if length == 0:
        return clean
    radii = [min(most, factor * max(length, 1 / 255)) for factor in LENGTHS]  # what is shorter than a level is nothing on the grid
    candidates = (settle(clean + radius / length * moved, clean, norm, most if norm == "linf" else radius) for radius in radii)
    first = next(candidates)
    return first if objective.succeeded(first) else next((candidate for candidate in candidates if objective.succeeded(candidate)), first)


@contextmanager
def _borrowed_generators(seed: int) -> Iterator[None]:
    """Seed the global generators, which the library draws from and sometimes seeds itself, and leave them as they were; its deprecations stay its own."""
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    python, numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices), warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=DeprecationWarning, module="torchattacks")
        torch.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed % 2**32)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)
