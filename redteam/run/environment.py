"""What a run ran on, and torch kept from changing results behind its back."""

from __future__ import annotations

import contextlib
import platform
import sys
from collections.abc import Iterator
from importlib.metadata import distributions
from typing import Any

import torch

from redteam.imaging.codecs import codec_versions
from redteam.run.errors import Missing, Refused

SHOWN = ("torch", "torchvision", "kornia", "diffusers", "numpy", "scipy", "scikit-learn", "scikit-image", "pillow", "pydantic", "safetensors", "redteam")


def quiet_torch() -> None:
    """Deterministic kernels where torch has them, and full float32 precision: scores never use less."""
    torch.set_deterministic_debug_mode("warn")  # as use_deterministic_algorithms(True, warn_only=True), which also imports a compiler for three seconds
    torch.utils.deterministic.fill_uninitialized_memory = False  # writing NaN into every new tensor costs 8 % and changes no result
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = False


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """As `quiet_torch`, for as long as something runs in a process that is not ours."""
    debug, fill = torch.get_deterministic_debug_mode(), torch.utils.deterministic.fill_uninitialized_memory
    switches = [(torch.backends.cuda.matmul, "allow_tf32"), (torch.backends.cudnn, "allow_tf32"), (torch.backends.cudnn, "benchmark")]
    before = [getattr(place, name) for place, name in switches]
    quiet_torch()
    try:
        yield
    finally:
        torch.set_deterministic_debug_mode(debug)
        torch.utils.deterministic.fill_uninitialized_memory = fill
        for (place, name), value in zip(switches, before, strict=True):
            setattr(place, name, value)


def describe(device: str, threads: int) -> dict[str, Any]:
    """Python, packages, torch with the threads of a worker, codecs and platform; no host name and no path."""
    installed = {(d.metadata["Name"] or "").lower(): d.version for d in distributions()}
    accelerator = torch.cuda.get_device_name(device) if device.startswith("cuda") else None
    return {
        "python": platform.python_version(),
        "packages": {name: installed[name] for name in SHOWN if name in installed},
        "torch": {"version": torch.__version__, "threads": threads, "device": device, "accelerator": accelerator},
        "codecs": codec_versions(),
        "platform": {"system": platform.system(), "machine": platform.machine(), "implementation": sys.implementation.name},
    }


def check_device_name(device: str) -> None:
    """Raise Refused unless torch knows a device of that name."""
    try:
        torch.device(device)
    except RuntimeError as error:
        raise Refused(f"--device {device}: torch knows no such device; give cpu, cuda, cuda:1 or mps") from error


def check_device(device: str) -> None:
    """Raise Missing with the repair unless torch can use `device`; nothing falls back to another one in silence."""
    try:
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise Missing(f"--device {device}: torch cannot use it here ({str(error).splitlines()[0]}); leave it out to run on the CPU") from error
