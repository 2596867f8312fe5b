"""One JSON row: one image under one cell. Reports read these and nothing else; no time and no host name stands in them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from redteam.seeding import canonical, digest

SCHEMA = "redteam.result/1"
Status = Literal["ok", "error", "timeout", "crash", "oom"]


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One square of the matrix.

    data, target, defense, attack: ids of the scenario; `identity` and `noise` are the control arms
    goal:     what the adversary wants; evade+frame is both directions in one cell
    strength: the numbers that place the attack on its axis; a chain's keys are stage.parameter
    kind:     the attack's component name, or chain
    params:   everything that the attack was configured with
    norm:     of the budget; null for attacks without one
    eps:      of the budget, image units
    control:  whether it is a control arm
    repeat:   which repetition, from 0
    controls: keys of the control cells that belong to it
    """

    data: str
    target: str
    defense: str
    attack: str
    goal: str
    kind: str
    strength: dict[str, float] = field(default_factory=dict)
    params: dict[str, Any] = field(default_factory=dict)
    norm: str | None = None
    eps: float | None = None
    control: bool = False
    repeat: int = 0
    controls: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """32 hexadecimal digits that name this cell wherever it runs."""
        return digest({"data": self.data, "target": self.target, "defense": self.defense, "attack": self.attack, "kind": self.kind, "goal": self.goal, "params": self.params, "repeat": self.repeat})

    @property
    def label(self) -> str:
        """How a person would call the attack of this cell: `pgd eps=0.0157`."""
        return " ".join([self.attack, *(f"{name}={number:.4g}" for name, number in self.strength.items())])


@dataclass(frozen=True, kw_only=True)
class Record:
    """What happened to one image in one cell.

    rid:       names this row: cell, image and repeat
    cell:      key of the cell
    id, sha256, label, group, height, width: the image as it was; sha256 of its 8-bit pixels
    goal:      what was wanted of this image: evade for label 1, frame for label 0
    status:    ok, or why there is no outcome; `reason` says it in a sentence
    clean_rid: the identity row of the same image, target and defense
    outcome:   score (log-odds of label 1), threshold, decision, clean_decision, attackable (right when clean), success; for identity also
               source_score (before the file) and repeat_score (asked again in another batch)
    quality:   psnr_db, ssim, linf_levels, l2 between what the two files hold; null where undefined, with the reason in `nonfinite`
    valid:     whether the budget was kept, measured on the 8-bit grid
    cost:      queries, forwards, backwards, zero_gradients, broken_gradients, first_gradient_zero; of a transfer attack also surrogate_queries, surrogate_backwards
    artifacts: files of the run directory that show this row: role -> relative path
    determinism: tier, seed; micro_batch where the tier is microbatch, effective_batch where memory was short and fewer images were computed together
    warnings:  codes: zero_gradient, attack_noop, input_mutated, ran_alone, memory_backoff
    """

    rid: str
    cell: str
    data: str
    target: str
    defense: str
    attack: str
    strength: dict[str, float]
    repeat: int
    id: str
    sha256: str | None
    label: int
    group: str
    height: int
    width: int
    goal: str
    status: Status = "ok"
    reason: str | None = None
    clean_rid: str | None = None
    outcome: dict[str, Any] = field(default_factory=dict)
    quality: dict[str, float | None] = field(default_factory=dict)
    nonfinite: dict[str, str] = field(default_factory=dict)
    valid: bool | None = None
    cost: dict[str, int | bool] = field(default_factory=dict)
    artifacts: dict[str, str] = field(default_factory=dict)
    determinism: dict[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    schema: str = SCHEMA

    def to_json(self) -> str:
        """One line of strict JSON, keys sorted; NaN is a bug and raises."""
        return canonical(vars(self))

    @classmethod
    def from_json(cls, line: str) -> Record:
        """The record that `to_json` wrote."""
        row = json.loads(line)
        return cls(**{**row, "warnings": tuple(row["warnings"])})


def rid(cell: str, image: str) -> str:
    """The name of one row."""
    return digest([cell, image])


def finite(values: dict[str, float]) -> tuple[dict[str, float | None], dict[str, str]]:
    """Figures -> (figures with null for what is not a number, and what it was): a null must never be read as 0.

    >>> finite({"psnr_db": float("inf"), "ssim": 1.0})
    ({'psnr_db': None, 'ssim': 1.0}, {'psnr_db': '+inf'})
    """
    kept = {name: value if math.isfinite(value) else None for name, value in values.items()}
    lost = {name: "nan" if math.isnan(value) else "+inf" if value > 0 else "-inf" for name, value in values.items() if not math.isfinite(value)}
    return kept, lost


def read_records(path: Path) -> Iterator[Record]:
    """The rows of a results.jsonl, one at a time."""
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            yield Record.from_json(line)
