"""A document while it is read: its values, and every problem found so far, each at its place."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from redteam.scenario.document import Document, Place, value_at, words
from redteam.scenario.errors import Problem, ScenarioError, in_order
from redteam.scenario.scalars import shown


class Reading:
    """Collects problems instead of raising the first one.

    folder: where the scenario stands
    """

    def __init__(self, document: Document, folder: Path) -> None:
        self.document = document
        self.folder = folder
        self.problems: list[Problem] = list(document.problems)
        self._refused = {problem.mark for problem in document.problems}
        self._meant: set[Place] = set()  # keys that a misspelt one was probably meant to be

    def error(self, code: str, path: Place, message: str, hint: str | None = None) -> None:
        """Note an error at a value; a combination of values is refused at what was set last."""
        mark = self.document.last_set(path) if code == "RT105" else self.document.mark(path)
        self._note(Problem(code, words(self.document.data, path), mark, message, hint))

    def key_error(self, code: str, path: Place, message: str, hint: str | None = None) -> None:
        """Note an error at a key that should not be there: the caret stands at the key, the words name what holds it."""
        self._note(Problem(code, words(self.document.data, path, steps=-1), self.document.mark(path, key=True), message, hint))

    def unknown(self, path: Place, known: Iterable[str], otherwise: str, hint: str | None = None, *, what: str = "key") -> None:
        """Note a key that does not exist, with the one that was probably meant or all there are."""
        names = list(known)
        self.key_error("RT102", path, f"unknown {what} {path[-1]!r}; {repair(str(path[-1]), names, otherwise)}", hint)
        if found := nearest(str(path[-1]), names):
            self._meant.add((*path[:-1], found))

    def missing(self, path: Place, message: str, hint: str | None = None) -> None:
        """Note a key that is not there, unless it was misspelt or lost with what YAML refused."""
        if path not in self._meant and path[:-1] not in self.document.gaps:
            self.error("RT101", path[:-1], f"missing key {path[-1]!r}; {message}", hint)

    def warning(self, code: str, path: Place, message: str) -> None:
        """Note at a key what is allowed and probably not meant."""
        self._note(Problem(code, words(self.document.data, path), self.document.mark(path, key=True), message, severity="warning"))

    def _note(self, problem: Problem) -> None:
        pointed = self.document.pointed(problem)
        if problem.mark not in self._refused and pointed not in self.problems:  # what YAML refused there explains the rest
            self.problems.append(pointed)

    @property
    def broken(self) -> bool:
        """Whether there is an error among the problems."""
        return any(problem.severity == "error" for problem in self.problems)

    @property
    def warnings(self) -> list[Problem]:
        """The warnings in the order of the file."""
        return in_order(problem for problem in self.problems if problem.severity == "warning")

    def raise_errors(self) -> None:
        """Raises ScenarioError with all problems if there is an error among them."""
        if self.broken:
            raise ScenarioError(self.problems)

    def at(self, path: Place) -> Any:
        """The value at a place; None where there is none."""
        return value_at(self.document.data, path)

    def folder_of(self, path: Place) -> Path:
        """Where the relative paths of a value start: beside the file that it was written in."""
        return self.document.folder(path) or self.folder

    def ids(self, section: str) -> dict[str, Place]:
        """The ids that a section declares, valid entries or not, and where."""
        if section == "data":
            named = [(self._data_id(path), path) for path in self.corpora("eval")]
        else:
            entries = self.at((section,))
            named = [(value_at(entry, ("id",)), (section, i)) for i, entry in enumerate(entries if isinstance(entries, list) else [])]
        found: dict[str, Place] = {}
        for name, path in named:
            if isinstance(name, str):
                found.setdefault(name, path)
        return found

    def corpora(self, role: str) -> list[Place]:
        """The places of a role's corpora: a role holds one mapping or a list of them."""
        value = self.at(("data", role))
        return [("data", role, i) for i in range(len(value))] if isinstance(value, list) else [("data", role)]

    def _data_id(self, path: Place) -> Any:
        entry = self.at(path)
        return entry.get("id", entry.get("kind")) if isinstance(entry, dict) else None

    def mapping(self, path: Place) -> dict[str, Any] | None:
        """The mapping at a place; notes an error and gives None where there is something else."""
        value = self.at(path)
        if not isinstance(value, dict):
            self.error("RT103", path, f"must be a mapping, got {shown(value)}; write {{key: value}}")
            return None
        return value

    def sequence(self, path: Place) -> list[Any]:
        """The list at a place; notes an error and gives nothing where there is something else."""
        value = self.at(path)
        if not isinstance(value, list):
            self.error("RT103", path, f"must be a list, got {shown(value)}; start each entry with '- '")
            return []
        return value


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that was probably meant.

    >>> nearest("epsilon", ["eps", "step", "steps"]), nearest("zzz", ["eps"])
    ('eps', None)
    """
    return next(iter(difflib.get_close_matches(name, list(known), 1)), None)


def repair(name: str, known: Iterable[str], otherwise: str) -> str:
    """`did you mean 'eps'?`, or all that is known behind `otherwise`.

    >>> repair("zzz", ["eps", "steps"], "pgd takes")
    'pgd takes eps, steps'
    """
    names = list(known)
    found = nearest(name, names)
    return f"did you mean {found!r}?" if found else f"{otherwise} {', '.join(names)}" if names else f"{otherwise} nothing"
