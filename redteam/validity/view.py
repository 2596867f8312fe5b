"""What a red flag is, and what the flags of one cell look at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from redteam.attack import Attack
from redteam.protocols.detection_metrics import attackable
from redteam.record import Cell, Record
from redteam.target import Access

Severity = Literal["invalid", "upper_bound", "note"]
FEW = 0.10  # share of images up to which a success rate is still a lower bound worth printing
ENOUGH = 10  # images from which a statement about all of them means something
SURE = 0.05  # p below which a difference on the same images is no accident


@dataclass(frozen=True)
class Flag:
    """One thing that is wrong with a cell.

    id:       R1, R2, ...
    severity: invalid (the figure means nothing), upper_bound (the target may be weaker than it looks) or note
    detail:   a sentence with the figures and what to do
    """

    id: str
    severity: Severity
    detail: str


@dataclass(frozen=True)
class View:
    """What the flags of one cell look at.

    rows:     the cell's records
    identity: the clean arm's records of the same data, target and defense
    clean:    the clean arm's metrics
    facts:    what the preparation of the target found
    lossless: whether the scenario's file keeps pixels as they are
    groups:   the source images behind the rows
    files:    a sentence where format, compression or size of the files alone tell the classes apart
    metrics:  the cell's own
    """

    cell: Cell
    attack: Attack
    rows: Sequence[Record]
    identity: Sequence[Record]
    clean: Mapping[str, Mapping[str, float]]
    facts: Mapping[str, Any]
    lossless: bool
    groups: frozenset[str] = field(default_factory=frozenset)
    files: str | None = None
    metrics: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    @property
    def white_box(self) -> bool:
        """Whether the attack follows the gradients of the evaluated target itself."""
        return self.attack.access() is Access.GRADIENTS

    @property
    def tried(self) -> list[Record]:
        """The images that the attack had something to win on, and kept its budget on."""
        return [row for row in self.rows if attackable(row) and "success" in row.outcome and row.valid is not False]

    @property
    def standing(self) -> list[Record]:
        """Those of them that it did not break."""
        return [row for row in self.tried if not row.outcome["success"]]


def of(part: int, whole: int, noun: str = "image") -> str:
    """A count in words.

    >>> of(3, 24), of(1, 1)
    ('3 of 24 images', '1 of 1 image')
    """
    return f"{part} of {whole} {noun}{'' if whole == 1 else 's'}"


def named(names: Sequence[str], most: int = 3) -> str:
    """Names in brackets, the later ones counted.

    >>> named(["a", "b", "c", "d"]), named(["a"])
    ('(a, b, c and 1 more)', '(a)')
    """
    rest = len(names) - most
    return f"({', '.join(names[:most])}{f' and {rest} more' if rest > 0 else ''})"
