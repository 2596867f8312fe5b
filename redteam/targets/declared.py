"""What every target of the user's declares: what goes in, what comes out, what an adversary may ask, and whether it is made faster."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import nn

from redteam.target import Access, TargetSpec
from redteam.targets.adapted import AdaptedDetector, Adapter, Output
from redteam.targets.prepared import How
from redteam.targets.preprocessing import Input


@dataclass(frozen=True, kw_only=True)
class DeclaredTarget(TargetSpec):
    """A detector behind its declared input and output.

    input:  what happens to pixels in [0, 1] before the detector sees them
    output: what the detector returns
    access: the most that an adversary may ask; all that the detector can give when not given
    """

    output: Output
    input: Input = field(default_factory=Input)
    access: Literal["gradients", "scores", "decisions"] | None = None

    @property
    def declared_logit(self) -> bool:
        """Whether the output is declared on the log-odds scale (flag R4)."""
        return not self.output.is_probability

    def gives(self) -> Access:
        """The access level; where it is not declared, what a module would give, until the detector has been loaded."""
        return min(Access[(self.access or "gradients").upper()], self.most)

    def own_scale(self, value: float) -> float:
        """A fixed threshold on the detector's own scale -> log-odds of label 1."""
        if self.output.is_probability:
            if not 0 < value < 1:
                raise ValueError(f"threshold: fixed must lie in (0, 1) for {self.output.type}, got {value}")
            value = math.log(value / (1 - value))
        return -value if self.output.positive == "real" else value


@dataclass(frozen=True, kw_only=True)
class ModuleTarget(DeclaredTarget):
    """A module or a callable of the user's.

    prepare: auto works on a copy with batch norms folded and convolutions channels-last, where clean images get the same scores; compile also
             compiles it, which takes a minute or more in each worker; off takes the module as it is. The copy takes the memory of the
             parameters once more, for as long as something else holds the module
    """

    prepare: How = "auto"

    def behind(self, name: str, model: Any, notes: list[str]) -> AdaptedDetector:
        """The model behind its input and output, to be prepared once clean images are at hand."""
        access = self.gives() if self.access or isinstance(model, nn.Module) else Access.SCORES
        fixed = self.threshold.fixed if self.threshold else None
        at = 0.0 if fixed is None else self.own_scale(fixed)
        return AdaptedDetector(name, Adapter(model, self.input, self.output), access, tuple(notes)).preparing(self.prepare, at)
