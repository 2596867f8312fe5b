"""What an attack's `fit` learns for one cell, from the `train` role; kept as an artifact and read again after a restart."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load, save
from torch import Tensor

from redteam.attack import Attack, State
from redteam.objective import Objective, Surrogates, goal_named
from redteam.run.ledger import RunDir, write_whole
from redteam.run.pictures import Pictures, in_batches
from redteam.scenario.matrix import PlannedCell
from redteam.scenario.plan import Plan
from redteam.seeding import SampleRNG
from redteam.target import Ledger, Target


@dataclass(frozen=True)
class Lesson:
    """What a cell's attack learns from, and under which target.

    number: of the cell
    target, surrogates: that it may ask; what it asks while it learns is not billed to the images that are evaluated
    """

    plan: Plan
    pictures: Pictures
    number: int
    target: Target
    surrogates: Surrogates
    beat: Callable[[], None]

    @property
    def item(self) -> PlannedCell:
        """The cell."""
        return self.plan.cells[self.number]

    @property
    def attack(self) -> Attack:
        """Who learns."""
        return self.item.attack.learner()


def fitted(lesson: Lesson, run_dir: RunDir) -> State | None:
    """The state of a cell's attack; None for an attack that learns nothing."""
    if not lesson.item.attack.learns():
        return None
    path = _path(run_dir, lesson.plan.lessons[lesson.number])
    if not path.is_file():
        _learn(lesson, path)
    return load(path.read_bytes()) or None


def findings(plan: Plan, run_dir: RunDir, number: int) -> dict[str, Any]:
    """What a cell's attack found while it learned; nothing for a control arm, or where it has not learned."""
    item = plan.cells[number]
    path = _path(run_dir, plan.lessons.get(number, ""))
    return item.attack.findings(load(path.read_bytes())) if item.attack.learner() is item.attack and path.is_file() else {}


def _path(run_dir: RunDir, lesson: str) -> Path:
    return run_dir.path / "artifacts" / f"state-{lesson}.safetensors"


def _learn(lesson: Lesson, path: Path) -> None:
    cell, attack = lesson.item.cell, lesson.attack
    rng = SampleRNG.of(lesson.plan.scenario.seed, type(attack).__name__, attack.seeding(), ["fit"], cell.repeat)
    state = attack.fit(_objectives(lesson), rng) or {}
    write_whole(path, save({name: _plain(tensor) for name, tensor in state.items()}))


def _objectives(lesson: Lesson) -> Iterator[Objective]:
    """The training images that the goal is about, or all for an attack that must see both classes, under the goal."""
    plan, attack, ledger = lesson.plan, lesson.attack, _Beating(lesson.beat)
    goal = goal_named(lesson.target.kind, attack.goal)
    target = lesson.target.apart(ledger)
    surrogates = {name: surrogate.apart(ledger) for name, surrogate in lesson.surrogates.items()}
    for entry in plan.scenario.data.get("train", ()):
        for images in lesson.pictures.batches(entry.role, entry.id, in_batches(entry.corpus.samples(), plan.options.micro_batch)):
            lesson.beat()
            concerned = images.subset(goal.concerns(images.labels))
            objective = goal.on(target, concerned, file=plan.scenario.file, budget=attack.budget(), surrogates=surrogates)
            if attack.both_classes or len(concerned):
                yield objective.with_images(images) if attack.both_classes else objective


class _Beating(Ledger):
    """Gives a sign of life with each question, since learning may take longer than any image does."""

    def __init__(self, beat: Callable[[], None]) -> None:
        super().__init__()
        self._beat = beat

    def book_query(self, ids: Sequence[str]) -> None:
        """As ever."""
        self._beat()
        super().book_query(ids)

    def book_gradient(self, ids: Sequence[str], zero: Sequence[bool], broken: Sequence[bool]) -> None:
        """As ever."""
        self._beat()
        super().book_gradient(ids, zero, broken)


def _plain(tensor: Tensor) -> Tensor:
    return tensor.detach().cpu().contiguous()
