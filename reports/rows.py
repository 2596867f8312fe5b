"""One pass over results.jsonl: of each row what the figures need, cell by cell, and the few rows whose images are shown."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from redteam.record import Record
from redteam.reports.wording import number

SHOWN_WITH = {"before", "after"}  # the files of a row whose images can be shown


@dataclass(frozen=True, slots=True)
class Answer:
    """What the reports keep of one image under one cell.

    score:      log-odds of label 1; None where the target gave none
    decision:   0 or 1; None where there is no score
    attackable: whether the target was right about the clean image
    success:    whether the adversary got what it wanted
    kept:       whether the budget was kept
    quality:    figure -> value; infinite PSNR where nothing changed, left out where undefined
    """

    id: str
    label: int
    group: str
    score: float | None
    decision: int | None
    attackable: bool
    success: bool
    kept: bool
    quality: dict[str, float]


@dataclass
class Rows:
    """What one pass over the records found.

    answers:  key of the cell -> its scoreable images, in plan order
    lost:     key of the cell -> how many rows have no outcome, by status
    exhibits: the first row of each label and attacked cell that has both files
    clean:    rid of a clean row -> its score
    problems: a sentence where lines are broken or the file is missing
    """

    answers: dict[str, list[Answer]] = field(default_factory=dict)
    lost: dict[str, Counter[str]] = field(default_factory=dict)
    exhibits: list[Record] = field(default_factory=list)
    clean: dict[str, Any] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def read_rows(path: Path, controls: frozenset[str]) -> Rows:
    """The rows of a results.jsonl; `controls` are the keys of the control cells, whose images are not shown."""
    found = Rows()
    shown: set[tuple[str, int]] = set()
    for record in _records(path, found.problems):
        place = (record.cell, record.label)
        if record.attack == "identity":
            found.clean[record.rid] = record.outcome.get("score")
        elif place not in shown and record.cell not in controls and set(record.artifacts) >= SHOWN_WITH:
            shown.add(place)
            found.exhibits.append(record)
        if record.status != "ok":
            found.lost.setdefault(record.cell, Counter())[str(record.status)] += 1
        elif number(record.outcome.get("score")) is not None:
            found.answers.setdefault(record.cell, []).append(_answer(record))
    return found


def _answer(record: Record) -> Answer:
    outcome = record.outcome
    quality = {name: value for name, figure in record.quality.items() if (value := number(figure)) is not None}
    quality |= {name.removeprefix("quality."): math.inf for name, said in record.nonfinite.items() if said == "+inf" and name.startswith("quality.")}
    return Answer(
        record.id, record.label, record.group, number(outcome.get("score")), outcome.get("decision"),
        bool(outcome.get("attackable")), bool(outcome.get("success")), record.valid is not False, quality,
    )  # fmt: skip


def _records(path: Path, problems: list[str]) -> Iterator[Record]:
    """The rows in order; a broken line is left out and counted in one sentence of `problems`."""
    broken = 0
    try:
        with open(path, encoding="utf-8", errors="replace") as lines:
            for line in lines:
                try:
                    yield Record.from_json(line)
                except (ValueError, TypeError, KeyError):
                    broken += 1
    except OSError:
        problems.append("results.jsonl is missing or cannot be read: single images cannot be shown.")
    if broken:
        problems.append(f"results.jsonl has {broken} broken line{'s' if broken > 1 else ''}, left out of the figures and the gallery.")
