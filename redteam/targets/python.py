"""The user's own detector: a factory in Python, its weights, and what goes in and comes out, declared."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from redteam.target import Access, Detector, TargetSpec
from redteam.targets import activation
from redteam.targets.loading import Weights, factory_source, load_factory, load_weights
from redteam.targets.preprocessing import Input

Model = Callable[[Tensor], Any]
STATEFUL = (nn.Dropout, nn.modules.dropout._DropoutNd, nn.modules.batchnorm._BatchNorm)  # what train mode changes


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

    @property
    def is_probability(self) -> bool:
        """Whether numbers lie in [0, 1]."""
        return self.type in ("prob", "probs2")

    def __post_init__(self) -> None:
        if self.positive == "real" and self.type in ("logits2", "probs2"):
            raise ValueError(f"output: {self.type} says which class is fake by fake_index, not by positive")


@dataclass(frozen=True, kw_only=True)
class PythonTarget(TargetSpec):
    """A torch module or a callable that a Python factory returns.

    factory: my_package.models:build or my_file.py:build, relative to the scenario; called with `args`
    args:    keyword arguments of the factory
    weights: {path, sha256}: safetensors or a plain state dict, loaded strictly into the module
    input:   what happens to pixels in [0, 1] before the module sees them
    output:  what the module returns
    mode:    eval, or train for networks that are published in train mode
    access:  the most that an adversary may ask; gradients for modules and scores for callables when not given
    folder:  where relative paths start
    """

    factory: Annotated[str, Field(pattern=r"^[^:]+:[A-Za-z_][\w.]*$")]
    output: Output
    args: dict[str, Any] = field(default_factory=dict)
    weights: Weights | None = None
    input: Input = field(default_factory=Input)
    mode: Literal["eval", "train"] = "eval"
    access: Literal["gradients", "scores", "decisions"] | None = None
    folder: Path | None = field(default=None, metadata={"internal": True})

    @property
    def declared_logit(self) -> bool:
        """Whether the output is declared on the log-odds scale (flag R4)."""
        return not self.output.is_probability

    def gives(self) -> Access:
        """The access level; where it is not declared, what a module would give, until the factory has been called."""
        return Access[(self.access or "gradients").upper()]

    def own_scale(self, value: float) -> float:
        """A fixed threshold on the detector's own scale -> log-odds of label 1."""
        if self.output.is_probability:
            if not 0 < value < 1:
                raise ValueError(f"threshold: fixed must lie in (0, 1) for {self.output.type}, got {value}")
            value = math.log(value / (1 - value))
        return -value if self.output.positive == "real" else value

    def fingerprint(self) -> dict[str, str]:
        """Hashes of the factory's file and of the weights."""
        found = {"factory": factory_source(self.factory, self.folder)}
        return found | ({"weights": self.weights.digest()} if self.weights else {})

    def load(self, name: str, device: torch.device) -> Detector:
        """Call the factory, load the weights strictly, set the mode. Raises ValueError or FileNotFoundError with a repair."""
        model = load_factory(self.factory, self.folder)(**self.args)
        if not callable(model):
            raise ValueError(f"{name}: factory {self.factory} must return a module or a callable, got {type(model).__name__}")
        notes: list[str] = []
        if isinstance(model, nn.Module):
            model = self._prepare_module(model, device, notes)
        elif self.weights:
            raise ValueError(f"{name}: weights need a module to load into, but factory {self.factory} returned a {type(model).__name__}")
        access = self.gives() if self.access or isinstance(model, nn.Module) else Access.SCORES
        return AdaptedDetector(name, model, self, access, tuple(notes))

    def _prepare_module(self, model: nn.Module, device: torch.device, notes: list[str]) -> nn.Module:
        if self.weights:
            load_weights(model, self.weights, device)
        stateful = any(isinstance(part, STATEFUL) for part in model.modules())
        if model.training and stateful and self.mode == "eval":
            notes.append("the factory returned the module in train mode; it was put in eval mode (declare `mode: train` if it is published so)")
        model.to(device).requires_grad_(False).train(self.mode == "train")
        if self.mode == "train" and stateful:
            notes.append("model_in_train_mode: the scenario declares mode train, so dropout and batch statistics are live and a score may depend on its neighbours")
        elif any(part.training for part in model.modules()) and stateful:
            notes.append("model_in_train_mode: the module stays in train mode although eval() was called; scores may vary from call to call")
        return model


