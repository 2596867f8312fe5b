"""The user's own detector: a factory in Python, its weights, and what goes in and comes out, declared."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import nn

from redteam.target import Access, Detector, TargetSpec
from redteam.targets.adapted import AdaptedDetector, Adapter, Output
from redteam.targets.loading import Weights, factory_source, load_factory, load_weights
from redteam.targets.preprocessing import Input

STATEFUL = (nn.modules.dropout._DropoutNd, nn.modules.batchnorm._BatchNorm)  # what train mode changes


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
        build = load_factory(self.factory, self.folder)
        model = build(**self.args)
        if not callable(model):
            raise ValueError(f"{name}: factory {self.factory} must return a module or a callable, got {type(model).__name__}")
        notes: list[str] = []
        if isinstance(model, nn.Module):
            model = self._prepare_module(model, device, notes)
        elif self.weights:
            raise ValueError(f"{name}: weights need a module to load into, but factory {self.factory} returned a {type(model).__name__}")
        access = self.gives() if self.access or isinstance(model, nn.Module) else Access.SCORES
        return AdaptedDetector(name, Adapter(model, self.input, self.output), access, tuple(notes))

    def _prepare_module(self, model: nn.Module, device: torch.device, notes: list[str]) -> nn.Module:
        if self.weights:
            load_weights(model, self.weights, device)
        stateful = any(isinstance(part, STATEFUL) for part in model.modules())
        if model.training and stateful and self.mode == "eval":
            notes.append("the factory returned the module in train mode; it was put in eval mode (declare `mode: train` if it is published so)")
        model.to(device).train(self.mode == "train")
        for parameter in model.parameters():  # a TorchScript module has no requires_grad_ of its own
            parameter.requires_grad_(False)
        if self.mode == "train" and stateful:
            notes.append("model_in_train_mode: the scenario declares mode train, so dropout and batch statistics are live and a score may depend on its neighbours")
        elif any(part.training for part in model.modules()) and stateful:
            notes.append("model_in_train_mode: the module stays in train mode although eval() was called; scores may vary from call to call")
        return model
