"""What a recipe is: the training of one reference model, and the measurement of its figures."""

from __future__ import annotations

import math
import os
import time
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, TypeVar

import numpy as np
import torch
from pydantic import Field
from safetensors.torch import save_file
from torch import Generator, Tensor, nn
from torch.optim import Optimizer

from redteam.component import Component
from redteam.zoo.model import ReferenceModel

Progress = Callable[[str], None]
Figures = dict[str, float | int]
Module = TypeVar("Module", bound=nn.Module)


def silent(line: str) -> None:
    """Progress that nobody reads."""


@dataclass(frozen=True, kw_only=True)
class Recipe(Component):
    """Base of all recipes: settings, the training loop with its checkpoints, and the figures of the model's card.

    steps:        optimizer steps
    scenes:       pictures in the training pool
    size:         side of a picture in the pool, pixels
    lr:           peak learning rate; linear warm-up, then a cosine to zero
    weight_decay: of AdamW
    keep_every:   steps between checkpoints
    seed:         of weights and of everything that is drawn
    data:         folder of photographs to train on; the camera corpus when not given
    """

    model: ClassVar[type[ReferenceModel]]

    steps: Annotated[int, Field(ge=1)] = 1000
    scenes: Annotated[int, Field(ge=1)] = 3000
    size: Annotated[int, Field(ge=32)] = 128
    lr: Annotated[float, Field(gt=0)] = 1e-3
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    keep_every: Annotated[int, Field(ge=1)] = 100
    seed: int = 0
    data: Path | None = None

    @abstractmethod
    def prepare(self, out_dir: Path, progress: Progress) -> np.ndarray:
        """The training material, made in out_dir when it is not there."""

    @abstractmethod
    def loss(self, module: nn.Module, material: np.ndarray, rng: Generator) -> Tensor:
        """The loss of one random batch."""

    @abstractmethod
    def evaluate(self, module: nn.Module, *, photographs: Path | None = None, progress: Progress = silent) -> Figures:
        """The figures of the model's card for a trained module; photographs is a folder of real pictures that nothing was trained on."""

    def train(self, out_dir: Path, *, resume: bool = False, progress: Progress = silent) -> Figures:
        """Train with checkpoints in out_dir and write out_dir/<name>.safetensors -> steps, seconds of this call, last loss.

        A training that was stopped and resumed gives the weights of one that was not.
        """
        out_dir.mkdir(parents=True, exist_ok=True)
        material, began, value = self.prepare(out_dir, progress), time.monotonic(), math.nan
        module = seeded(self.model.build, self.seed).to(memory_format=torch.channels_last)
        optimizer = torch.optim.AdamW(module.parameters(), lr=self.lr, weight_decay=self.weight_decay)
        rng = Generator().manual_seed(self.seed)
        kept = out_dir / f"{self.model.name}.ckpt"
        first = load_checkpoint(kept, module=module, optimizer=optimizer, rng=rng) if resume else 0
        for step in range(first, self.steps):
            for group in optimizer.param_groups:
                group["lr"] = self.lr * schedule(step, self.steps)
            loss = self.loss(module, material, rng)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(module.parameters(), 1.0)
            optimizer.step()
            value = loss.item()
            if (step + 1) % self.keep_every == 0 or step + 1 == self.steps:
                save_checkpoint(kept, module=module, optimizer=optimizer, rng=rng, step=step + 1)
                progress(f"step {step + 1}/{self.steps}  loss {value:.5f}  {time.monotonic() - began:.0f} s")
        save_file({name: tensor.contiguous() for name, tensor in module.state_dict().items()}, out_dir / f"{self.model.name}.safetensors")
        return {"steps": self.steps, "seconds": round(time.monotonic() - began), "loss": value}


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


def save_checkpoint(path: Path, *, module: nn.Module, optimizer: Optimizer, rng: Generator, step: int) -> None:
    """Write all that a training needs to go on, at once: a killed training leaves the last whole checkpoint."""
    unfinished = path.with_suffix(".part")
    torch.save({"model": module.state_dict(), "optimizer": optimizer.state_dict(), "rng": rng.get_state(), "step": step}, unfinished)
    os.replace(unfinished, path)


def load_checkpoint(path: Path, *, module: nn.Module, optimizer: Optimizer, rng: Generator) -> int:
    """Restore module, optimizer and generator in place -> the number of steps done; 0 when there is no checkpoint."""
    if not path.is_file():
        return 0
    kept = torch.load(path, weights_only=True)
    module.load_state_dict(kept["model"], strict=True)
    optimizer.load_state_dict(kept["optimizer"])
    rng.set_state(kept["rng"])
    return int(kept["step"])
