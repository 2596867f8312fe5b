"""Compositions of operations: everything that a search over chains may try, drawn at random."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from redteam.attack import Attack
from redteam.attacks.chain import Chain

Composition = tuple[int, ...]  # numbers of choices, in the order in which they are applied


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One operation at each of the strengths that it may have.

    name:     as reports call it; no other operation of a space has it
    settings: the attack at each strength
    """

    name: str
    settings: tuple[Attack, ...]

    def params(self) -> dict[str, Any]:
        """Its name, its kind, and the fields of each setting."""
        return {"name": self.name, "kind": type(self.settings[0]).__name__, "settings": [attack.params() for attack in self.settings]}

    def told(self, attack: Attack) -> dict[str, Any]:
        """One of its settings in a few values: the strength, and whatever tells it from the other settings."""
        every = [other.params() for other in self.settings]
        apart = {name: value for name, value in attack.params().items() if any(other[name] != value for other in every)}
        return {**attack.strengths(), **apart}


@dataclass(frozen=True)
class Space:
    """Every order of at most `length` operations, each at one of its settings and none twice; `finish` is an operation that may be there or not.

    A composition is a tuple of numbers of `choices`.
    """

    pool: tuple[Operation, ...]
    finish: Operation | None
    length: int

    @cached_property
    def operations(self) -> tuple[Operation, ...]:
        """The pool, and the finish last."""
        return (*self.pool, self.finish) if self.finish else self.pool

    @cached_property
    def choices(self) -> tuple[tuple[Operation, Attack], ...]:
        """Every setting of every operation, those of the finish last."""
        return tuple((operation, attack) for operation in self.operations for attack in operation.settings)

    @cached_property
    def count(self) -> int:
        """How many compositions there are: k! times the k-th elementary symmetric polynomial of the numbers of settings, over all lengths k."""
        ways = [1] + [0] * self.length
        for operation in self.operations:
            for k in range(self.length, 0, -1):
                ways[k] += ways[k - 1] * len(operation.settings)
        return sum(math.factorial(k) * ways[k] for k in range(1, self.length + 1))

    def chain(self, composition: Composition) -> Chain:
        """A composition as an attack."""
        chosen = [self.choices[number] for number in composition]
        return Chain(stages=tuple(attack for _, attack in chosen), names=tuple(operation.name for operation, _ in chosen))

    def told(self, composition: Composition) -> list[dict[str, Any]]:
        """A composition in plain types: the name of each operation and its strength."""
        return [{"name": operation.name, "strength": operation.told(attack)} for operation, attack in (self.choices[number] for number in composition)]

    def text(self, composition: Composition) -> str:
        """A composition on one line, as a record keeps it."""
        return ", ".join(" ".join([stage["name"], *(f"{name}={_short(value)}" for name, value in stage["strength"].items())]) for stage in self.told(composition))

    def drawn(self, seed: int, most: int) -> list[Composition]:
        """At most so many different compositions: every operation alone at each setting, then longer ones at random, half of them with the finish."""
        found = dict.fromkeys((number,) for number in range(len(self.choices)))
        generator = np.random.default_rng(seed)
        while len(found) < min(most, self.count):
            found.setdefault(self._draw(generator))
        return list(found)[:most]

    def _draw(self, generator: np.random.Generator) -> Composition:
        finishing = self.finish is not None and generator.random() < 0.5
        size = int(generator.integers(2, self.length + 1)) - finishing if self.length > 1 else 1 - finishing
        taken = [self.pool[i] for i in generator.permutation(len(self.pool))[:size]]
        if finishing:
            taken.insert(int(generator.integers(len(taken) + 1)), self.finish)
        return tuple(self._first[operation.name] + int(generator.integers(len(operation.settings))) for operation in taken)

    @cached_property
    def _first(self) -> dict[str, int]:
        """Operation -> the number of its first setting among the choices."""
        return {operation.name: number for number, (operation, _) in reversed(list(enumerate(self.choices)))}


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
