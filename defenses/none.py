"""No defense: the arm that every defense is compared with."""

from __future__ import annotations

from dataclasses import dataclass

from redteam.defense import Defense
from redteam.target import Target


@dataclass(frozen=True, kw_only=True)
class NoDefense(Defense):
    """Leave the target as it is."""

    def wrap(self, target: Target) -> Target:
        """The target itself."""
        return target
