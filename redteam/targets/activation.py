"""Takes a final sigmoid or softmax off a detector, however the module applies it, so that gradients do not vanish where it saturates.

A detector that ends in a sigmoid gives exactly 0.0 or 1.0 in float32 once its logit leaves [-104, 17]; its gradient is then 0, and a gradient
attack reports it as robust. The activation is found by watching torch's own functions while the module runs, and it is replaced by the
log-odds of the same output. Whether the two agree is checked on clean images; where they do not, the probability is inverted and the
saturation stays, which the red flags then see.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

SIGMOIDS = {torch.sigmoid, torch.sigmoid_, Tensor.sigmoid, Tensor.sigmoid_, F.sigmoid, torch.special.expit}
SOFTMAXES = {torch.softmax, Tensor.softmax, F.softmax, torch.special.softmax}
TOLERANCE = 1e-4  # largest difference between the module's probability and the one recomputed from the logit


class ActivationWatch(TorchFunctionMode):
    """While active, counts sigmoid and softmax calls; the one numbered `replace` returns log-odds instead of probabilities."""

    def __init__(self, replace: int | None = None) -> None:
        super().__init__()
        self.calls = 0
        self._replace = replace

    def __torch_function__(self, func: Callable, kinds: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        if func not in SIGMOIDS and func not in SOFTMAXES:
            return func(*args, **kwargs)
        self.calls += 1
        if self.calls - 1 != self._replace:
            return func(*args, **kwargs)
        x = args[0] if args else kwargs["input"]
        if func in SIGMOIDS:
            return x
        dim = kwargs.get("dim", args[1] if len(args) > 1 else -1)
        return softmax_log_odds(x, dim if dim is not None else -1)


def softmax_log_odds(logits: Tensor, dim: int) -> Tensor:
    """Log-odds of each softmax entry: z_i minus the log-sum-exp of the others; same shape as logits.

    >>> softmax_log_odds(torch.tensor([[1.0, 3.0]]), 1).tolist()
    [[-2.0, 2.0]]
    """
    z = logits.movedim(dim, -1)
    size = z.shape[-1]
    others = z.unsqueeze(-2).expand(*z.shape[:-1], size, size).masked_fill(torch.eye(size, dtype=torch.bool, device=z.device), -torch.inf)
    return (z - others.logsumexp(-1)).movedim(-1, dim)


def last_activation(run: Callable[[], Tensor]) -> int | None:
    """The number of the last sigmoid or softmax that `run` applies; None where it applies none that torch can see."""
    with torch.no_grad(), ActivationWatch() as watch:
        run()
    return watch.calls - 1 if watch.calls else None


def without_activation(run: Callable[[], Tensor], number: int) -> Tensor:
    """What `run` returns when its activation `number` gives log-odds instead of probabilities; differentiable."""
    with ActivationWatch(replace=number):
        return run()


def inverse_sigmoid(probability: Tensor) -> Tensor:
    """Log-odds of a probability in [0, 1]; float32 saturates at about +-16.6 and its gradient vanishes there."""
    p = probability.clamp(2**-24, 1 - 2**-24)
    return torch.log(p) - torch.log1p(-p)
