"""Detectors of the user's: a folder with a factory, and small modules that end in every way that the field has."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from redteam.target import Access
from redteam.targets.adapted import AdaptedDetector, Adapter, Output
from redteam.targets.preprocessing import Input


@pytest.fixture
def adapted() -> Callable[..., AdaptedDetector]:
    """A model behind its declared output, with what would be noted after loading."""

    def make(model: Callable[[Tensor], object], type: str, access: Access = Access.GRADIENTS, input: Input | None = None, **output: object) -> AdaptedDetector:
        if isinstance(model, nn.Module):
            model.eval()
        return AdaptedDetector("mine", Adapter(model, input or Input(), Output(type=type, **output)), access)

    return make


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A scenario's folder with `mine.py:build`, a module of one linear layer on the mean colour."""
    (tmp_path / "mine.py").write_text(
        "from __future__ import annotations\n"
        "from dataclasses import dataclass\n"
        "import torch\n"
        "from torch import nn\n\n"
        "@dataclass\nclass Settings:\n    scale: float = 1.0\n\n"
        "class Colour(nn.Module):\n"
        "    def __init__(self, scale=1.0):\n"
        "        super().__init__()\n"
        "        self.fc = nn.Linear(3, 1)\n"
        "        self.settings = Settings(scale)\n\n"
        "    def forward(self, x):\n"
        "        return self.fc(x.mean((2, 3))) * self.settings.scale\n\n"
        "def build(scale=1.0):\n    return Colour(scale)\n\n"
        "def plain():\n    return lambda x: x.mean((1, 2, 3)).tolist()\n\n"
        "def nothing():\n    return 3\n\n"
        "number = 4\n",
        encoding="utf-8",
    )
    return tmp_path


class Head(nn.Module):
    """Mean colour -> one logit (n, 1) that leaves what float32 sigmoids can tell apart, then `end`."""

    def __init__(self, end: Callable[[Tensor], object], scale: float = 200.0, classes: int = 1) -> None:
        super().__init__()
        self.scale, self.classes, self.end = scale, classes, end

    def logit(self, x: Tensor) -> Tensor:
        """(n, 1), positive for bright images."""
        return (x.mean((1, 2, 3)) - 0.5)[:, None] * self.scale

    def forward(self, x: Tensor) -> object:
        z = self.logit(x)
        return self.end(z if self.classes == 1 else torch.cat([-z / 2, z / 2], 1))


@pytest.fixture
def head() -> type[Head]:
    """The class of the small detectors."""
    return Head
