"""Notices when a target differentiates inside its own inference: it optimises while it answers, and gradients from outside may miss that."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


@contextmanager
def watched() -> Iterator[list[str]]:
    """A list that is empty unless a backward pass runs inside the block, by whatever name it is called.

    Whatever a graph needs for its backward pass is handed out through a hook when that pass runs. A caller that wants no gradient builds
    no graph, so every one that is used here was built and used by the target itself.

    >>> with watched() as ran, torch.enable_grad():
    ...     _ = (torch.ones(1, requires_grad=True) ** 2).backward()
    >>> ran
    ['autograd_inside']
    """
    ran: list[str] = []

    def hand_out(saved: Tensor) -> Tensor:
        if not ran:
            ran.append("autograd_inside")
        return saved

    with torch.autograd.graph.saved_tensors_hooks(lambda saved: saved, hand_out):
        yield ran
