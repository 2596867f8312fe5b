"""What the questions about one image showed an attack, in a few numbers: where its margin began, how low it came, when, and where it ended."""

from __future__ import annotations

import math
from collections import deque
from typing import Any

LATE = 10  # of the last questions at most, those after which a margin that still falls means that the attack was not done
LATE_SHARE = 4  # and no more than this part of all questions: a quarter


class Trace:
    """The margins that an attack was shown of one image, one after the other; below 0 the adversary has won. What is not finite is no margin.

    asked:   how many
    first, best, last: the first, the lowest, the last
    best_at: which one was the lowest, from 1
    judged:  how often the attack asked whether a file is a success, which tells it so without a margin

    >>> trace = Trace()
    >>> for margin in (3.0, 1.0, 2.0, 0.5):
    ...     trace.add(margin)
    >>> trace.to_json()
    {'asked': 4, 'best': 0.5, 'best_at': 4, 'first': 3.0, 'judged': 0, 'last': 0.5, 'late': 1.0}
    """

    __slots__ = ("asked", "best", "best_at", "first", "judged", "last", "_before")

    def __init__(self) -> None:
        self.asked = self.best_at = self.judged = 0
        self.first = self.best = self.last = math.inf
        self._before: deque[float] = deque(maxlen=LATE)  # the lowest before each of the last questions

    def add(self, margin: float) -> None:
        """One more answer."""
        if not math.isfinite(margin):
            return
        self.asked += 1
        self.last = margin
        if self.asked == 1:
            self.first = margin
        self._before.append(self.best)
        if margin < self.best:
            self.best, self.best_at = margin, self.asked

    @property
    def late(self) -> float:
        """The lowest before the last quarter of the questions, or before the last ten where that is fewer."""
        window = max(1, min(LATE, self.asked // LATE_SHARE))
        return min(self._before[-window], self.first)

    def to_json(self) -> dict[str, Any]:
        """As a record keeps it, to six digits; empty where nothing was asked."""
        if not self.asked:
            return {"judged": self.judged} if self.judged else {}
        numbers = {name: rounded(getattr(self, name)) for name in ("best", "first", "last", "late")}
        return dict(sorted({"asked": self.asked, "best_at": self.best_at, "judged": self.judged, **numbers}.items()))


def rounded(margin: float) -> float:
    """A margin to six digits: more say nothing, and a row stays short.

    >>> rounded(1.23456789)
    1.23457
    """
    return float(f"{margin:.6g}")
