"""Decides which unit comes next for which worker: what a unit rests on is done first, and a worker stays with the images and the target that it has loaded."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import TypeVar

from redteam.run.fitting import learns
from redteam.scenario.plan import Plan, Unit

T = TypeVar("T")
Shelf = tuple[str, int]  # images that are read together: a corpus and the number of a shard
Place = tuple[str, str]  # a target behind a defense


class Schedule:
    """The units that are missing, those that can be computed now by shelf and place, in the order of execution."""

    def __init__(self, plan: Plan, missing: Sequence[Unit]) -> None:
        self._left = {unit.key for unit in missing}
        self._lacks: dict[str, int] = {}
        self._rest_on: dict[str, list[Unit]] = {}
        self._ready: dict[Shelf, dict[Place, deque[Unit]]] = {}
        for unit in missing:
            self._ready.setdefault(_shelf(unit), {}).setdefault(_place(unit), deque())
            lacking = [key for key in rests_on(plan, unit) if key in self._left]
            self._lacks[unit.key] = len(lacking)
            for key in lacking:
                self._rest_on.setdefault(key, []).append(unit)
            if not lacking:
                self._queue(unit).append(unit)

    def __len__(self) -> int:
        """How many units are not done."""
        return len(self._left)

    def take(self, last: Unit | None, others: Iterable[Unit]) -> Unit | None:
        """The next unit for a worker that computed `last`, while the `others` are being computed; None where each rests on one of them."""
        others = list(others)
        shelf = _nearest([shelf for shelf, places in self._ready.items() if any(places.values())], last and _shelf(last), map(_shelf, others))
        if shelf is None:
            return None
        places = self._ready[shelf]
        place = _nearest([place for place, units in places.items() if units], last and _place(last), (_place(unit) for unit in others if _shelf(unit) == shelf))
        return places[place].popleft()

    def put_back(self, unit: Unit) -> None:
        """A unit that was taken and not computed; it comes first again."""
        self._queue(unit).appendleft(unit)

    def done(self, unit: Unit) -> None:
        """A unit is there; what rested on it alone can be computed."""
        self._left.discard(unit.key)
        for other in self._rest_on.pop(unit.key, ()):
            self._lacks[other.key] -= 1
            if not self._lacks[other.key]:
                self._queue(other).append(other)

    def _queue(self, unit: Unit) -> deque[Unit]:
        return self._ready[_shelf(unit)][_place(unit)]


def rests_on(plan: Plan, unit: Unit) -> Iterator[str]:
    """The keys of the units whose results a unit uses: its target's preparation, its clean arm, and for an attack that learns the unit that learns for the whole cell."""
    if unit.cell is None:
        return
    yield plan.preparation(unit.target, unit.defense).key
    if plan.identity_of(unit) is not unit:
        yield plan.identity_of(unit).key
    if learns(plan.cells[unit.cell].attack) and (first := plan.units_of(unit.cell)[0]) is not unit:
        yield first.key


def most_at_once(plan: Plan) -> int:
    """How many units of a plan can be computed side by side at most."""
    clean = sum(plan.identity_of(unit) is unit for unit in plan.units if unit.shard)
    return max(len(plan.preparations), clean, len(plan.units) - len(plan.preparations) - clean)


def _shelf(unit: Unit) -> Shelf:
    return (unit.shard.data, unit.shard.index) if unit.shard else ("", 0)


def _place(unit: Unit) -> Place:
    return unit.target, unit.defense


def _nearest(choices: Collection[T], own: T | None, taken: Iterable[T]) -> T | None:
    """The own one, else the first that is not taken, else the first.

    >>> _nearest(["a", "b", "c"], "x", ["a"]), _nearest(["a", "b", "c"], "c", ["a"]), _nearest(["a"], None, ["a"])
    ('b', 'c', 'a')
    """
    if own in choices:
        return own
    taken = set(taken)
    return next((choice for choice in choices if choice not in taken), next(iter(choices), None))
