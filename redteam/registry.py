"""Finds components by entry point, its own and a stranger's alike; imports one only when it is asked for."""

from __future__ import annotations

import difflib
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

GROUPS = ("attacks", "defenses", "targets", "corpora", "forgeries", "models", "recipes")
SINGULAR = {"attack": "attacks", "defense": "defenses", "target": "targets", "data": "corpora", "corpus": "corpora", "forge": "forgeries", "forgery": "forgeries", "zoo": "models", "model": "models", "recipe": "recipes"}
IRREGULAR = {"corpora": "corpus", "forgeries": "forgery"}


class UnknownComponent(LookupError):
    """No component of that name; `suggestion` is the nearest that exists, or None."""

    def __init__(self, group: str, name: str, known: list[str]) -> None:
        self.suggestion = next(iter(difflib.get_close_matches(name, known, 1)), None)
        repair = f"did you mean {self.suggestion!r}?" if self.suggestion else f"there are {', '.join(known)}"
        super().__init__(f"unknown {IRREGULAR.get(group, group[:-1])} {name!r}; {repair}")


@cache
def names(group: str) -> tuple[str, ...]:
    """The sorted names of a group's components, nothing imported."""
    return tuple(sorted(_entries(group)))


def get(group: str, name: str) -> type[Any]:
    """The component class `name` of a group; raises UnknownComponent with the nearest name."""
    entries = _entries(group)
    if name not in entries:
        raise UnknownComponent(group, name, sorted(entries))
    return entries[name].load()


def find(address: str) -> tuple[str, str, type[Any]]:
    """`attack/pgd` or a bare `pgd` -> (group, name, class); a bare name that several groups have raises LookupError naming them."""
    prefix, _, name = address.rpartition("/")
    if prefix:
        if prefix not in SINGULAR:
            raise UnknownComponent("components", address, [f"{word}/{n}" for word in ("attack", "defense", "target", "data", "forge", "zoo") for n in names(SINGULAR[word])])
        return SINGULAR[prefix], name, get(SINGULAR[prefix], name)
    homes = [group for group in GROUPS if group != "recipes" and name in _entries(group)]
    if len(homes) > 1:
        raise LookupError(f"{name!r} is in {' and '.join(homes)}; say {' or '.join(f'{_word(g)}/{name}' for g in homes)}")
    if not homes:
        raise UnknownComponent("components", name, sorted(n for group in GROUPS for n in _entries(group)))
    return homes[0], name, get(homes[0], name)


def _word(group: str) -> str:
    return next(word for word, plural in SINGULAR.items() if plural == group)


@cache
def _entries(group: str) -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=f"redteam.{group}")}
