"""The precision that gradients are computed in, where somebody asks for less than float32; scores are never touched by it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

Precision = Literal["float32", "bf16"]

NOTE = "gradients are computed in bf16, scores in float32"
SLOW = "; this device has no bf16 arithmetic, so float32 may cost less"


def lowered(score: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """The same score, computed in bf16 where a gradient of it is wanted, and as it is everywhere else.

    Scores are asked for with gradients switched off or of pixels that want none, so that they cannot come from here.

    >>> score = lowered(lambda x: x @ torch.full((2,), 1.001))
    >>> pixels = torch.ones(1, 2)
    >>> round(score(pixels).item(), 3), score(pixels.requires_grad_()).item()
    (2.002, 2.0)
    """

    def scored(pixels: Tensor) -> Tensor:
        if not (torch.is_grad_enabled() and pixels.requires_grad):
            return score(pixels)
        with torch.autocast(pixels.device.type, torch.bfloat16):
            return score(pixels).float()

    return scored


def note(device: torch.device) -> str:
    """What a reader must know about bf16 gradients on this device."""
    return NOTE if has_bf16(device) else NOTE + SLOW


def has_bf16(device: torch.device) -> bool:
    """Whether the device computes in bf16 itself; an unknown kind of device is believed to."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu" and hasattr(torch.cpu, "get_capabilities"):  # since torch 2.10
        return any(has for name, has in torch.cpu.get_capabilities().items() if "bf16" in name)
    return True
