"""A scenario file -> a Scenario, or every problem that it has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from redteam.files import FileFormat
from redteam.scenario.attacks import attack_entries
from redteam.scenario.checks import check_data, check_meaning, check_roles
from redteam.scenario.components import Part, Placed, build, placed
from redteam.scenario.document import SLUG
from redteam.scenario.entries import SLUG_RULE, data_entries, defense_entries, target_entries
from redteam.scenario.errors import Problem
from redteam.scenario.exclusions import check_exclusions, exclusions
from redteam.scenario.gates import check_gates, gates
from redteam.scenario.layers import read_layers
from redteam.scenario.matrix import cells
from redteam.scenario.model import SCHEMA, Limits, Scenario
from redteam.scenario.reading import Reading
from redteam.scenario.scalars import shown

REQUIRED = ("schema", "name", "data", "targets", "attacks")
KEYS = ("schema", "extends", "name", "seed", "repeats", "data", "targets", "defenses", "attacks", "file", "matrix", "limits", "gates")


@dataclass(frozen=True, kw_only=True)
class Head:
    """The plain values of a scenario."""

    schema: Literal["redteam/v1"] = SCHEMA
    name: str = ""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    repeats: Annotated[int, Field(ge=1, le=1000)] = 1


def load(path: Path, *, folder: Path | None = None, name: str | None = None, sets: Sequence[str] = (), read_data: bool = False) -> tuple[Scenario, list[Problem]]:
    """The scenario in a file, and warnings about it; relative paths start at `folder`, or beside the file; `name` is what messages call it.

    `sets` are KEY=VALUE that stand above the file. `read_data` also looks at the data: images of eval in other roles, and files that tell the classes apart.
    Raises ScenarioError with every problem that was found.
    """
    reading = Reading(read_layers(path, name=name, folder=folder, sets=sets), folder or Path(path).absolute().parent)
    return understood(reading, read_data=read_data)


def understood(reading: Reading, *, read_data: bool = False) -> tuple[Scenario, list[Problem]]:
    """As `load`, for a document that was read."""
    if not reading.document.complete:
        reading.raise_errors()
    if not isinstance(reading.document.data, dict):
        reading.error("RT100", (), f"a scenario must be a mapping with {', '.join(REQUIRED)}, got {shown(reading.document.data)}; begin with schema: {SCHEMA}")
        reading.raise_errors()
    scenario = _scenario(reading)
    check_meaning(reading, scenario)
    reading.raise_errors()
    check_roles(reading, scenario)
    check_exclusions(reading, scenario)
    if scenario.gates:
        check_gates(reading, scenario.gates, cells(scenario))
    if read_data and not reading.broken:
        check_data(reading, scenario)
    reading.raise_errors()
    return scenario, reading.warnings


def _scenario(reading: Reading) -> Scenario:
    _check_keys(reading)
    data = reading.document.data
    head = build(reading, Part(Head, {name: Placed(data[name], (name,)) for name in ("schema", "name", "seed", "repeats") if name in data}, (), "a scenario")) or Head()
    if isinstance(name := data.get("name"), str) and (not SLUG.fullmatch(name) or name.endswith(".")):
        reading.error("RT106", ("name",), f"a name {SLUG_RULE}, since folders are named after it, got {shown(name)}; rename it")
    return Scenario(
        schema_=head.schema, name=head.name, seed=head.seed, repeats=head.repeats, folder=reading.folder, beside=tuple(text.folder for text in reading.document.texts if text.folder),
        data=data_entries(reading) if "data" in data else {},
        targets=target_entries(reading) if "targets" in data else (),
        defenses=defense_entries(reading),
        attacks=attack_entries(reading) if "attacks" in data else (),
        file=_file(reading), limits=_section(reading, "limits", Limits),
        exclude=exclusions(reading), gates=gates(reading),
    )  # fmt: skip


def _check_keys(reading: Reading) -> None:
    data = reading.document.data
    for key in data.keys() - set(KEYS):
        reading.unknown((key,), KEYS, "a scenario takes")
    for key in REQUIRED:
        if key not in data:
            reading.missing((key,), f"a scenario has {', '.join(REQUIRED)}")


def _file(reading: Reading) -> FileFormat:
    written = reading.at(("file",))
    found = _section(reading, "file", FileFormat)
    if found.format == "png" and isinstance(written, dict) and "quality" in written:
        reading.warning("RT307", ("file", "quality"), "has no effect, since png loses nothing; delete it, or write format: jpeg")
    return found


def _section(reading: Reading, name: str, cls: type) -> Any:
    if name not in reading.document.data or (entry := reading.mapping((name,))) is None:
        return cls()
    return build(reading, Part(cls, placed(entry, (name,)), (name,), name)) or cls()
