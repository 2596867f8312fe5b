"""Finds and loads the factory that builds a user's detector."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


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
