"""Loads a user's factory and weights; weights that hold code are refused."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import pickle
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import Field
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True)
class Weights:
    """A file of tensors.

    path:   .safetensors, or a state dict that torch.save wrote
    sha256: what the file must hash to; not checked when not given
    """

    path: Path
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None

    def digest(self) -> str:
        """sha256 of the file; raises FileNotFoundError, or ValueError where it is not the declared one."""
        if not self.path.is_file():
            raise FileNotFoundError(f"weights: {self.path} does not exist; the path is relative to the scenario")
        with open(self.path, "rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if self.sha256 not in (None, found):
            raise ValueError(f"weights: {self.path.name} has sha256 {found}, but the scenario declares {self.sha256}")
        return found


def load_factory(address: str, folder: Path | None) -> Callable[..., Any]:
    """`package.module:name` or `file.py:name` (relative to `folder`) -> the callable of that name. Runs the user's module."""
    where, _, name = address.rpartition(":")
    found: Any = _module_from_file(where, folder) if where.endswith(".py") else importlib.import_module(where)
    for part in name.split("."):
        if not hasattr(found, part):
            raise ValueError(f"factory: {where} has no {name!r}")
        found = getattr(found, part)
    if not callable(found):
        raise ValueError(f"factory: {address} must be a function or a class that builds the detector, got {type(found).__name__}")
    return found


def _module_from_file(where: str, folder: Path | None) -> Any:
    path = (folder or Path()) / where
    if not path.is_file():
        raise FileNotFoundError(f"factory: {path} does not exist; the path is relative to the scenario")
    name = f"redteam_user_{path.stem}_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickle look a class's module up there
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def factory_source(address: str, folder: Path | None) -> str:
    """sha256 of the factory's file, found without importing anything; `not found` where it is not a plain file."""
    where = address.rpartition(":")[0]
    path = (folder or Path()) / where if where.endswith(".py") else _module_file(where, folder)
    return hashlib.sha256(path.read_bytes()).hexdigest() if path and path.is_file() else "not found"


def _module_file(dotted: str, folder: Path | None) -> Path | None:
    top, *rest = dotted.split(".")
    roots = [folder / top] if folder else []
    if (spec := importlib.util.find_spec(top)) and spec.origin:
        roots.append(Path(spec.origin).parent if spec.submodule_search_locations else Path(spec.origin).with_suffix(""))
    for root in roots:
        for path in (root.joinpath(*rest, "__init__.py"), root.joinpath(*rest).with_suffix(".py")):
            if path.is_file():
                return path
    return None


def load_weights(model: nn.Module, weights: Weights, device: torch.device) -> None:
    """Load a state dict strictly into the module; every key must match. Raises ValueError that lists what does not."""
    weights.digest()
    tensors = read_tensors(weights.path, device)
    missing, unexpected = _difference(model.state_dict(), tensors)
    if missing or unexpected:
        raise ValueError(f"weights: {weights.path.name} does not fit the module: {_some('missing', missing)}; {_some('unexpected', unexpected)}")
    model.load_state_dict(tensors, strict=True)


def read_tensors(path: Path, device: torch.device) -> dict[str, Tensor]:
    """A file's tensors by name. A pickle that holds code is refused with a sentence on how to convert it."""
    if path.suffix == ".safetensors":
        try:
            return load_file(path, device=str(device))
        except SafetensorError as error:
            raise ValueError(f"weights: {path.name} is not a whole safetensors file ({error})") from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch asks to file an issue about pickles that it then refuses
            found = torch.load(path, map_location=device, weights_only=True)
    except (RuntimeError, EOFError) as error:
        why = next(iter(str(error).splitlines()), "it ends too early")
        raise ValueError(f"weights: {path.name} is not a whole file that torch.save wrote ({why})") from error
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"weights: {path.name} holds more than tensors, and loading it could run code; where you trust it, convert it once: "
            "safetensors.torch.save_file(torch.load(path, weights_only=False)['state_dict'], 'weights.safetensors')"
        ) from error
    if not isinstance(found, dict) or not all(isinstance(value, Tensor) for value in found.values()):
        raise ValueError(f"weights: {path.name} must be a state dict (names to tensors), got {type(found).__name__} of {_some('keys', list(found)) if isinstance(found, dict) else 'no keys'}")
    return found


def _difference(want: dict[str, Tensor], got: dict[str, Tensor]) -> tuple[list[str], list[str]]:
    shapes = [f"{name} {tuple(got[name].shape)} instead of {tuple(want[name].shape)}" for name in want.keys() & got.keys() if want[name].shape != got[name].shape]
    return sorted(want.keys() - got.keys()), sorted(got.keys() - want.keys()) + sorted(shapes)


def _some(word: str, names: list[Any]) -> str:
    return f"{len(names)} {word}" + (f" ({', '.join(map(str, names[:5]))}{', ...' if len(names) > 5 else ''})" if names else "")
