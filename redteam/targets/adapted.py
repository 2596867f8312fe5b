"""A user's module or callable behind its declared input and output: pixels in, log-odds of label 1 out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

from redteam.target import Access, Detector
from redteam.targets import activation
from redteam.targets.preprocessing import Input

Model = Callable[[Tensor], Any]
INSPECTED = 8  # images that the output is looked at on
ROUNDING = 1e-6  # a softmax in float32 leaves [0, 1], and its rows miss 1, by less than this

TAKEN_OFF = "the final activation was taken off; on clean images the probabilities stay the same"
NONE_FOUND = "no sigmoid or softmax could be found to take off; probabilities are inverted, and gradients vanish where they saturate"
NOT_LAST = "a sigmoid or softmax was found but is not the last step; probabilities are inverted, and gradients vanish where they saturate"
ROWS_SUM_TO_ONE = "rows_sum_to_one: the two declared logits are never negative and add to 1 on every clean image"


@dataclass(frozen=True, kw_only=True)
class Output:
    """What the detector returns.

    type:       logit or prob, one number an image; logits2 or probs2, two of them
    positive:   what a high number means: fake or real
    fake_index: which of two numbers is the fake class
    key:        where in a returned mapping or sequence the numbers are
    """

    type: Literal["logit", "prob", "logits2", "probs2"]
    positive: Literal["fake", "real"] = "fake"
    fake_index: Literal[0, 1] = 1
    key: str | int | None = None

    def __post_init__(self) -> None:
        if self.positive == "real" and self.type in ("logits2", "probs2"):
            raise ValueError(f"output: {self.type} says which class is fake by fake_index, not by positive")

    @property
    def is_probability(self) -> bool:
        """Whether numbers lie in [0, 1]."""
        return self.type in ("prob", "probs2")

    def numbers(self, returned: Any, n: int) -> Tensor:
        """What a model returned for n images -> (n,) or (n, 2) float32 as it is declared. Raises ValueError that says what came instead."""
        values = torch.as_tensor(self._at_key(returned)).float()
        if n == 1 and (values.ndim == 0 or len(values) != 1):
            values = values[None]  # the model squeezed the batch away
        wanted, repair = (1, "two numbers are logits2 or probs2, a mapping needs key") if self.type in ("logit", "prob") else (2, "one number is logit or prob")
        if values.ndim == 0 or len(values) != n or values.numel() != n * wanted:
            raise ValueError(f"output type {self.type} must be {'one number' if wanted == 1 else 'two numbers'} an image, got {tuple(values.shape)} for {n} images; {repair}")
        return values.reshape(n) if wanted == 1 else values.reshape(n, 2)

    def score(self, numbers: Tensor) -> Tensor:
        """(n,) or (n, 2) numbers -> (n,): the one that counts, or the difference of two logits."""
        if self.type in ("logit", "prob"):
            return numbers
        fake = numbers[:, self.fake_index]
        return fake if self.type == "probs2" else fake - numbers[:, 1 - self.fake_index]

    def _at_key(self, returned: Any) -> Any:
        if self.key is None:
            if isinstance(returned, (dict, tuple)):
                raise ValueError(f"output must say by key where the numbers are, got a {type(returned).__name__} of {_keys(returned)}")
            return returned
        try:
            return returned[self.key]
        except (KeyError, IndexError, TypeError) as error:
            raise ValueError(f"output has no key {self.key!r}, got a {type(returned).__name__} of {_keys(returned)}") from error


def _keys(returned: Any) -> str:
    if hasattr(returned, "keys"):
        return ", ".join(repr(name) for name in returned.keys())
    return f"{len(returned)} items" if isinstance(returned, (list, tuple)) else "no keys"


class Adapter:
    """Pixels (n, 3, h, w) in [0, 1] -> (n,) log-odds of label 1, through the declared input and output.

    final: the sigmoid or softmax that is taken off, once it has been found and checked
    """

    def __init__(self, model: Model, input: Input, output: Output) -> None:
        self.model, self.input, self.output = model, input, output
        self.final: activation.FinalActivation | None = None

    def __call__(self, pixels: Tensor) -> Tensor:
        """In parts of max_batch, each a view that the model may write into."""
        size = self.input.max_batch or max(1, len(pixels))
        parts = [self._once(pixels[at : at + size]) for at in range(0, max(1, len(pixels)), size)]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def inspect(self, pixels: Tensor) -> tuple[str, ...]:
        """Look at clean pixels (n, 3, h, w): find the final activation of a probability and take it off. Returns what was found, in sentences.

        Raises:
            ValueError: the output is not what is declared.
        """
        x = self.input.apply(pixels[: min(INSPECTED, self.input.max_batch or INSPECTED)])
        with torch.no_grad():
            numbers = self.output.numbers(self.model(x.clone()), len(x))
        if not self.output.is_probability:
            return (ROWS_SUM_TO_ONE,) if self.output.type == "logits2" and _rows_sum_to_one(numbers) else ()
        if ((numbers < -ROUNDING) | (numbers > 1 + ROUNDING)).any():
            raise ValueError(f"output type {self.output.type} must lie in [0, 1], got [{numbers.min():.4g}, {numbers.max():.4g}]; log-odds are logit or logits2")
        self.final, seen = activation.find(lambda: self._values(x.clone()))
        return (TAKEN_OFF if self.final else NOT_LAST if seen else NONE_FOUND,)

    def _once(self, pixels: Tensor) -> Tensor:
        x = self.input.apply(pixels)
        if self.final is not None:
            score = self.final.log_odds(lambda: self._values(x))
        else:
            values = self._values(x)
            score = activation.inverse_sigmoid(values) if self.output.is_probability else values
        return -score if self.output.positive == "real" else score

    def _values(self, x: Tensor) -> Tensor:
        return self.output.score(self.output.numbers(self.model(x), len(x)))


def _rows_sum_to_one(numbers: Tensor) -> bool:
    return bool((numbers >= 0).all() and (numbers.sum(1) - 1).abs().max() <= ROUNDING)


class AdaptedDetector(Detector):
    """A detector of the user's behind its adapter."""

    def __init__(self, name: str, adapter: Adapter, access: Access, notes: tuple[str, ...] = ()) -> None:
        super().__init__(name, self._named, access)
        self._adapter = adapter  # shared by copies with less access or another threshold
        self.notes = notes

    def inspect(self, pixels: Tensor) -> None:
        """Look at clean images (n, 3, h, w) and take off the final sigmoid or softmax where the probability stays the same without it."""
        try:
            self.notes += self._adapter.inspect(pixels)
        except ValueError as error:
            raise ValueError(f"{self.name}: {error}") from error

    @property
    def input_range(self) -> tuple[float, float]:
        """What 0 and 1 become before the network, as declared."""
        return self._adapter.input.range

    def fed_as(self, value_range: tuple[float, float]) -> AdaptedDetector:
        """The same model fed another range of values: for looking whether the declared one is wrong, never for scoring."""
        other = Adapter(self._adapter.model, replace(self._adapter.input, range=value_range), self._adapter.output)
        other.final = self._adapter.final
        fed = AdaptedDetector(self.name, other, self.access).with_threshold(self.threshold)
        return fed._changed(_before=self._before)

    def _named(self, pixels: Tensor) -> Tensor:
        try:
            return self._adapter(pixels)
        except ValueError as error:
            raise ValueError(f"{self.name}: {error}") from error
