"""An exported program as a target: torch.export.save in the training environment, one .pt2 file here, no source needed."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from redteam.target import Detector
from redteam.targets import archive
from redteam.targets.adapted import AdaptedDetector, Adapter
from redteam.targets.declared import DeclaredTarget
from redteam.targets.weights import file_digest

OTHER_FILES = (
    "TorchScript, which torch has deprecated, is loaded by a factory that returns torch.jit.load(path) (kind: python), and a state dict stands under weights there; "
    "any module becomes a .pt2 by torch.export.save(torch.export.export(model, (images,), dynamic_shapes=({0: torch.export.Dim.AUTO},)), 'detector.pt2')"
)
FILLED = "the program takes {low} images at a time; smaller batches are filled up with copies of their last image, whose scores are thrown away"


@dataclass(frozen=True, kw_only=True)
class FileTarget(DeclaredTarget):
    """A program that torch.export.save wrote (.pt2): gradients without source.

    The file is looked through before torch loads it: one that holds pickles, compiled code or anything else than tensor operations is refused.
    Batch and size of the images may be dynamic; where the batch is fixed, images are scored in pieces of that size, the last one filled up.

    path:   the .pt2 file
    sha256: what the file must hash to; not checked when not given
    """

    path: Path
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None

    def __post_init__(self) -> None:
        if self.path.suffix != ".pt2":
            raise ValueError(f"path must end in .pt2, got {self.path.name}; {OTHER_FILES}")

    def fingerprint(self) -> dict[str, str]:
        """Hash of the file."""
        return {"program": file_digest("path", self.path, self.sha256)}

    def load(self, name: str, device: torch.device) -> Detector:
        """Look the file through and load it. Raises ValueError or FileNotFoundError with a repair."""
        self.fingerprint()
        content = self.path.read_bytes()
        try:
            archive.check(content)
            program = Program(_loaded(content, device))
        except ValueError as error:
            raise ValueError(f"{name}: {self.path.name} {error}") from error
        most = [size for size in (program.high, self.input.max_batch) if size is not None]
        adapter = Adapter(program, replace(self.input, max_batch=min(most, default=None)), self.output)
        return AdaptedDetector(name, adapter, self.gives(), (FILLED.format(low=program.low),) if 1 < program.low == program.high else ())


def _loaded(content: bytes, device: torch.device) -> torch.export.ExportedProgram:
    from torch.export.passes import move_to_device_pass

    try:
        return move_to_device_pass(torch.export.load(io.BytesIO(content)), str(device))
    except Exception as error:  # whatever it is, it is about this file: its operators may be unknown to this torch
        raise ValueError(f"cannot be loaded by torch {torch.__version__} ({type(error).__name__}: {_first_line(error)}); {archive.REPAIR}") from error


class Program:
    """A loaded program of one input, called with any batch up to its largest.

    low, high: images that it takes at a time; high is None where any number will do
    """

    def __init__(self, program: torch.export.ExportedProgram) -> None:
        wanted = program.graph_signature.user_inputs
        if len(wanted) != 1:
            raise ValueError(f"must take one input, a batch of images, got {len(wanted)} ({', '.join(map(str, wanted))}); export a module that takes images alone")
        (node,) = (node for node in program.graph.nodes if node.op == "placeholder" and node.name == wanted[0])
        batch, *self._image = node.meta["val"].shape
        self.low, self.high = _range(program, batch)
        self._module = program.module()
        for parameter in self._module.parameters():
            parameter.requires_grad_(False)

    def __call__(self, x: Tensor) -> Any:
        """Images as the declared input makes them -> what the program returns for them; differentiable."""
        self._check(x)
        n = len(x)
        filled = torch.cat([x, x[-1:].detach().expand(self.low - n, *x.shape[1:])]) if n < self.low else x
        try:
            returned = self._module(filled)
        except AssertionError as error:  # a guard on sizes
            raise ValueError(f"the program refuses images of {_shape(x.shape[1:])} ({_first_line(error)}); declare input.resize or input.crop, or export it with dynamic sizes") from error
        return _first(returned, n, len(filled)) if n < self.low else returned

    def _check(self, x: Tensor) -> None:
        fits = x.ndim == 1 + len(self._image) and all(not isinstance(want, int) or want == got for want, got in zip(self._image, x.shape[1:], strict=True))
        if not fits:
            raise ValueError(f"the program takes images of {_shape(self._image)}, got {_shape(x.shape[1:])} after the declared input; declare input.resize, crop, channels or layout, or export it with dynamic sizes")


def _range(program: torch.export.ExportedProgram, batch: int | torch.SymInt) -> tuple[int, int | None]:
    """The smallest and the largest batch."""
    if isinstance(batch, int):
        return batch, batch
    found = program.range_constraints.get(batch.node.expr)
    low, high = (int(found.lower), found.upper) if found else (1, None)
    return max(1, low), int(high) if high is not None and high.is_Integer and int(high) < 2**31 else None


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0][:200]


def _shape(sizes: Any) -> str:
    return " x ".join(str(size) if isinstance(size, int) else "any" for size in sizes)


def _first(returned: Any, n: int, filled: int) -> Any:
    """The results of the first n images, wherever in the returned structure they are."""
    if isinstance(returned, Tensor):
        return returned[:n] if returned.ndim and len(returned) == filled else returned
    if isinstance(returned, Mapping):
        return {key: _first(value, n, filled) for key, value in returned.items()}
    return type(returned)(_first(value, n, filled) for value in returned) if isinstance(returned, (tuple, list)) else returned
