"""Two runs side by side: their cells matched, and a refusal where they are not about the same images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from redteam.record import Record, read_records
from redteam.reports import wording
from redteam.reports.directory import RunDirectory, read_run

Json = Mapping[str, Any]


class NotTheSame(ValueError):
    """The runs cannot be compared; the message says in what they differ."""


class Unfinished(NotTheSame):
    """Units of a run are missing."""


class Answer(NamedTuple):
    """What a comparison looks at in one row; `scored` is whether the target gave the image a finite score."""

    label: int
    group: str
    scored: bool
    score: float | None
    decision: int | None
    attackable: bool
    success: bool


class Picture(NamedTuple):
    """What an image must share in both runs; sha256 is None where it could not be read."""

    label: int
    group: str
    sha256: str | None


@dataclass(frozen=True)
class Side:
    """One finished run.

    answers: cell key -> image id -> its row
    images:  corpus -> image id -> the image
    """

    run: RunDirectory
    answers: Mapping[str, Mapping[str, Answer]]
    images: Mapping[str, Mapping[str, Picture]]

    @property
    def cells(self) -> Sequence[Json]:
        """As summary.json has them."""
        return self.run.summary["cells"]


@dataclass(frozen=True)
class Match:
    """A cell of the first run and the one of the second that asks the same; None where a run has none.

    reason: why the two cannot be compared; empty where they can
    lost:   whether the second run does not tell what the first one did
    """

    first: Json | None
    second: Json | None
    reason: str = ""
    lost: bool = False

    @property
    def cell(self) -> Json:
        """The one that names both."""
        return self.first or self.second or {}


@dataclass
class _Reading:
    answers: dict[str, dict[str, Answer]] = field(default_factory=dict)
    images: dict[str, dict[str, Picture]] = field(default_factory=dict)

    def add(self, row: Record) -> None:
        outcome = row.outcome
        scored = row.status == "ok" and outcome.get("score") is not None
        answer = Answer(row.label, row.group, scored, outcome.get("score"), outcome.get("decision"), bool(outcome.get("attackable")), bool(outcome.get("success")))
        self.answers.setdefault(row.cell, {})[row.id] = answer
        known = self.images.setdefault(row.data, {})
        if row.id not in known or known[row.id].sha256 is None:
            known[row.id] = Picture(row.label, row.group, row.sha256)


def read_side(path: Path) -> Side:
    """A finished run and its rows.

    Raises:
        RunDirectoryError: summary.json is missing, broken, or of another version.
        Unfinished: units of the run are missing.
        NotTheSame: its rows are missing or broken.
    """
    run = read_run(path)
    if not run.complete:
        raise Unfinished(f"{path}: must be complete, got a run with missing units; finish it with: redteam resume {path}")
    reading = _Reading()
    try:
        for row in read_records(path / "results.jsonl"):
            reading.add(row)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise NotTheSame(f"{path / 'results.jsonl'}: must hold a record on every line, got {type(error).__name__}; write it again with: redteam resume {path}") from error
    return Side(run, reading.answers, reading.images)


def matches(first: Side, second: Side, selects: Callable[[Json], bool], targets: Mapping[str, str]) -> list[Match]:
    """The selected cells of both runs, those of the first in its order and then what only the second has. `targets` says which target of the second stands for one of the first."""
    stands_for = {second_id: first_id for first_id, second_id in targets.items()}
    own = {cell["target"]: stands_for.get(cell["target"], f"{cell['target']} of the second run" if cell["target"] in targets else cell["target"]) for cell in second.cells}
    there = {_coordinates({**cell, "target": own[cell["target"]]}): cell for cell in second.cells}
    limit = min(float((side.run.summary.get("limits") or {}).get("max_error_rate", 0.0)) for side in (first, second))
    found = []
    for cell in filter(selects, first.cells):
        other = there.pop(_coordinates(cell), None)
        found.append(Match(cell, other, *_hindrance(cell, other, limit)))
    return found + [Match(None, cell, "only in the second run") for cell in filter(selects, there.values())]


def check_files(first: Side, second: Side) -> None:
    """Raise NotTheSame where the runs save images differently before they are scored."""
    formats = [_file(side.run.summary.get("file") or {}) for side in (first, second)]
    if formats[0] != formats[1]:
        raise NotTheSame(f"the first run scores images saved as {formats[0]}, the second as {formats[1]}; run both with the same `file`")


def check_images(first: Side, second: Side, data: str) -> None:
    """Raise NotTheSame, with the first difference, unless a corpus is the same images in both runs."""
    one, two = first.images.get(data, {}), second.images.get(data, {})
    for said in _different(one, two):
        raise NotTheSame(f"{wording.plain(data)}: {said}; give both runs the same images, or compare them as different samples with --unpaired")


def _different(one: Mapping[str, Picture], two: Mapping[str, Picture]) -> Iterator[str]:
    for names, which in (([n for n in one if n not in two], "first"), ([n for n in two if n not in one], "second")):
        if names:
            yield f"{wording.counted(len(names), 'image')} {'is' if len(names) == 1 else 'are'} only in the {which} run (such as {wording.plain(names[0])})"
    for part, said in (("label", "another label"), ("sha256", "other pixels"), ("group", "another source group")):
        pairs = [(name, getattr(one[name], part), getattr(two[name], part)) for name in one]
        unlike = [(name, a, b) for name, a, b in pairs if a != b and None not in (a, b)]
        if unlike:
            name, a, b = unlike[0]
            values = "" if part == "sha256" else f": {wording.plain(a)} and {wording.plain(b)}"
            yield f"{wording.counted(len(unlike), 'image')} {'has' if len(unlike) == 1 else 'have'} {said} (such as {wording.plain(name)}{values})"


def _coordinates(cell: Json) -> tuple[Any, ...]:
    """What two cells must share; a noise arm is known by its budget too."""
    strength = tuple(sorted((cell.get("strength") or {}).items()))
    noise = (cell.get("norm"), cell.get("eps")) if cell.get("control") else ()
    return (cell["data"], cell["target"], cell["defense"], cell["attack"], cell.get("goal"), strength, cell.get("repeat", 0), noise)


def _hindrance(first: Json, second: Json | None, limit: float) -> tuple[str, bool]:
    """Why two cells cannot be compared, and whether that hides what the second run would have told."""
    if second is None:
        return "only in the first run", True
    invalid = [cell.get("verdict") == "invalid" for cell in (first, second)]
    if any(invalid):
        flags = {str(flag.get("id")) for cell, broken in zip((first, second), invalid, strict=True) if broken for flag in cell.get("flags") or () if flag.get("severity") == "invalid"}
        where = "both runs" if all(invalid) else "the first run" if invalid[0] else "the second run"
        return f"invalid in {where} ({', '.join(sorted(flags)) or 'no flag'})", not invalid[0]
    if unlike := _settings(first, second):
        return f"the attack is another: {unlike}", True
    mute = [_without_score(cell) for cell in (first, second)]
    if abs(mute[1] - mute[0]) > limit:
        return f"{mute[0]:.0%} of the images have no score in the first run and {mute[1]:.0%} in the second, and only {limit:.0%} may be lost", mute[1] > mute[0]
    return "", False


def _without_score(cell: Json) -> float:
    """The share of a cell's images for which there is no score, which no comparison could look at."""
    return (cell.get("errors", 0) + cell.get("unscoreable", 0)) / cell["n"] if cell.get("n") else 0.0


def _settings(first: Json, second: Json) -> str:
    """In what two attacks of one name differ."""
    if first.get("kind") != second.get("kind"):
        return f"{wording.plain(first.get('kind'))} and {wording.plain(second.get('kind'))}"
    one, two = first.get("params") or {}, second.get("params") or {}
    names = [name for name in sorted({*one, *two}) if one.get(name) != two.get(name)]
    return ", ".join(f"{wording.plain(name)} {wording.plain(one.get(name))} and {wording.plain(two.get(name))}" for name in names)


def _file(file: Json) -> str:
    name = wording.plain(file.get("format"))
    return name if name == "png" else f"{name} of quality {wording.plain(file.get('quality'))}"
