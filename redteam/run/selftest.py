"""Runs the whole engine on specimens that are broken on purpose and on healthy ones: does every red flag notice what it is there for, and nothing else?"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from redteam import registry
from redteam.attack import Attack
from redteam.run.environment import quiet
from redteam.run.executing import Executor
from redteam.run.finalising import finalise
from redteam.run.ledger import RunDir
from redteam.run.machine import Finding, positive_control
from redteam.run.specimens import Specimen, specimens
from redteam.scenario.matrix import kind_of
from redteam.scenario.model import SCHEMA, AttackEntry, DataEntry, DefenseEntry, Scenario, Sentinels, TargetEntry, Variant
from redteam.scenario.plan import Options, make_plan

FLAGS = tuple(f"R{number}" for number in range(1, 23))
RANK = ("invalid", "upper_bound", "note")
SENTINELS = Sentinels(sample=24, share=1.0)


@dataclass(frozen=True)
class Looked:
    """What was raised on one specimen.

    raised: flag -> its gravest severity
    """

    name: str
    expected: tuple[str, ...]
    raised: dict[str, str]

    @property
    def missed(self) -> tuple[str, ...]:
        """Flags that should have noticed it and did not."""
        return tuple(flag for flag in self.expected if flag not in self.raised)

    @property
    def alarms(self) -> tuple[str, ...]:
        """Flags that were raised on something healthy."""
        return () if self.expected else tuple(self.raised)

    @property
    def passed(self) -> bool:
        """Whether it is as it must be."""
        return not self.missed and not self.alarms


@dataclass(frozen=True)
class Selftest:
    """Everything that was looked at.

    control:   the positive control: an attack that must succeed does
    untested:  flags that no specimen is there for
    """

    looked: tuple[Looked, ...]
    control: Finding
    untested: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether the verdicts of this installation can be believed."""
        return all(one.passed for one in self.looked) and self.control.state == "ok" and not self.untested


def selftest(tell: Callable[[Looked], None] = lambda looked: None) -> Selftest:
    """Look at every specimen, in this process; `tell` hears of each."""
    found = []
    with tempfile.TemporaryDirectory() as name, quiet():
        folder = Path(name)
        (folder / "files").mkdir()
        for number, specimen in enumerate(specimens(folder / "files")):
            found.append(Looked(specimen.name, specimen.expected, raised(specimen, folder / f"run-{number}")))
            tell(found[-1])
        control = positive_control("cpu")
    covered = {flag for one in found for flag in one.expected}
    return Selftest(tuple(found), control, tuple(flag for flag in FLAGS if flag not in covered))


def raised(specimen: Specimen, folder: Path) -> dict[str, str]:
    """Flag -> its gravest severity over the cells of a run on one specimen; the run directory is `folder`."""
    plan = make_plan(scenario_of(specimen, folder), Options())
    run_dir = RunDir(folder)
    run_dir.create()
    executor = Executor(plan, run_dir)
    for unit in plan.execution_order():
        executor.run(unit)
    flags = [flag for cell in finalise(plan, run_dir).summary["cells"] for flag in cell["flags"]]
    ordered = sorted(flags, key=lambda flag: (int(flag["id"][1:]), -RANK.index(flag["severity"])))
    return {flag["id"]: flag["severity"] for flag in ordered}


def scenario_of(specimen: Specimen, folder: Path) -> Scenario:
    """The scenario that a specimen is run under, its sentinels at full strength."""
    data = {role: (DataEntry(role, role, "given", corpus),) for role, corpus in specimen.data.items()}
    return Scenario(
        schema_=SCHEMA, name="selftest", seed=0, folder=folder, data=data, targets=(TargetEntry("mine", "mine", specimen.target),),
        defenses=(DefenseEntry("none", "none", registry.get("defenses", "none")()),), attacks=_entries(specimen.attacks), file=specimen.file, sentinels=SENTINELS,
    )  # fmt: skip


def _entries(attacks: Sequence[Attack]) -> tuple[AttackEntry, ...]:
    """Attacks of one class under one id, as a sweep has them, the others each under its own."""
    found: dict[str, list[Variant]] = {}
    for attack in attacks:
        strength: dict[str, Any] = attack.strengths()
        name = kind_of(attack) if all(variant.strength != strength for variant in found.get(kind_of(attack), ())) else f"{kind_of(attack)}-{len(found)}"
        found.setdefault(name, []).append(Variant(strength, attack))
    return tuple(AttackEntry(name, name.partition("-")[0], tuple(variants)) for name, variants in found.items())
