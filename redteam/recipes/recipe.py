"""What a recipe is: the training of one reference model, and the measurement of its figures."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, TypeVar

import torch
from torch import nn

from redteam.component import Component
from redteam.zoo.model import ReferenceModel

Progress = Callable[[str], None]
Figures = dict[str, float | int]
Module = TypeVar("Module", bound=nn.Module)


def silent(line: str) -> None:
    """Progress that nobody reads."""


@dataclass(frozen=True, kw_only=True)
class Recipe(Component):
    """Base of all recipes: frozen settings, `train` and `evaluate`."""

    model: ClassVar[type[ReferenceModel]]

    @abstractmethod
    def train(self, out_dir: Path, *, resume: bool = False, progress: Progress = silent) -> Figures:
        """Train with checkpoints in out_dir and write out_dir/<name>.safetensors -> steps, seconds, last loss."""

    @abstractmethod
    def evaluate(self, module: nn.Module, *, photographs: Path | None = None, progress: Progress = silent) -> Figures:
        """The figures of the model's card for a trained module; photographs is a folder of real pictures that nothing was trained on."""


def seeded(build: Callable[[], Module], seed: int) -> Module:
    """What build() returns when torch's generator starts at seed; the global state is afterwards as it was before."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return build()


def schedule(step: int, steps: int) -> float:
    """Share of the peak learning rate at a step: 3% of linear warm-up, then a cosine to zero.

    >>> round(schedule(515, 1000), 2)
    0.5
    """
    warm = max(1, round(0.03 * steps))
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))
