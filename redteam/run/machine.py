"""Whether this machine can run scenarios, and whether what it computes can be believed."""

from __future__ import annotations

import os
import platform
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from redteam import registry
from redteam.files import FileFormat
from redteam.images import Images
from redteam.imaging.codecs import codec_versions
from redteam.imaging.grid import from_levels
from redteam.objective import goal_named
from redteam.run.cores import usable_cores
from redteam.run.environment import quiet
from redteam.seeding import SampleRNG

ROOM = 1 << 30  # bytes of memory and of disk below which a run is likely to stop half-way
ENOUGH = 0.95  # of the positive control: what PGD must break of a detector whose optimum is known
_DRIVER = Path("/proc/driver/nvidia/version")
_MEMORY = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    name:   what it was
    state:  ok; warning where a run goes on but may suffer; problem where something needed is missing
    detail: what was found
    repair: what to do about it; empty where nothing is to be done
    """

    name: str
    state: Literal["ok", "warning", "problem"]
    detail: str
    repair: str = ""


def machine(folder: Path) -> Iterator[Finding]:
    """Python, torch, accelerator, cores, memory, disk under `folder`, codecs."""
    yield Finding("Python", "ok", f"{platform.python_version()} on {platform.system()} {platform.machine()}")
    yield Finding("torch", "ok", torch.__version__)
    yield accelerator()
    yield cores()
    yield _room("memory", free_memory())
    yield _room("disk", shutil.disk_usage(folder).free)
    missing = [name for name, version in codec_versions().items() if version is None]
    named = ", ".join(f"{name} {version}" for name, version in codec_versions().items() if version)
    yield Finding("codecs", "problem", f"Pillow was built without {', '.join(missing)}", "pip install --force-reinstall Pillow") if missing else Finding("codecs", "ok", named)


def trust() -> Iterator[Finding]:
    """On every device that torch can use: equal bits when the same is computed twice, and the positive control."""
    for device in ("cpu", *(["cuda"] if torch.cuda.is_available() else ()), *(["mps"] if torch.backends.mps.is_available() else ())):
        with quiet():
            yield repeats(device)
            yield positive_control(device)


def accelerator() -> Finding:
    """Which one torch can use; a driver that torch does not reach is a warning."""
    if torch.cuda.is_available():
        free = [torch.cuda.mem_get_info(i)[0] for i in range(torch.cuda.device_count())]
        named = ", ".join(f"{torch.cuda.get_device_name(i)} with {_gib(free[i])} free" for i in range(len(free)))
        return Finding("accelerator", "ok", f"{named}; CUDA {torch.version.cuda}, driver {driver() or 'unknown'}; --device cuda uses it")
    if torch.backends.mps.is_available():
        return Finding("accelerator", "ok", "Apple GPU; --device mps uses it")
    if driver():
        built = f"CUDA {torch.version.cuda}" if torch.version.cuda else "the CPU alone"
        return Finding("accelerator", "warning", f"there is an NVIDIA driver {driver()}, but torch {torch.__version__} was built for {built} and cannot use it", "install the torch that fits the driver: https://pytorch.org/get-started")
    return Finding("accelerator", "ok", "none; everything runs on the CPU")


def driver() -> str | None:
    """The version of the NVIDIA driver; None where there is none, or none that says so."""
    found = re.search(r"Kernel Module.*?\s(\d+\.[\d.]+)", _DRIVER.read_text()) if _DRIVER.is_file() else None
    return found[1] if found else None


def cores() -> Finding:
    """The cores that this process may use."""
    return Finding("cores", "ok", f"{usable_cores()} usable of {os.cpu_count()}")


def free_memory() -> int | None:
    """Bytes that the machine and a container's limit leave; None where the system does not say."""
    info = Path("/proc/meminfo")
    found = re.search(r"MemAvailable:\s+(\d+) kB", info.read_text()) if info.is_file() else None
    if found is None:
        return None
    limit, used = (_MEMORY / "memory.max", _MEMORY / "memory.current")
    bounded = limit.is_file() and used.is_file() and limit.read_text().strip() != "max"
    return min(int(found[1]) << 10, int(limit.read_text()) - int(used.read_text()) if bounded else sys.maxsize)


def _room(what: str, free: int | None) -> Finding:
    if free is None:
        return Finding(what, "ok", "not known on this system")
    return Finding(what, "ok", f"{_gib(free)} free") if free >= ROOM else Finding(what, "warning", f"{_gib(free)} free", "make room: a run wants 1 GiB at least")


def _gib(size: int) -> str:
    return f"{size / (1 << 30):.1f} GiB"


def repeats(device: str) -> Finding:
    """Whether a small network's answers and gradients are equal to the bit when they are computed twice."""
    generator = torch.Generator().manual_seed(0)
    x, weight = (torch.randn(shape, generator=generator).to(device) for shape in ((4, 3, 32, 32), (8, 3, 3, 3)))

    def once() -> list[torch.Tensor]:
        pixels = x.clone().requires_grad_(True)
        answer = torch.nn.functional.conv2d(pixels, weight, padding=1).relu().mean((1, 2, 3))
        return [answer.detach(), torch.autograd.grad(answer.sum(), pixels)[0]]

    if all(torch.equal(first, second) for first, second in zip(once(), once(), strict=True)):
        return Finding(f"determinism on {device}", "ok", "a small network gives equal bits twice")
    return Finding(f"determinism on {device}", "warning", "a small network gave other bits the second time; a run's rows may differ in the last digits", "set CUBLAS_WORKSPACE_CONFIG=:4096:8, or run on the CPU")


def positive_control(device: str) -> Finding:
    """PGD against the linear detector, whose optimum is known: what does not break there would call every target robust."""
    detector = registry.get("targets", "linear")().load("linear", torch.device(device))
    pixels = from_levels(torch.randint(0, 256, (64, 3, 32, 32), generator=torch.Generator().manual_seed(1)))
    names = tuple(f"image{i}" for i in range(len(pixels)))
    labels = detector.decide(detector.respond(pixels.to(device))).cpu()
    images = Images(pixels=pixels, ids=names, labels=labels, groups=names).to(torch.device(device))
    attack = registry.get("attacks", "pgd")(eps=4 / 255)
    objective = goal_named("detector", None).on(detector, images, file=FileFormat(), budget=attack.budget())
    broken = objective.succeeded(attack.perturb(objective, SampleRNG.of(0, "pgd", attack.params(), names)).pixels).double().mean().item()
    said = f"PGD breaks {broken:.0%} of {len(names)} images of a linear detector"
    repair = "reinstall torch; figures of gradient attacks mean nothing here"
    return Finding(f"positive control on {device}", "ok", said) if broken >= ENOUGH else Finding(f"positive control on {device}", "problem", f"{said}, at least {ENOUGH:.0%} are due", repair)
