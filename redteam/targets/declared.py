"""What every target of the user's declares: what goes in, what comes out, and what an adversary may ask."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from redteam.target import Access, TargetSpec
from redteam.targets.adapted import Output
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
        return Access[(self.access or "gradients").upper()]

    def own_scale(self, value: float) -> float:
        """A fixed threshold on the detector's own scale -> log-odds of label 1."""
        if self.output.is_probability:
            if not 0 < value < 1:
                raise ValueError(f"threshold: fixed must lie in (0, 1) for {self.output.type}, got {value}")
            value = math.log(value / (1 - value))
        return -value if self.output.positive == "real" else value
