"""A scenario as it stands after validation: every component built, every number checked."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from redteam.attack import Attack
from redteam.data.corpus import Corpus
from redteam.defense import Defense
from redteam.files import FileFormat
from redteam.scenario.errors import Mark
from redteam.target import TargetSpec

SCHEMA = "redteam/v1"
ROLES = ("eval", "calib", "train")
CONTROLS = ("identity", "noise")  # attack ids of the control arms, which are added by themselves
On = Literal["value", "ci_lower", "ci_upper"]


@dataclass(frozen=True)
class DataEntry:
    """One corpus in its role: `eval`, `calib` or `train`."""

    id: str
    role: str
    kind: str
    corpus: Corpus


@dataclass(frozen=True)
class TargetEntry:
    """One target as it was declared; `kind` is its component, or zoo/<name>."""

    id: str
    kind: str
    spec: TargetSpec


@dataclass(frozen=True)
class DefenseEntry:
    """One defense."""

    id: str
    kind: str
    defense: Defense


@dataclass(frozen=True)
class Variant:
    """One setting of an attack.

    strength: the attack's own strengths and every swept number; a chain's keys are stage.parameter
    """

    strength: dict[str, float]
    attack: Attack


@dataclass(frozen=True)
class AttackEntry:
    """One attack with all the settings that its sweeps give, in written order; `kind` is its component, or chain."""

    id: str
    kind: str
    variants: tuple[Variant, ...]


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a run puts up with.

    sample_timeout_s: seconds that one image may take under one attack
    max_error_rate:   share of images that may fail before a cell is incomplete
    """

    sample_timeout_s: Annotated[float, Field(gt=0)] = 300
    max_error_rate: Annotated[float, Field(ge=0, le=1)] = 0.01


@dataclass(frozen=True)
class Gate:
    """A requirement on every cell that it selects.

    id:      unique among the gates
    metric:  a name of measure/names.py
    where:   cell coordinates and strengths; a gate that does not say `attack` selects no control cell
    require: operator (<=, <, >=, >) and number
    on:      the figure itself, or an end of its interval
    min_n:   images that the figure must rest on
    mark:    where it stands in the file
    """

    id: str
    metric: str
    where: dict[str, Any]
    require: tuple[str, float]
    on: On = "value"
    min_n: int = 0
    mark: Mark | None = field(default=None, compare=False)


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """Everything that a run is asked to do.

    schema_: version of the scenario's language
    name:    safe as a file name
    seed:    all randomness derives from it
    folder:  where the file stands; relative paths resolve against it
    beside:  where the file that it extends stands, if it extends one: its paths resolve against that
    data:    role -> corpora
    file:    what every image is saved to before it is scored
    exclude: coordinates of cells that are left out; see matrix.is_excluded
    repeats: how often each attack cell runs, with other randomness
    """

    schema_: str
    name: str
    seed: int
    folder: Path
    data: dict[str, tuple[DataEntry, ...]]
    targets: tuple[TargetEntry, ...]
    defenses: tuple[DefenseEntry, ...]
    attacks: tuple[AttackEntry, ...]
    file: FileFormat = FileFormat()
    exclude: tuple[dict[str, str], ...] = ()
    limits: Limits = Limits()
    gates: tuple[Gate, ...] = ()
    repeats: int = 1
    beside: tuple[Path, ...] = ()

    @property
    def folders(self) -> tuple[Path, ...]:
        """Where user code finds its neighbours."""
        return (self.folder, *self.beside)
