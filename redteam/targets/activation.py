"""Takes a final sigmoid or softmax off a detector, however the module applies it, so that gradients do not vanish where it saturates.

A detector that ends in a sigmoid gives exactly 0.0 or 1.0 in float32 once its logit leaves [-104, 17]; its gradient is then 0, and a gradient
attack reports it as robust. The activation is found by watching torch's own functions while the module runs, and it is replaced by the
log-odds of the same output; clamps behind it are passed over. Whether the two agree is checked on clean images, as they are and with logits
scaled down to where nothing saturates: two saturated answers agree by accident. Where they do not, the probability is inverted and the
saturation stays, which the red flags then see.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

ATEN = torch.ops.aten  # what exported programs call
SIGMOIDS = {torch.sigmoid, torch.sigmoid_, Tensor.sigmoid, Tensor.sigmoid_, F.sigmoid, torch.special.expit, ATEN.sigmoid.default, ATEN.sigmoid_.default}
IN_PLACE = {torch.sigmoid_, Tensor.sigmoid_, ATEN.sigmoid_.default}
SOFTMAXES = {torch.softmax, Tensor.softmax, F.softmax, torch.special.softmax, ATEN.softmax.int, ATEN._softmax.default}
CLAMPS = {torch.clamp, torch.clamp_, torch.clip, torch.clip_, Tensor.clamp, Tensor.clamp_, Tensor.clip, Tensor.clip_, ATEN.clamp.default, ATEN.clamp_.default}
TOLERANCE = 1e-4  # largest difference between the module's probability and the one recomputed from the logit
GENTLE = 4.0  # logits within +-4 are far from saturation: probabilities from .018 to .982
SHIFTS = (0.0, -1.0)  # the module ends in p, or in 1 - p
TRIED = 4  # activations, from the last one back: an auxiliary head may run after the one that counts


@dataclass(frozen=True)
class FinalActivation:
    """The activation that can be taken off.

    number: which of the sigmoids and softmaxes that the module applies, from 0
    shift:  what is added to the log-odds that come out: -1 where the module ends in 1 - p, since 1 - z - 1 = -z
    """

    number: int
    shift: float = 0.0

    def log_odds(self, run: Callable[[], Tensor]) -> Tensor:
        """What `run` would return before the activation; differentiable. Raises RuntimeError where this call did not apply it."""
        with ActivationWatch(self.number) as watch:
            found = run()
        if watch.calls <= self.number:
            raise RuntimeError(f"the final activation was number {self.number} on clean images, but this call applied only {watch.calls}; declare output.type logit and return logits")
        return found + self.shift if self.shift else found


class ActivationWatch(TorchFunctionMode):
    """While active, counts sigmoid and softmax calls; the one numbered `number` takes its input times `scale` and, with `off`, gives log-odds."""

    def __init__(self, number: int | None = None, scale: float = 1.0, off: bool = True) -> None:
        super().__init__()
        self.calls = 0
        self.largest = 0.0  # absolute logit that went into the numbered activation, where it stays on
        self._number, self._scale, self._off = number, scale, off

    def __torch_function__(self, func: Callable, kinds: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        if func in CLAMPS and self._off and self._number is not None and self.calls > self._number:
            return args[0] if args else kwargs["input"]
        if func not in SIGMOIDS and func not in SOFTMAXES:
            return func(*args, **kwargs)
        self.calls += 1
        if self.calls - 1 != self._number:
            return func(*args, **kwargs)
        x = args[0] if args else kwargs["input"]
        if func in SIGMOIDS:
            result = self._sigmoid(x)
            return x.copy_(result) if func in IN_PLACE else result
        dim = kwargs.get("dim", args[1] if len(args) > 1 else None)
        return self._softmax(x, -1 if dim is None else dim)

    def _sigmoid(self, x: Tensor) -> Tensor:
        x = self._scaled(x)
        return x if self._off else x.sigmoid()

    def _softmax(self, x: Tensor, dim: int) -> Tensor:
        x = self._scaled(x)
        return softmax_log_odds(x, dim) if self._off else x.softmax(dim)

    def _scaled(self, x: Tensor) -> Tensor:
        if not self._off:
            self.largest = float(x.abs().max())
        return x * self._scale if self._scale != 1.0 else x


def softmax_log_odds(logits: Tensor, dim: int) -> Tensor:
    """Log-odds of each softmax entry: z_i minus the log-sum-exp of the others; same shape as logits, memory as a softmax.

    >>> softmax_log_odds(torch.tensor([[1.0, 3.0]]), 1).tolist()
    [[-2.0, 2.0]]
    """
    top = logits.argmax(dim, keepdim=True)
    is_top = torch.zeros_like(logits, dtype=torch.bool).scatter(dim, top, True)
    total = logits.logsumexp(dim, keepdim=True)
    share = (logits - total).masked_fill(is_top, -torch.inf).exp()  # at most 1/2, so log1p(-share) is exact
    others = logits.masked_fill(is_top, -torch.inf).logsumexp(dim, keepdim=True)  # without the largest
    return logits - torch.where(is_top, others, total + torch.log1p(-share))


def find(run: Callable[[], Tensor]) -> tuple[FinalActivation | None, int]:
    """The activation that can be taken off what `run` returns, (n,) probabilities, or None; and how many sigmoids and softmaxes it applies."""
    with torch.no_grad():
        with ActivationWatch() as watch:
            run()
        for number in range(watch.calls - 1, max(-1, watch.calls - 1 - TRIED), -1):
            if (shift := _agreeing_shift(run, number)) is not None:
                return FinalActivation(number, shift), watch.calls
    return None, watch.calls


def inverse_sigmoid(probability: Tensor) -> Tensor:
    """Log-odds of a probability in [0, 1]; float32 saturates at about +-16.6 and its gradient vanishes there."""
    p = probability.clamp(2**-24, 1 - 2**-24)
    return torch.log(p) - torch.log1p(-p)


def _agreeing_shift(run: Callable[[], Tensor], number: int) -> float | None:
    """What to add to the log-odds so that they are those of the probability, at the module's own logits and at gentle ones; None where nothing fits."""
    with ActivationWatch(number, off=False) as watch:
        want = run()
    shifts = _fitting(run, number, 1.0, want, SHIFTS)
    if shifts and watch.largest > GENTLE:
        scale = GENTLE / watch.largest
        with ActivationWatch(number, scale, off=False):
            want = run()
        shifts = _fitting(run, number, scale, want, shifts)
    return shifts[0] if shifts else None


def _fitting(run: Callable[[], Tensor], number: int, scale: float, want: Tensor, shifts: tuple[float, ...]) -> tuple[float, ...]:
    try:
        with ActivationWatch(number, scale):
            got = run()
    except (RuntimeError, ValueError):
        return ()  # what follows does not take log-odds, so it is not the last step
    return tuple(shift for shift in shifts if got.shape == want.shape and ((got + shift).sigmoid() - want).abs().max() <= TOLERANCE)
