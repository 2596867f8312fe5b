"""The project's own small detectors as targets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from redteam import registry
from redteam.component import ModelRef
from redteam.target import Detector, TargetSpec


@dataclass(frozen=True, kw_only=True)
class ZooTarget(TargetSpec):
    """A reference detector of the zoo; small, trained by `redteam train`, described by its card.

    model: zoo/<name>
    """

    reference_model: ClassVar[bool] = True

    model: ModelRef

    def load(self, name: str, device: torch.device) -> Detector:
        """The detector with its shipped weights; FileNotFoundError names the recipe where they are absent."""
        model = registry.get("models", self.model.removeprefix("zoo/"))
        if model.role != "detector":
            raise ValueError(f"{name}: {self.model} is a {model.role}, not a detector")
        return Detector(name, model.load(device), self.gives())

    def fingerprint(self) -> dict[str, str]:
        """Hash of the shipped weights."""
        return {"weights": registry.get("models", self.model.removeprefix("zoo/")).sha256()}
