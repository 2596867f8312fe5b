"""What the labels of a list mean: its own values for real and fake, and nothing guessed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from redteam.data.defects import quoted

Value = int | str
OWN = {0: 0, 1: 1, "real": 0, "fake": 1}  # what a manifest of ours writes


@dataclass(frozen=True, kw_only=True)
class Labels:
    """The values of a foreign list. Two data sets of the same authors number theirs differently, so each value must be named.

    real: values that mean real
    fake: values that mean fake, forged, tampered or generated
    skip: values whose rows are left out
    """

    real: tuple[Value, ...] = ()
    fake: tuple[Value, ...] = ()
    skip: tuple[Value, ...] = ()

    def __post_init__(self) -> None:
        named = [str(value) for value in (*self.real, *self.fake, *self.skip)]
        twice = next((value for value in named if named.count(value) > 1), None)
        if twice is not None:
            raise ValueError(f"labels: each value must be named once, got {twice} twice; leave one out")

    def of(self, value: Any) -> int | None:
        """0, 1, or None where rows of this value are left out. Raises LookupError for any other value.

        >>> labels = Labels(real=(0,), fake=(2,), skip=("full_synthetic",))
        >>> labels.of("0"), labels.of(2), labels.of("full_synthetic")
        (0, 1, None)
        """
        if type(value) in (int, str):  # true and 1.0 are no labels
            for label, values in ((0, self.real), (1, self.fake), (None, self.skip)):
                if str(value) in map(str, values):
                    return label
        raise LookupError(value)


def label_of(value: Any, labels: Labels | None) -> int | None:
    """What a label means, by the list's own labels or by ours. Raises LookupError."""
    if labels is not None:
        return labels.of(value)
    if type(value) not in (int, str) or value not in OWN:
        raise LookupError(value)
    return OWN[value]


def unmapped(value: Any, labels: Labels | None) -> str:
    """The sentence for a label that means nothing."""
    if labels is None:
        return f'label must be 0, 1, "real" or "fake", got {quoted(value)}; write one of these, or say what it means with labels: {{real: [...], fake: [...]}}'
    return f"label must be one that labels names, {_named((*labels.real, *labels.fake, *labels.skip))}, got {quoted(value)}; add it to real, fake or skip"


def _named(values: Sequence[Value]) -> str:
    return ", ".join(map(quoted, values)) or "none"
