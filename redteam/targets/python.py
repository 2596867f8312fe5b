"""The user's own detector: a factory in Python, its weights, and what goes in and comes out, declared."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import nn

from redteam.target import Access, Detector
from redteam.targets.adapted import AdaptedDetector, Adapter
from redteam.targets.declared import DeclaredTarget
from redteam.targets.loading import factory_source, load_factory
from redteam.targets.weights import Weights, load_weights

STATEFUL = (nn.modules.dropout._DropoutNd, nn.modules.batchnorm._BatchNorm)  # what train mode changes
STAYS_TRAINING = "model_in_train_mode: the module stays in train mode although eval() was called; scores may vary from call to call"


@dataclass(frozen=True, kw_only=True)
class PythonTarget(DeclaredTarget):
    """A torch module or a callable that a Python factory returns.

    factory: my_package.models:build or my_file.py:build, relative to the scenario; called with `args`
    args:    keyword arguments of the factory
    weights: {path, sha256, key}: safetensors or a state dict in any usual layout, loaded strictly into the module
    mode:    eval, or train for networks that are published in train mode
    access:  the most that an adversary may ask; gradients for modules and scores for callables when not given
    folder:  where relative paths start
    """

    factory: Annotated[str, Field(pattern=r"^[^:]+:[A-Za-z_][\w.]*$")]
    args: dict[str, Any] = field(default_factory=dict)
    weights: Weights | None = None
    mode: Literal["eval", "train"] = "eval"
    folder: Path | None = field(default=None, metadata={"internal": True, "of": "factory"})

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
            notes += load_weights(model, self.weights, device)
        stateful = any(isinstance(part, STATEFUL) for part in model.modules())
        if model.training and stateful and self.mode == "eval":
            notes.append("the factory returned the module in train mode; it was put in eval mode (declare `mode: train` if it is published so)")
        model.to(device).train(self.mode == "train")
        for parameter in model.parameters():  # a TorchScript module has no requires_grad_ of its own
            parameter.requires_grad_(False)
        if self.mode == "train" and stateful:
            notes.append("model_in_train_mode: the scenario declares mode train, so dropout and batch statistics are live and a score may depend on its neighbours")
        elif any(part.training for part in model.modules()) and stateful:
            notes.append(STAYS_TRAINING)
        return model
