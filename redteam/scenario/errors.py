"""Problems of a scenario: a code, a place in the file, one sentence with a repair, and the line with a caret."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Literal

CODES: dict[str, str] = {
    "RT100": "the scenario is empty or not a mapping",
    "RT101": "a key is missing",
    "RT102": "a key is unknown",
    "RT103": "a value has the wrong type",
    "RT104": "a value is out of range or not one of the choices",
    "RT105": "a component refuses the combination of its values",
    "RT106": "an id or a name is malformed",
    "RT107": "an id appears twice in one list",
    "RT108": "an id is reserved for a control arm",
    "RT109": "no component of that kind",
    "RT110": "a component cannot be imported",
    "RT120": "the file cannot be read",
    "RT121": "the file is too large",
    "RT122": "the file is not UTF-8 text",
    "RT123": "the file is not valid YAML",
    "RT124": "the file holds several documents",
    "RT125": "the file nests too deeply",
    "RT126": "an anchor or an alias",
    "RT127": "a merge key",
    "RT128": "a tag",
    "RT129": "a key is written twice",
    "RT130": "a key is not text",
    "RT131": "a number in a notation that YAML versions read differently",
    "RT132": "a number that is not finite or too large",
    "RT141": "what a scenario extends cannot be used",
    "RT142": "a --set leads nowhere",
    "RT201": "a sweep is malformed",
    "RT202": "a sweep has one value twice",
    "RT203": "a sweep where none is allowed",
    "RT204": "sweeps multiply to too many variants",
    "RT211": "a chain is malformed",
    "RT212": "a stage of a chain is itself a chain",
    "RT213": "a stage refers to an attack that does not exist",
    "RT221": "a reference leads nowhere",
    "RT301": "an attack needs more access than a target gives",
    "RT302": "a goal that this kind of target does not have",
    "RT303": "a goal on an attack that treats both classes alike",
    "RT304": "an attack needs masks that the data does not have",
    "RT305": "a threshold without calibration data",
    "RT306": "a data role that nothing uses (warning)",
    "RT307": "a value that has no effect (warning)",
    "RT308": "a surrogate that is no detector, or gives less than the attack asks of it",
    "RT311": "an exclusion names what does not exist",
    "RT312": "an exclusion names a control arm",
    "RT313": "an exclusion that excludes nothing (warning)",
    "RT314": "everything is excluded",
    "RT321": "no metric of that name",
    "RT322": "a requirement is malformed",
    "RT323": "a gate selects by what does not exist",
    "RT324": "a gate selects no cell",
    "RT331": "one image is in the evaluation data and in other data",
    "RT332": "a corpus cannot be listed",
    "RT401": "a target cannot be loaded or asked",
    "RT402": "a target's polarity is wrong",
    "RT403": "a target's input range fits worse than another",
    "RT404": "scores that are not numbers",
    "RT405": "one score for all images",
    "RT406": "a target in train mode",
    "RT407": "a gradient that is absent or zero",
    "RT408": "answers that do not repeat",
    "RT409": "an output that is not what is declared",
    "RT410": "scores that say less than they should",
    "RT411": "an AUC that cannot be told from chance, or not at all",
    "RT412": "a threshold that is wrong about a class, or cannot be trusted",
    "RT333": "format, compression or size of the files alone tell real from fake images (warning)",
}

_WIDEST = 110  # columns of a source line that are shown, so that the caret stays under its text in a terminal


@dataclass(frozen=True, order=True)
class Mark:
    """A place in one of the texts that a scenario is made of.

    line, column: from 1
    width:        columns that the caret underlines
    part:         which text: 0 is the file itself, then what it extends, then each --set
    """

    line: int
    column: int
    width: int = 1
    part: int = 0


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong, where, and what to do about it.

    code:     a key of CODES
    path:     the place in words, such as attacks.2.pgd.eps; empty for the whole file
    mark:     the place in the file; None where the file itself cannot be read
    message:  one sentence: what must be, what was given, the repair
    hint:     a command that tells more
    severity: error or warning
    file:     name of the scenario as it was given
    source:   the line of the file that `mark` points into
    """

    code: str
    path: str
    mark: Mark | None
    message: str
    hint: str | None = None
    severity: Literal["error", "warning"] = "error"
    file: str = ""
    source: str = ""

    def __str__(self) -> str:
        place = f":{self.mark.line}:{self.mark.column}" if self.mark else ""
        word = "warning " if self.severity == "warning" else ""
        head = f"{self.file}{place}: {word}{self.code} {self.path + ': ' if self.path else ''}{self.message}"
        return "\n".join([head, *self._excerpt(), *([f"{'':6} = {self.hint}"] if self.hint else [])])

    def _excerpt(self) -> list[str]:
        if self.mark is None:
            return []
        text = "".join(c if c.isprintable() else " " for c in self.source).rstrip()
        first = max(0, min(self.mark.column - 1 - _WIDEST // 2, len(text) - _WIDEST))
        shown = text[first : first + _WIDEST]
        shown = f"{'...' if first else shown[:3]}{shown[3:-3]}{'...' if first + _WIDEST < len(text) else shown[-3:]}" if len(shown) > 6 else shown
        column = self.mark.column - 1 - first
        caret = "^" + "~" * (min(self.mark.width, _WIDEST - column) - 1)
        return [f"{self.mark.line:>6} | {shown}".rstrip(), f"{'':6} | {' ' * column}{caret}"]

    def as_dict(self) -> dict[str, object]:
        """Plain JSON types; `line` and `column` are null where there is no place."""
        row = {**asdict(self), "line": self.mark and self.mark.line, "column": self.mark and self.mark.column}
        return {name: value for name, value in row.items() if name not in ("mark", "source")}


def in_order(problems: Iterable[Problem]) -> list[Problem]:
    """Problems by line and column, those of a file that is extended after those of the file itself; those without a place first."""
    return sorted(problems, key=lambda p: ((p.mark.part, p.mark.line, p.mark.column) if p.mark else (0, 0, 0), p.code, p.message))


def to_json(problems: Iterable[Problem]) -> str:
    """Strict JSON for `validate --json`, errors and warnings alike."""
    rows = [problem.as_dict() for problem in in_order(problems)]
    return json.dumps({"schema": "redteam.problems/1", "problems": rows}, allow_nan=False)


class ScenarioError(Exception):
    """A scenario that cannot run: every error and warning that was found, in the order of the file."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(in_order(problems))
        super().__init__("\n".join(str(problem) for problem in self.problems))

    def to_json(self) -> str:
        """All problems as strict JSON."""
        return to_json(self.problems)
