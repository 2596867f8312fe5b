"""What a training needs in order to go on where it stopped, bit for bit."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from torch import Generator, nn
from torch.optim import Optimizer


def save_checkpoint(path: Path, *, model: nn.Module, optimizer: Optimizer, rng: Generator, step: int) -> None:
    """Write model, optimizer, generator and step at once: a killed training leaves the last whole checkpoint."""
    unfinished = path.with_suffix(".part")
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "rng": rng.get_state(), "step": step}, unfinished)
    os.replace(unfinished, path)


def load_checkpoint(path: Path, *, model: nn.Module, optimizer: Optimizer, rng: Generator) -> int:
    """Restore model, optimizer and generator in place -> the number of steps done; 0 when there is no checkpoint."""
    if not path.is_file():
        return 0
    kept = torch.load(path, weights_only=True)
    model.load_state_dict(kept["model"], strict=True)
    optimizer.load_state_dict(kept["optimizer"])
    rng.set_state(kept["rng"])
    return int(kept["step"])
