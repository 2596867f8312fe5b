"""What an attack's `fit` learns for one cell, from the `train` role; kept as an artifact and read again after a restart."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from safetensors.torch import load, save
from torch import Tensor

from redteam.attack import Attack, State
from redteam.objective import Objective, goal_named
from redteam.run.ledger import RunDir, write_whole
from redteam.run.pictures import Pictures, in_batches
from redteam.scenario.matrix import PlannedCell
from redteam.scenario.plan import Plan
from redteam.seeding import SampleRNG
from redteam.target import Target


def learns(attack: Attack) -> bool:
    """Whether an attack has something to learn before it runs."""
    return type(attack).fit is not Attack.fit


def fitted(plan: Plan, run_dir: RunDir, pictures: Pictures, item: PlannedCell, target: Target, beat: Callable[[], None]) -> State | None:
    """The state of a cell's attack; None for an attack that learns nothing."""
    if not learns(item.attack):
        return None
    path = run_dir.path / "artifacts" / f"state-{item.cell.key}.safetensors"
    if not path.is_file():
        _learn(plan, pictures, item, target, beat, path)
    return load(path.read_bytes()) or None


def _learn(plan: Plan, pictures: Pictures, item: PlannedCell, target: Target, beat: Callable[[], None], path: Path) -> None:
    rng = SampleRNG.of(plan.scenario.seed, item.cell.kind, item.cell.params, ["fit"], item.cell.repeat)
    state = item.attack.fit(_objectives(plan, pictures, item, target, beat), rng) or {}
    write_whole(path, save({name: _plain(tensor) for name, tensor in state.items()}))


def _objectives(plan: Plan, pictures: Pictures, item: PlannedCell, target: Target, beat: Callable[[], None]) -> Iterator[Objective]:
    goal = goal_named(target.kind, item.attack.goal)
    for entry in plan.scenario.data.get("train", ()):
        for images in pictures.batches(entry.role, entry.id, in_batches(entry.corpus.samples(), plan.options.micro_batch)):
            beat()
            wanted = goal.concerns(images.labels)
            if wanted.any():
                yield goal.on(target, images.subset(wanted), file=plan.scenario.file, budget=item.attack.budget())


def _plain(tensor: Tensor) -> Tensor:
    return tensor.detach().cpu().contiguous()
