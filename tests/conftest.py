"""One torch thread for all tests, and the few things that many of them start from: images on the 8-bit grid, and one cell run by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch

from redteam.attack import Attack
from redteam.files import FileFormat
from redteam.images import Images
from redteam.imaging.grid import from_levels
from redteam.protocols.detection import Square, attack_batch, identity_batch
from redteam.record import Cell, Record
from redteam.target import Detector
from redteam.validity.flags import Flag, View, flags


@pytest.fixture(scope="session", autouse=True)
def one_thread_for_all_tests():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def make_images() -> Callable[..., Images]:
    """n random images on the 8-bit grid; label 1 and 0 in turn unless told otherwise; levels in [low, high]."""

    def make(n: int = 4, height: int = 8, width: int = 8, *, labels: list[int] | None = None, seed: int = 0, low: int = 0, high: int = 255) -> Images:
        generator = torch.Generator().manual_seed(seed)
        levels = torch.randint(low, high + 1, (n, 3, height, width), generator=generator)
        return Images(
            pixels=from_levels(levels),
            ids=tuple(f"image{i}" for i in range(n)),
            labels=torch.tensor([1 - i % 2 for i in range(n)] if labels is None else labels, dtype=torch.int64),
            groups=tuple(f"group{i}" for i in range(n)),
        )

    return make


@pytest.fixture
def grey_images(make_images) -> Callable[..., Images]:
    """n constant images, fakes brighter than 0.5 and real ones darker by the same steps: what the brightness detector tells apart."""

    def make(n: int = 24, size: int = 16, step: int = 1) -> Images:
        base = make_images(n, size, size)
        away = torch.arange(n).div(2, rounding_mode="floor").add(1).mul(step)
        levels = torch.where(base.labels == 1, 127 + away, 128 - away)
        return base.with_pixels(from_levels(levels.view(-1, 1, 1, 1).expand(n, 3, size, size)))

    return make


@dataclass(frozen=True)
class Arms:
    """One cell beside its clean arm."""

    cell: Cell
    attack: Attack
    identity: list[Record]
    rows: list[Record]

    def view(self, facts: dict[str, Any] | None = None, **changes: Any) -> View:
        """What the flags look at."""
        given = {"clean": {}, "lossless": True, "groups": frozenset(row.group for row in self.rows), **changes}
        return View(cell=self.cell, attack=self.attack, rows=self.rows, identity=self.identity, facts={"declared_logit": True, **(facts or {})}, **given)

    def flags(self, facts: dict[str, Any] | None = None, **changes: Any) -> dict[str, Flag]:
        """The flags that are raised, by id."""
        return {flag.id: flag for flag in flags(self.view(facts, **changes))}


@pytest.fixture
def run_cell() -> Callable[..., Arms]:
    """The clean arm and one attack on one batch, as the executor runs them."""

    def run(target: Detector, attack: Attack, images: Images, *, file: FileFormat | None = None, control: bool = False, seed: int = 7) -> Arms:
        from redteam.attacks.identity import Identity

        place = {"data": "data", "target": target.name, "defense": "none", "goal": "evade+frame"}
        budget = attack.budget()
        limits = {"norm": budget.norm, "eps": budget.eps} if budget else {}
        clean = Cell(**place, attack="identity", kind="identity", control=True)
        cell = Cell(**place, attack="attack", kind=type(attack).__name__.lower(), params=attack.params(), strength=attack.strengths(), control=control, **limits)
        hashes = ["0" * 64] * len(images)
        squares = [Square(c, a, target, file or FileFormat(), seed, len(images)) for c, a in ((clean, Identity()), (cell, attack))]
        identity = identity_batch(squares[0], images, hashes).records
        rows = attack_batch(squares[1], images, hashes, {row.id: row for row in identity}).records
        return Arms(cell, attack, identity, rows)

    return run
