"""A module or a callable that a program hands over as a target, and gets back as it was."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn

from redteam.target import Access, Detector
from redteam.targets.adapted import AdaptedDetector, Adapter
from redteam.targets.declared import DeclaredTarget
from redteam.targets.python import STATEFUL, STAYS_TRAINING

WAS_TRAINING = "the module was in train mode; while it was evaluated it was in eval mode"


@dataclass(frozen=True, kw_only=True)
class GivenTarget(DeclaredTarget):
    """A detector in memory. Not a component of scenarios: YAML holds no objects.

    model: the module, which stays on its device, or a callable of batches
    """

    model: Callable[..., Any] | None = field(default=None, metadata={"internal": True}, repr=False, compare=False)

    def params(self) -> dict[str, Any]:
        """Every field but the model, in plain JSON types."""
        declared = super(GivenTarget, replace(self, model=None)).params()
        return {name: value for name, value in declared.items() if name != "model"}

    def fingerprint(self) -> dict[str, str]:
        """Hash of a module's parameters and buffers."""
        if not isinstance(self.model, nn.Module):
            return {}
        found = hashlib.sha256()
        for name, tensor in self.model.state_dict().items():
            if isinstance(tensor, torch.Tensor):
                found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode() + tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
        return {"weights": found.hexdigest()}

    def load(self, name: str, device: torch.device) -> Detector:
        """The model behind its input and output; a module is put in eval mode and its parameters take no gradient until `borrowed` ends."""
        notes: tuple[str, ...] = ()
        if isinstance(self.model, nn.Module):
            stateful = any(isinstance(part, STATEFUL) for part in self.model.modules())
            notes = (WAS_TRAINING,) if stateful and self.model.training else ()
            self.model.eval()
            for parameter in self.model.parameters():  # a TorchScript module has no requires_grad_ of its own
                parameter.requires_grad_(False)
            notes += (STAYS_TRAINING,) if stateful and any(part.training for part in self.model.modules()) else ()
        access = self.gives() if self.access or isinstance(self.model, nn.Module) else Access.SCORES
        return AdaptedDetector(name, Adapter(self.model, self.input, self.output), access, notes)


@contextlib.contextmanager
def borrowed(model: Callable[..., Any]) -> Iterator[None]:
    """Whatever happens inside, a module has its modes, its parameters' gradient flags and its buffers back."""
    if not isinstance(model, nn.Module):
        yield
        return
    modes = [(part, part.training) for part in model.modules()]
    flags = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    buffers = [(buffer, buffer.detach().clone()) for buffer in model.buffers()]
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode
        for parameter, flag in flags:
            parameter.requires_grad_(flag)
        with torch.no_grad():
            for buffer, before in buffers:
                buffer.copy_(before)


def home(model: Callable[..., Any]) -> torch.device:
    """Where a module's parameters and buffers are; the CPU for a callable. Raises ValueError where they are on several devices."""
    tensors = [*model.parameters(), *model.buffers()] if isinstance(model, nn.Module) else []
    devices = list(dict.fromkeys(tensor.device for tensor in tensors)) or [torch.device("cpu")]
    if len(devices) > 1:
        raise ValueError(f"model must be on one device, got {', '.join(map(str, devices))}; wrap it in a function that takes pixels on the CPU")
    return devices[0]
