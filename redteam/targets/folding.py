"""Folds each batch norm in eval mode into the convolution or linear layer before it: the same function to rounding, in less time.

Source: Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference", CVPR 2018, arXiv:1712.05877, eq. 14.
Deviation: computed in float64. Which norm follows which layer is read from a symbolic trace; the module goes on running its own code.

A pair is folded only where the trace shows that the norm always follows the layer and that nothing else reads the layer's result or its
parameters. A module whose code branches on its input has no such trace; its parts may, and are then folded each by itself.
"""

from __future__ import annotations

import copy
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

NORMS = {
    nn.Conv1d: nn.BatchNorm1d, nn.Conv2d: nn.BatchNorm2d, nn.Conv3d: nn.BatchNorm3d, nn.Linear: nn.BatchNorm1d,
    nn.ConvTranspose1d: nn.BatchNorm1d, nn.ConvTranspose2d: nn.BatchNorm2d, nn.ConvTranspose3d: nn.BatchNorm3d,
}  # fmt: skip
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
OUTSIDE = "a layer of a prepared part was called from outside that part; declare prepare: off"


@dataclass(frozen=True)
class Folding:
    """What was folded.

    folded: batch norms that are gone
    norms:  batch norms that there were
    why:    why some are left, where that has one reason for all
    """

    folded: int
    norms: int
    why: str = ""


@dataclass(frozen=True)
class Pair:
    """A layer and the batch norm that always follows it, by their names inside `part`."""

    part: str
    layer: str
    norm: str


def fold(model: nn.Module) -> Folding:
    """Fold what can be folded in place; hand over a copy."""
    norms = sum(isinstance(part, nn.modules.batchnorm._BatchNorm) for part in model.modules())
    if not norms:
        return Folding(0, 0)
    if any(getattr(part, name) for part in model.modules() for name in HOOKS):
        return Folding(0, norms, "it has hooks")
    scratch = copy.deepcopy(model, {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())})  # tracing leaves its marks on it
    reasons: list[str] = []
    pairs = list(_pairs(scratch, "", reasons))
    for pair in pairs:
        _fold(model, pair)
    for part in {pair.part for pair in pairs if pair.part}:
        _Closed(model.get_submodule(part), [model.get_submodule(f"{part}.{pair.layer}") for pair in pairs if pair.part == part])
    return Folding(len(pairs), norms, reasons[0] if reasons and len(pairs) < norms else "")


class _Reader(fx.Tracer):
    """Sees every use of a parameter and of a buffer."""

    proxy_buffer_attributes = True


def _pairs(part: nn.Module, name: str, reasons: list[str]) -> Iterator[Pair]:
    """The pairs of a module that can be traced; else those of its parts, with the reason noted."""
    if not any(isinstance(inner, nn.modules.batchnorm._BatchNorm) for inner in part.modules()):
        return
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what a user's code says about a symbol means nothing to anybody
            graph = _Reader().trace(part)
    except Exception as error:  # whatever it raises when it is handed a symbol instead of images
        reasons.append(f"its code cannot be followed for all images ({type(error).__name__})")
        for child, inner in part.named_children():
            yield from _pairs(inner, f"{name}.{child}" if name else child, reasons)
        return
    yield from (Pair(name, layer, norm) for layer, norm in _followed(part, graph))


def _followed(root: nn.Module, graph: fx.Graph) -> Iterator[tuple[str, str]]:
    """Names of the layers that one batch norm always follows, and of that norm."""
    calls = Counter(root.get_submodule(node.target) for node in graph.nodes if node.op == "call_module")
    read = {root.get_submodule(node.target.rpartition(".")[0]) for node in graph.nodes if node.op == "get_attr"}
    for node in graph.nodes:
        before = node.args[0] if node.op == "call_module" and len(node.args) == 1 and not node.kwargs else None
        if not isinstance(before, fx.Node) or before.op != "call_module" or len(before.users) > 1:
            continue
        layer, norm = root.get_submodule(before.target), root.get_submodule(node.target)
        if calls[layer] == calls[norm] == 1 and not read & {layer, norm} and _fits(layer, norm):
            yield before.target, node.target


