"""Prepares a module for many gradients: a copy that answers the same in less time, and is used only where clean images show that it does."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from redteam.targets.folding import fold

How = Literal["auto", "compile", "off"]
ALLOWED = 1e-4  # difference of two scores, times the larger of 1 and the largest score: some hundred times what rounding in float32 does to a deep network
CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)
SLOWER = (nn.modules.instancenorm._InstanceNorm,)  # copies channels-last maps back and forth: a gradient then takes up to 1.6 times as long


@dataclass(frozen=True)
class Probe:
    """Asks a detector about clean images with another model in place of its own.

    score:  a model -> the function from pixels to log-odds that the detector would be with it
    pixels: clean images (n, 3, h, w)
    at:     log-odds above which an image is called fake
    """

    score: Callable[[Any], Callable[[Tensor], Tensor]]
    pixels: Tensor
    at: float

    def scores(self, model: Any) -> Tensor:
        """(n,) log-odds."""
        with torch.no_grad():
            return self.score(model)(self.pixels.clone())

    def gradient(self, model: Any) -> Tensor:
        """(n, 3, h, w) gradient of the scores."""
        x = self.pixels.clone().requires_grad_(True)
        with torch.enable_grad():
            return torch.autograd.grad(self.score(model)(x.clone()).sum(), x)[0]


@dataclass(frozen=True)
class Check:
    """A prepared module beside the module as it is, on clean images.

    steps:             what was done to it
    images:            clean images that both were asked about
    difference:        largest difference of two log-odds; None where there is none to give
    allowed:           largest difference at which the prepared module is used
    decisions_changed: images that only one of the two calls fake
    problem:           why it cannot be used, where that is not the difference
    left:              what could not be done, and why
    """

    steps: tuple[str, ...]
    images: int = 0
    difference: float | None = None
    allowed: float | None = None
    decisions_changed: int = 0
    problem: str = ""
    left: str = ""

    @property
    def passed(self) -> bool:
        """Whether the prepared module answers the same."""
        return not self.problem and self.difference is not None and self.difference <= self.allowed and not self.decisions_changed

    def sentence(self) -> str:
        """For a reader of the report."""
        steps, left = ", ".join(self.steps), f"; {self.left}" if self.left else ""
        if not self.steps:
            return f"not prepared: {self.left}"
        if self.problem:
            return f"not prepared: with {steps} {self.problem}; the module runs as it is{left}"
        differ = f"scores differ by at most {self.difference:.1g} from those of the module as it is ({self.allowed:.1g} allowed)"
        if self.passed:
            return f"prepared: {steps}; on {self.images} clean images {differ}, and decisions are the same{left}"
        return f"not prepared: with {steps}, on {self.images} clean images {differ} and {self.decisions_changed} decisions change; the module runs as it is{left}"


def prepare(model: Any, how: How, probe: Probe) -> tuple[Any, list[Check]]:
    """The prepared copy of a module, or the module as it is where nothing can be done or its answers change; and what was checked."""
    if how == "off" or not isinstance(model, nn.Module) or isinstance(model, torch.jit.ScriptModule) or any(part.training for part in model.modules()):
        return model, []
    try:
        want, checks = probe.scores(model), []
    except Exception as error:  # of some image; who it is shows when images are scored
        return model, [Check((), left=f"on clean images it raises {_named(error)}")]
    for candidate, check in _candidates(model):
        checks.append(_checked(candidate, check, probe, want) if check.steps else check)
        if checks[-1].passed:
            model, checks = candidate, checks[-1:]
            break
    if checks and checks[-1].steps and not checks[-1].passed and not torch.equal(probe.scores(model), want):
        return model, [Check((), left="its scores change from call to call")]
    return _compiled(model, checks, probe, want) if how == "compile" else (model, checks)


def _candidates(model: nn.Module) -> Iterator[tuple[nn.Module, Check]]:
    """Copies with all that can be done, then with one thing each, for a module that does not bear the other."""
    seen: set[tuple[str, ...]] = set()
    for folds, reorders in ((True, True), (True, False), (False, True)):
        try:
            candidate = copy.deepcopy(model)
        except Exception as error:  # a user's module may hold anything
            yield model, Check((), left=f"it cannot be copied ({_named(error)})")
            return
        steps, left = _changed(candidate, folds=folds, reorders=reorders)
        if steps not in seen and (steps or left):
            yield candidate, Check(steps, left=left)
        seen.add(steps)


def _changed(candidate: nn.Module, *, folds: bool, reorders: bool) -> tuple[tuple[str, ...], str]:
    """Change a copy -> what was done, and what could not be."""
    steps, left = [], ""
    if folds:
        found = fold(candidate)
        steps += [f"{found.folded} of {found.norms} batch norms folded"] if found.folded else []
        left = f"{found.norms - found.folded} of {found.norms} batch norms stay, since {found.why}" if found.why else ""
    if reorders and (layers := _reorderable(candidate)):
        for layer in layers:
            layer.weight.data = layer.weight.data.contiguous(memory_format=torch.channels_last)
        steps.append("channels-last")
    return tuple(steps), left


def _reorderable(model: nn.Module) -> list[nn.Module]:
    """The convolutions of a module that is faster channels-last: on a CPU; on accelerators it has not been measured."""
    parts = list(model.modules())
    if any(isinstance(part, SLOWER) for part in parts):
        return []
    return [part for part in parts if isinstance(part, CONVOLUTIONS) and isinstance(part.weight, nn.Parameter) and part.weight.device.type == "cpu"]


def _checked(candidate: Any, check: Check, probe: Probe, want: Tensor) -> Check:
    """The check with what clean images showed."""
    try:
        got = probe.scores(candidate)
    except Exception as error:  # such as a view that takes one memory layout only
        return replace(check, problem=f"it raises {_named(error)}")
    finite = got.isfinite() & want.isfinite()
    if not torch.equal(got[~finite].nan_to_num(), want[~finite].nan_to_num()):
        return replace(check, problem="other images have a score that is not finite")
    difference = (got - want)[finite].abs().amax().item() if finite.any() else 0.0
    allowed = ALLOWED * max(1.0, want[finite].abs().amax().item() if finite.any() else 0.0)
    changed = int(((got > probe.at) != (want > probe.at)).sum())
    return replace(check, images=len(want), difference=difference, allowed=allowed, decisions_changed=changed)


def _compiled(model: nn.Module, checks: list[Check], probe: Probe, want: Tensor) -> tuple[Any, list[Check]]:
    """The module compiled, where the same scores and a gradient come out; what gradients need is compiled here too, once."""
    done = checks[-1] if checks and checks[-1].passed else Check(())
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what a compiler says about itself
            compiled = torch.compile(model)
            found = _checked(compiled, replace(done, steps=(*done.steps, "compiled")), probe, want)
            probe.gradient(compiled)
        if found.passed:
            return compiled, [found]
        problem = found.problem or f"scores then differ by {found.difference:.1g}"
    except Exception as error:  # no compiler, or code that it does not take
        problem = _named(error)
    left = "; ".join(filter(None, (done.left, f"it cannot be compiled ({problem})")))
    return model, [*(check for check in checks if check is not done), replace(done, left=left)]


def _named(error: Exception) -> str:
    return f"{type(error).__name__}: {next(iter(str(error).strip().splitlines()), '')[:120]}"
