"""What is attacked: it owns its preprocessing, polarity, logit shape, threshold, access level and query ledger."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum
from typing import Annotated, ClassVar, Literal, Self

import torch
from pydantic import Field
from torch import Tensor

from redteam.component import Component


class Access(IntEnum):
    """What an adversary may ask of a target, weakest first; each level includes those before it."""

    NONE = 0
    DECISIONS = 1
    SCORES = 2
    GRADIENTS = 3

    @property
    def word(self) -> str:
        """As a scenario spells it."""
        return self.name.lower()


class AccessError(Exception):
    """An adversary asked a target for more than it gives."""


@dataclass
class Cost:
    """What an attack spent on one image, and what its gradients looked like.

    queries:             answers asked for: a loss, a margin, a decision or a gradient is one
    forwards, backwards: passes through the target
    zero_gradients:      gradients that were zero in every pixel
    broken_gradients:    gradients that were absent or not finite
    first_gradient_zero: whether the first gradient was zero in every pixel
    """

    queries: int = 0
    forwards: int = 0
    backwards: int = 0
    zero_gradients: int = 0
    broken_gradients: int = 0
    first_gradient_zero: bool = False

    def __add__(self, other: Cost) -> Cost:
        """What both spent."""
        sums = {name: getattr(self, name) + getattr(other, name) for name in ("queries", "forwards", "backwards", "zero_gradients", "broken_gradients")}
        return Cost(**sums, first_gradient_zero=self.first_gradient_zero or other.first_gradient_zero)


class Ledger:
    """What was asked of one target, by image id. The objective books; attacks cannot forget to."""

    def __init__(self) -> None:
        self._costs: dict[str, Cost] = {}

    def book_query(self, ids: Sequence[str]) -> None:
        """One forward pass for each image."""
        for name in ids:
            cost = self._costs.setdefault(name, Cost())
            cost.queries += 1
            cost.forwards += 1

    def book_gradient(self, ids: Sequence[str], zero: Sequence[bool], broken: Sequence[bool]) -> None:
        """One forward and one backward pass for each image, with what came back."""
        for name, is_zero, is_broken in zip(ids, zero, broken, strict=True):
            cost = self._costs.setdefault(name, Cost())
            cost.first_gradient_zero |= is_zero and cost.backwards == 0
            cost.queries += 1
            cost.forwards += 1
            cost.backwards += 1
            cost.zero_gradients += is_zero
            cost.broken_gradients += is_broken

    def take(self, ids: Sequence[str]) -> list[Cost]:
        """The costs of these images so far; their accounts start again from nothing."""
        return [self._costs.pop(name, Cost()) for name in ids]


class Target(ABC):
    """A loaded target. `respond` is differentiable in the pixels where the target gives gradients.

    kind:   which of the four kinds it is; goals are written for one kind
    access: the most that an adversary may ask
    ledger: what adversaries asked, by image id; the engine's own scoring is not in it
    notes:  what its adapter found when it loaded the target, in sentences
    """

    kind: ClassVar[str]

    def __init__(self, name: str, access: Access) -> None:
        self.name = name
        self.access = access
        self.ledger = Ledger()
        self.notes: tuple[str, ...] = ()

    @abstractmethod
    def respond(self, pixels: Tensor) -> Tensor:
        """Pixels (n, 3, h, w) in [0, 1] -> (n, ...) what this kind of target answers, float32."""

    def inspect(self, pixels: Tensor) -> None:
        """Look at clean images (n, 3, h, w) once, after loading and before anything is scored; adapters note what they find."""

    def with_access(self, access: Access) -> Self:
        """The same target (and ledger), giving less."""
        if access > self.access:
            raise AccessError(f"{self.name}: access can be lowered, not raised from {self.access.word} to {access.word}")
        return self._changed(access=access)

    def apart(self) -> Self:
        """The same target with a ledger of its own, as a surrogate has it."""
        return self._changed(ledger=Ledger())

    def _changed(self, **attributes: object) -> Self:
        other = copy.copy(self)
        for name, value in attributes.items():
            setattr(other, name, value)
        return other


class Detector(Target):
    """Answers with one score per image: the log-odds that it is fake, forged or marked (label 1).

    threshold: on that scale; an image is called fake when its score exceeds it
    """

    kind: ClassVar[str] = "detector"

    def __init__(self, name: str, score: Callable[[Tensor], Tensor], access: Access, threshold: float = 0.0) -> None:
        super().__init__(name, access)
        self._score = score
        self._before: tuple[Callable[[Tensor], Tensor], ...] = ()  # input transforms, the outermost first
        self.threshold = threshold

    def respond(self, pixels: Tensor) -> Tensor:
        """Pixels (n, 3, h, w) in [0, 1] -> (n,) log-odds of label 1, differentiable where the target is."""
        for transform in self._before:
            pixels = transform(pixels)
        scores = self._score(pixels)
        if scores.shape != (len(pixels),):
            raise ValueError(f"{self.name}: a detector must give one score for each image, got {tuple(scores.shape)} for {len(pixels)} images")
        return scores

    def with_threshold(self, threshold: float) -> Detector:
        """The same detector (and ledger) that decides at another score."""
        return self._changed(threshold=threshold)

    def margin(self, scores: Tensor) -> Tensor:
        """Scores (n,) -> (n,) float64 log-odds above the threshold; never 0, since a score that equals the threshold is called real.

        So `score > threshold` and `margin > 0` say the same, and no score is undecided.
        """
        above = scores.double() - self.threshold
        return above.masked_fill(above == 0, -torch.finfo(above.dtype).tiny)

    def decide(self, scores: Tensor) -> Tensor:
        """Scores (n,) -> (n,) int64 decisions: 1 where the image is called fake. NaN is called nothing: the caller sorts it out first."""
        return (self.margin(scores) > 0).long()

    def wrapped(self, before: Callable[[Tensor], Tensor], note: str) -> Detector:
        """The detector behind an input transform (n, 3, h, w) -> (n, 3, h, w); one ledger for both."""
        return self._changed(_before=(before, *self._before), notes=(*self.notes, note))


@contextmanager
def adversary_sees(target: Target, access: Access, wish: str) -> Iterator[None]:
    """Raise AccessError unless the target gives `access`; no gradient leaks out of what is computed inside below that level."""
    if target.access < access:
        raise AccessError(f"{target.name} gives {target.access.word}; {wish} needs {access.word}")
    with torch.set_grad_enabled(access is Access.GRADIENTS):
        yield


@dataclass(frozen=True, kw_only=True)
class Threshold:
    """Where a detector starts to call an image fake: a fixed value, or the false-positive rate that it keeps on clean calibration images.

    fixed:  on the target's own scale (a probability where it gives probabilities)
    at_fpr: share of clean images of label 0 that may be called fake
    on:     the data role that the threshold is calibrated on; never the evaluation data
    """

    fixed: Annotated[float, Field(allow_inf_nan=False)] | None = None
    at_fpr: Annotated[float, Field(gt=0, lt=1)] | None = None
    on: Literal["calib"] = "calib"

    def __post_init__(self) -> None:
        if (self.fixed is None) == (self.at_fpr is None):
            raise ValueError("threshold must be {fixed: VALUE} or {at_fpr: RATE, on: calib}, one of the two")


@dataclass(frozen=True, kw_only=True)
class TargetSpec(Component):
    """A target as a scenario declares it; `load` gives the Target itself.

    threshold: {fixed: VALUE} on the target's own scale or {at_fpr: RATE, on: calib}; where not given, even odds
    access:    the most that an adversary may ask: gradients, scores or decisions
    """

    threshold: Threshold | None = None
    access: Literal["gradients", "scores", "decisions"] = "gradients"

    declared_logit: ClassVar[bool] = True  # whether the output is declared on the log-odds scale (flag R4)
    reference_model: ClassVar[bool] = False  # whether this is one of the project's own small models or fakes

    def gives(self) -> Access:
        """The access level as the engine compares it."""
        return Access[self.access.upper()]

    @abstractmethod
    def load(self, name: str, device: torch.device) -> Target:
        """The target on `device`, under the id `name`; raises FileNotFoundError or ValueError with a repair."""

    def fingerprint(self) -> dict[str, str]:
        """Content hashes of what stands behind the fields (code, weights), so that a resumed run can refuse a changed target."""
        return {}

    def own_scale(self, value: float) -> float:
        """A fixed threshold on the target's own scale -> log-odds of label 1."""
        return value