def _fits(layer: nn.Module, norm: nn.Module) -> bool:
    """Whether the norm is a fixed scale and shift of each output channel of the layer."""
    wanted = NORMS.get(type(layer))
    is_norm = type(norm) is wanted or (type(norm) is nn.SyncBatchNorm and wanted is not nn.BatchNorm1d)
    if not wanted or not is_norm or norm.training or norm.running_mean is None or norm.running_var is None:
        return False
    if "forward" in vars(layer) or "forward" in vars(norm):  # somebody gave this one another
        return False
    channels = layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels
    return norm.num_features == channels and layer.weight.dtype in (torch.float32, torch.float64)


def _fold(model: nn.Module, pair: Pair) -> None:
    part = model.get_submodule(pair.part)
    layer, norm = part.get_submodule(pair.layer), part.get_submodule(pair.norm)
    scale, shift = _affine(norm)
    bias = shift if layer.bias is None else shift + scale * layer.bias.double()
    layer.weight, layer.bias = _parameter(_scaled(layer, scale), layer.weight), _parameter(bias, layer.weight)
    for owner in model.modules():  # under every name that it has
        for name, inner in owner._modules.items():
            if inner is norm:
                owner._modules[name] = _identity(layer, norm)


def _affine(norm: nn.Module) -> tuple[Tensor, Tensor]:
    """What a batch norm in eval mode multiplies each channel by, and what it adds then; float64."""
    scale = (norm.running_var.double() + norm.eps).rsqrt()
    scale = scale if norm.weight is None else scale * norm.weight.double()
    shift = -norm.running_mean.double() * scale
    return scale, shift if norm.bias is None else shift + norm.bias.double()


def _scaled(layer: nn.Module, scale: Tensor) -> Tensor:
    """The layer's weight with each output channel times its scale; float64."""
    weight = layer.weight.double()
    if not isinstance(layer, TRANSPOSED):
        return weight * scale.view(-1, *[1] * (weight.ndim - 1))
    grouped = weight.unflatten(0, (layer.groups, -1))  # (groups, in / groups, out / groups, ...)
    return (grouped * scale.view(layer.groups, 1, -1, *[1] * (weight.ndim - 2))).flatten(0, 1)


def _parameter(values: Tensor, like: Tensor) -> nn.Parameter:
    return nn.Parameter(values.detach().to(like.dtype), requires_grad=False)


def _identity(layer: nn.Module, norm: nn.Module) -> nn.Module:
    """What stands where a norm was; behind a linear layer it holds that rows are images, since channels are elsewhere in other shapes."""
    return _Rows().train(norm.training) if isinstance(layer, nn.Linear) else nn.Identity().train(norm.training)


class _Rows(nn.Module):
    """The identity on (n, channels)."""

    def forward(self, x: Tensor) -> Tensor:
        """(n, channels) -> the same. Raises ValueError for any other shape."""
        if x.ndim != 2:
            raise ValueError(f"a batch norm behind a linear layer got {tuple(x.shape)}, which cannot be folded; declare prepare: off")
        return x


class _Closed:
    """Sees to it that folded layers of a part are called by that part alone, since the code around it could not be followed."""

    def __init__(self, part: nn.Module, layers: list[nn.Module]) -> None:
        self._depth = 0
        part.register_forward_pre_hook(self._enter)
        part.register_forward_hook(self._leave, always_call=True)
        for layer in layers:
            layer.register_forward_pre_hook(self._check)

    def _enter(self, *_: Any) -> None:
        self._depth += 1

    def _leave(self, *_: Any) -> None:
        self._depth -= 1

    def _check(self, *_: Any) -> None:
        if not self._depth:
            raise RuntimeError(OUTSIDE)
