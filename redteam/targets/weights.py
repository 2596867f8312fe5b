"""Weights from a file into a module: strictly, from whatever layout the file has, and never by running what it holds."""

from __future__ import annotations

import hashlib
import pickle
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import Field
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

DEEPEST = 4  # levels of mappings that are looked through for a state dict
SHOWN = 5  # names that a message lists
CONVERT = "safetensors.torch.save_file(torch.load(path, weights_only=False)['state_dict'], 'weights.safetensors')"

Tensors = dict[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class Weights:
    """A file of tensors.

    path:   .safetensors, or what torch.save wrote: a state dict, or a checkpoint that holds one
    sha256: what the file must hash to; not checked when not given
    key:    where the state dict is, such as model_ema, or state_dict.net for the names that begin with net.; found by what fits when not given
    """

    path: Path
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None
    key: str | None = None

    def digest(self) -> str:
        """sha256 of the file; raises FileNotFoundError, or ValueError where it is not the declared one."""
        return file_digest("weights", self.path, self.sha256)


def file_digest(what: str, path: Path, declared: str | None) -> str:
    """sha256 of a file; raises FileNotFoundError, or ValueError where it is not the declared one."""
    if not path.is_file():
        raise FileNotFoundError(f"{what}: {path} does not exist; the path is relative to the scenario")
    with open(path, "rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if declared not in (None, found):
        raise ValueError(f"{what}: {path.name} has sha256 {found}, but the scenario declares {declared}")
    return found


@dataclass(frozen=True)
class StateDict:
    """A state dict somewhere in a file, under the names of the module.

    place:    dotted path of the mapping that holds it; empty for the file itself
    tensors:  by name
    stripped: prefix that its names had in the file and the module's have not
    added:    prefix that the module's names have and those in the file had not
    """

    place: str
    tensors: Tensors
    stripped: str = ""
    added: str = ""

    def named_as(self, want: Iterable[str]) -> StateDict:
        """With the prefix changed that all its names share, where the module's names share another ending of it."""
        have, wanted = shared_prefix(self.tensors), shared_prefix(want)
        if have.endswith(f".{wanted}") or (have and not wanted):
            cut = have[: len(have) - len(wanted)]
            return StateDict(self.place, {name[len(cut) :]: tensor for name, tensor in self.tensors.items()}, stripped=cut)
        if wanted.endswith(f".{have}") or (wanted and not have):
            put = wanted[: len(wanted) - len(have)]
            return StateDict(self.place, {put + name: tensor for name, tensor in self.tensors.items()}, added=put)
        return self

    @property
    def changes(self) -> list[str]:
        """What was done to find it, in words."""
        return [
            *([f"taken from {self.place!r}"] if self.place else []),
            *([f"{self.stripped!r} stripped from every name"] if self.stripped else []),
            *([f"{self.added!r} put before every name"] if self.added else []),
        ]


def load_weights(model: nn.Module, weights: Weights, device: torch.device) -> tuple[str, ...]:
    """Load the one state dict of a file that fits the module in every name and shape; returns what was unwrapped and renamed, in sentences.

    Raises ValueError that lists what does not fit, or the places among which `key` must choose.
    """
    weights.digest()
    content, name = read_file(weights.path, device), weights.path.name
    want = {key: tensor for key, tensor in model.state_dict().items() if isinstance(tensor, Tensor)}
    forms = [form for held in _held(content, weights) for form in (held, held.named_as(want))]
    fitting = {form.place: form for form in reversed(forms) if not differences(want, form.tensors)}
    if len(fitting) > 1:
        raise ValueError(f"weights: {name} holds {len(fitting)} state dicts that fit the module ({', '.join(sorted(fitting))}); choose one, such as key: {min(fitting)}")
    if not fitting:
        raise ValueError(_unfit(name, want, forms))
    (found,) = fitting.values()
    model.load_state_dict(found.tensors, strict=True)
    unused = _unused(content, found.place)
    changes = [*found.changes, *([f"not used: {_listed(unused)}"] if unused else [])]
    return (f"weights from {name}: {'; '.join(changes)}",) if changes else ()


def _unused(content: Mapping[Any, Any], place: str) -> list[Any]:
    """What else a file holds beside the state dict at a place."""
    if not place:
        return [key for key, value in content.items() if not isinstance(value, Tensor)]
    return [key for key in content if not f"{place}.".startswith(f"{key}.") and not str(key).startswith(f"{place}.")]


def _held(content: Mapping[Any, Any], weights: Weights) -> list[StateDict]:
    """The state dicts that a file may mean."""
    found = list(state_dicts(content)) if weights.key is None else [StateDict(weights.key, _under(content, weights.key))]
    if not any(held.tensors for held in found):
        wanted = "hold a state dict (names to tensors)" if weights.key is None else f"hold tensors at key {weights.key!r}"
        raise ValueError(f"weights: {weights.path.name} must {wanted}, got a dict of {_listed(content)}")
    return found


def state_dicts(content: Mapping[Any, Any], place: str = "") -> Iterator[StateDict]:
    """Every mapping in a file that holds tensors under names, outermost first.

    >>> [found.place for found in state_dicts({"model": {"w": torch.zeros(1)}, "epoch": 3, "ema": {"w": torch.zeros(1)}})]
    ['model', 'ema']
    """
    tensors = {name: value for name, value in content.items() if isinstance(name, str) and isinstance(value, Tensor)}
    if tensors:
        yield StateDict(place, tensors)
    if place.count(".") < DEEPEST - 1:
        for name, value in content.items():
            if isinstance(name, str) and isinstance(value, Mapping):
                yield from state_dicts(value, f"{place}.{name}" if place else name)


def _under(content: Mapping[Any, Any], place: str) -> Tensors:
    """The tensors at a dotted place: in a mapping of that name, or under names that begin with it."""
    for step, inner in content.items():
        if isinstance(step, str) and isinstance(inner, Mapping) and f"{place}.".startswith(f"{step}."):
            return _under(inner, place[len(step) + 1 :])
    prefix = f"{place}." if place else ""
    return {name[len(prefix) :]: value for name, value in content.items() if isinstance(name, str) and name.startswith(prefix) and isinstance(value, Tensor)}


def shared_prefix(names: Iterable[str]) -> str:
    """The dotted beginning that all names share, with its last dot; empty where they share none.

    >>> shared_prefix(["module.net.fc.weight", "module.net.conv.bias"])
    'module.net.'
    """
    rows = [name.split(".")[:-1] for name in names]
    shared = 0
    while rows and all(len(row) > shared and row[shared] == rows[0][shared] for row in rows):
        shared += 1
    return "".join(f"{part}." for part in rows[0][:shared]) if rows else ""


def differences(want: Tensors, got: Tensors) -> list[str]:
    """What keeps tensors from fitting, in words: names on either side alone, and shapes that differ.

    >>> differences({"a": torch.zeros(1), "b": torch.zeros(2)}, {"b": torch.zeros(3)})
    ['1 missing (a (1,))', '0 unexpected', '1 of another shape (b (3,) instead of (2,))']
    """
    missing = [f"{name} {tuple(want[name].shape)}" for name in want if name not in got]
    unexpected = [f"{name} {tuple(got[name].shape)}" for name in got if name not in want]
    shapes = [f"{name} {tuple(got[name].shape)} instead of {tuple(want[name].shape)}" for name in want if name in got and want[name].shape != got[name].shape]
    if not (missing or unexpected or shapes):
        return []
    return [_some("missing", missing), _some("unexpected", unexpected), *([_some("of another shape", shapes)] if shapes else [])]


def _unfit(name: str, want: Tensors, forms: list[StateDict]) -> str:
    """The sentence about the state dict that comes nearest, as it is unless renaming brings it nearer."""
    nearest = max(forms, key=lambda form: len(form.tensors.keys() & want.keys()))
    which = f" ({', '.join(nearest.changes)})" if nearest.changes else ""
    return f"weights: {name}{which} does not fit the module: {'; '.join(differences(want, nearest.tensors))}"


def _some(word: str, names: list[str]) -> str:
    return f"{len(names)} {word}" + (f" ({_listed(sorted(names))})" if names else "")


def _listed(names: Iterable[Any]) -> str:
    every = [str(name) for name in names]
    return ", ".join(every[:SHOWN]) + (", ..." if len(every) > SHOWN else "")


def read_file(path: Path, device: torch.device) -> Mapping[Any, Any]:
    """What a file of tensors holds, on the device, wherever it was saved. A pickle that holds code is refused with a sentence on how to convert it."""
    if path.suffix == ".safetensors":
        try:
            return load_file(path, device=str(device))
        except SafetensorError as error:
            raise ValueError(f"weights: {path.name} is not a whole safetensors file ({error})") from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch asks to file an issue about pickles that it then refuses
            found = torch.load(path, map_location=device, weights_only=True)
    except pickle.UnpicklingError as error:
        kind = re.search(r"GLOBAL ([\w.]+)", str(error))
        raise ValueError(f"weights: {path.name} holds more than tensors{f' ({kind[1]})' if kind else ''}, and loading it could run code; where you trust it, convert it once: {CONVERT}") from error
    except (RuntimeError, EOFError) as error:
        why = next(iter(str(error).splitlines()), "it ends too early")
        raise ValueError(f"weights: {path.name} is not a whole file that torch.save wrote ({why})") from error
    if not isinstance(found, Mapping):
        raise ValueError(f"weights: {path.name} must hold a state dict (names to tensors), got {type(found).__name__}")
    return found