class AdaptedDetector(Detector):
    """A module or callable behind its declared input and output."""

    def __init__(self, name: str, model: Model, spec: PythonTarget, access: Access, notes: tuple[str, ...] = ()) -> None:
        super().__init__(name, self._score_batch, access)
        self._model, self._spec, self.notes = model, spec, notes
        self._activation: int | None = None  # the number of the final sigmoid or softmax, once it has been found and checked

    def inspect(self, pixels: Tensor) -> None:
        """Find the final sigmoid or softmax on clean images (n, 3, h, w), and take it off where the probability stays the same without it."""
        if not self._spec.output.is_probability:
            return
        x = self._spec.input.apply(pixels[: self._spec.input.max_batch])
        number = activation.last_activation(lambda: self._model(x))
        if number is None:
            self.notes += ("no sigmoid or softmax could be found to take off; probabilities are inverted, and gradients vanish where they saturate",)
            return
        with torch.no_grad():
            want = self._select(self._model(x))
            got = activation.without_activation(lambda: self._select(self._model(x)), number)
        if got.shape == want.shape and (got.sigmoid() - want).abs().max() <= activation.TOLERANCE:
            self._activation = number
            self.notes += ("the final activation was taken off; on clean images the probabilities stay the same",)
        else:
            self.notes += ("a sigmoid or softmax was found but is not the last step; probabilities are inverted, and gradients vanish where they saturate",)

    @property
    def input_range(self) -> tuple[float, float]:
        """What 0 and 1 become before the network, as declared."""
        return self._spec.input.range

    def fed_as(self, value_range: tuple[float, float]) -> AdaptedDetector:
        """The same model fed another range of values: for looking whether the declared one is wrong, never for scoring."""
        other = AdaptedDetector(self.name, self._model, replace(self._spec, input=replace(self._spec.input, range=value_range)), self.access)
        other._activation, other.threshold = self._activation, self.threshold
        return other

    def _score_batch(self, pixels: Tensor) -> Tensor:
        size = self._spec.input.max_batch or len(pixels)
        parts = [self._score_once(part) for part in pixels.split(max(1, size))]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _score_once(self, pixels: Tensor) -> Tensor:
        x = self._spec.input.apply(pixels)
        output = self._spec.output
        if self._activation is not None:
            score = activation.without_activation(lambda: self._select(self._model(x)), self._activation)
        else:
            values = self._select(self._model(x))
            score = activation.inverse_sigmoid(values) if output.is_probability else values
        return -score if output.positive == "real" else score

    def _select(self, returned: Any) -> Tensor:
        """What the model returned -> (n,) float32: the number of the fake class, or the difference of two logits."""
        output = self._spec.output
        if output.key is not None:
            returned = returned[output.key]
        values = torch.as_tensor(returned).float()
        if output.type in ("logit", "prob"):
            values = values.flatten(1).squeeze(1) if values.ndim > 1 else values
            if values.ndim != 1:
                raise ValueError(f"{self.name}: output type {output.type} must be one number an image, got {tuple(values.shape)}; two numbers are logits2 or probs2, a mapping needs key")
            return values
        if values.ndim != 2 or values.shape[1] != 2:
            raise ValueError(f"{self.name}: output type {output.type} must be (n, 2), got {tuple(values.shape)}; one number is logit or prob")
        fake = values[:, output.fake_index]
        return fake if output.type == "probs2" else fake - values[:, 1 - output.fake_index]
