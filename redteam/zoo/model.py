"""What a shipped reference model is: small, honest about it, and loadable without a download."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from redteam.component import Component

FOLDER = Path(__file__).parent


@dataclass(frozen=True, kw_only=True)
class ReferenceModel(Component):
    """Base of the zoo. A subclass builds its architecture; weights and card lie beside it under its name."""

    name: ClassVar[str]
    role: ClassVar[Literal["detector", "autoencoder"]]

    @classmethod
    def weights(cls) -> Path:
        """Where the shipped weights lie."""
        return FOLDER / "weights" / f"{cls.name}.safetensors"

    @classmethod
    def card(cls) -> Path:
        """Where the model card lies."""
        return FOLDER / "cards" / f"{cls.name}.md"

    @classmethod
    @abstractmethod
    def build(cls) -> nn.Module:
        """The architecture with untrained weights."""

    @classmethod
    def load(cls, device: torch.device | str = "cpu") -> nn.Module:
        """The trained module in eval mode, without parameter gradients, batch norms folded. Raises FileNotFoundError with the recipe to run."""
        if not cls.weights().is_file():
            raise FileNotFoundError(f"zoo/{cls.name}: weights {cls.weights().name} are not there; run `redteam train zoo/{cls.name}`")
        module = cls.build()
        module.load_state_dict(load_file(cls.weights()), strict=True)
        return folded(module.requires_grad_(False).eval()).to(device, memory_format=torch.channels_last)

    @classmethod
    def sha256(cls) -> str:
        """Hash of the shipped weights; `absent` where there are none."""
        return hashlib.sha256(cls.weights().read_bytes()).hexdigest() if cls.weights().is_file() else "absent"


def folded(module: nn.Module) -> nn.Module:
    """The module with each batch norm that follows a convolution folded into it: the same function to rounding, in less time.

    Source: Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference", CVPR 2018, eq. 14.
    """
    for part in module.modules():
        if isinstance(part, nn.Sequential):
            for i in range(len(part) - 1):
                if isinstance(part[i], nn.Conv2d) and isinstance(part[i + 1], nn.BatchNorm2d):
                    part[i], part[i + 1] = fuse_conv_bn_eval(part[i], part[i + 1]), nn.Identity()
    return module.requires_grad_(False)
