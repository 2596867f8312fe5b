"""Small components that stand in for real ones, and a way to read a scenario from text."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import pytest
import torch
from pydantic import Field

from redteam import registry
from redteam.attack import Attack, OptimisedAttack, State
from redteam.attacks.chain import Chain
from redteam.attacks.identity import Identity
from redteam.attacks.noise import Noise
from redteam.component import AttackRef, Component, ModelRef, Quality, Radius, TargetRef
from redteam.data.corpus import Corpus, CorpusError, Reader, Resolve, Sample
from redteam.defense import Defense
from redteam.files import Budget
from redteam.images import Images
from redteam.objective import Objective
from redteam.scenario.document import Document
from redteam.scenario.errors import Problem, ScenarioError
from redteam.scenario.load import load
from redteam.scenario.model import Scenario
from redteam.scenario.reading import Reading
from redteam.seeding import SampleRNG
from redteam.target import Access, Target, TargetSpec

BASE = """\
schema: redteam/v1
name: faces
data:
  eval: {kind: shelf}
targets:
  - {id: mine, kind: linear}
attacks:
  - {id: pgd, kind: pgd, eps: 4/255}
  - {id: jpeg, kind: jpeg}
"""


class Unchanged(Attack):
    def perturb(self, objective: Objective, rng: SampleRNG, state: State | None = None) -> Images:
        return objective.images


@dataclass(frozen=True, kw_only=True)
class FakePGD(Unchanged, OptimisedAttack):
    needs: ClassVar[Access] = Access.GRADIENTS
    strength: ClassVar[str] = "eps"
    norm: Literal["linf", "l2"] = "linf"
    eps: Radius = 4 / 255
    steps: Annotated[int, Field(ge=1)] = 20

    def budget(self) -> Budget:
        return Budget(self.norm, self.eps)

    def control(self) -> Noise:
        return Noise(norm=self.norm, eps=self.eps, goal=self.goal)


@dataclass(frozen=True, kw_only=True)
class Square(Unchanged):
    needs: ClassVar[Access] = Access.SCORES


@dataclass(frozen=True, kw_only=True)
class FakeJPEG(Unchanged):
    strength: ClassVar[str] = "quality"
    quality: Quality = 75


@dataclass(frozen=True, kw_only=True)
class Region(Unchanged):
    needs_masks: ClassVar[bool] = True


@dataclass(frozen=True, kw_only=True)
class Learned(Unchanged):
    def fit(self, objectives: Iterable[Objective], rng: SampleRNG) -> State | None:
        return {}


@dataclass(frozen=True, kw_only=True)
class Transfer(Unchanged):
    surrogates: tuple[TargetRef, ...]
    after: AttackRef | None = None


@dataclass(frozen=True, kw_only=True)
class Picky(Unchanged):
    low: float = 0
    high: float = 1

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError(f"low must be at most high, got {self.low} > {self.high}; swap them")


@dataclass(frozen=True, kw_only=True)
class Nothing(Defense):
    pass


@dataclass(frozen=True, kw_only=True)
class Smooth(Defense):
    quality: Quality = 75


@dataclass(frozen=True, kw_only=True)
class Lens:
    size: int
    path: Path | None = None
    sharp: bool = False


@dataclass(frozen=True, kw_only=True)
class Paste(Component):
    weight: Annotated[float, Field(gt=0)] = 1.0


@dataclass(frozen=True, kw_only=True)
class Redraw(Paste):
    model: ModelRef = "zoo/vae-tiny"


@dataclass(frozen=True, kw_only=True)
class Shelf(Corpus):
    seed: int = 1
    path: Path | None = None
    lens: Lens | None = None
    forge: dict[str, Paste] = field(default_factory=dict, metadata={"components": "forgeries"})

    def samples(self) -> Iterator[Sample]:
        if self.path:
            raise CorpusError(f"{self.path.name}: there is no such shelf; name another")
        for i in range(self.limit or 4):
            yield Sample(id=f"s{i}", label=i % 2, group=f"g{i}", height=8, width=8, content=f"{self.seed}-{i}")

    def open(self, resolve: Resolve) -> Reader:
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class Bare(Shelf):
    @classmethod
    def has_masks(cls) -> bool:
        return False


@dataclass(frozen=True, kw_only=True)
class FakeLinear(TargetSpec):
    size: int = 8
    crop: int | tuple[int, int] | None = None
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    mirror: bool = False
    note: str = ""
    args: dict[str, Any] = field(default_factory=dict)
    weights: Path | None = None
    folder: Path | None = field(default=None, metadata={"internal": True})

    def load(self, name: str, device: torch.device) -> Target:
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class FakeZoo(TargetSpec):
    model: ModelRef

    def load(self, name: str, device: torch.device) -> Target:
        raise NotImplementedError


class NPR:
    role = "detector"


class VAE:
    role = "autoencoder"


class Entry:
    """Stands in for an entry point."""

    def __init__(self, cls: type | None) -> None:
        self.cls = cls

    def load(self) -> type:
        if self.cls is None:
            raise ImportError("No module named 'timm'")
        return self.cls


GROUPS: dict[str, dict[str, Any]] = {
    "attacks": {"identity": Identity, "noise": Noise, "chain": Chain, "pgd": FakePGD, "square": Square, "jpeg": FakeJPEG, "region": Region,
                "learned": Learned, "transfer": Transfer, "picky": Picky},
    "defenses": {"none": Nothing, "jpeg": Smooth},
    "targets": {"linear": FakeLinear, "zoo": FakeZoo, "timm": None},
    "corpora": {"shelf": Shelf, "bare": Bare},
    "forgeries": {"paste": Paste, "redraw": Redraw},
    "models": {"npr-tiny": NPR, "vae-tiny": VAE},
}  # fmt: skip

Load = Callable[..., tuple[Scenario, list[Problem]]]


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Only the small components are known."""
    monkeypatch.setattr(registry, "_entries", lambda group: {name: Entry(cls) for name, cls in GROUPS.get(group, {}).items()})
    registry.names.cache_clear()
    yield
    registry.names.cache_clear()


@pytest.fixture
def base() -> str:
    """The smallest sensible scenario."""
    return BASE


@pytest.fixture
def read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    """Text -> what `load` makes of a file faces.yaml that holds it."""
    monkeypatch.chdir(tmp_path)

    def read(text: str, **options: bool) -> tuple[Scenario, list[Problem]]:
        Path("faces.yaml").write_text(text, encoding="utf-8")
        return load(Path("faces.yaml"), **options)

    return read


@pytest.fixture
def complaints(read: Load) -> Callable[..., str]:
    """Text -> every problem as a user sees it."""

    def complaints(text: str, **options: bool) -> str:
        with pytest.raises(ScenarioError) as caught:
            read(text, **options)
        return str(caught.value)

    return complaints


@pytest.fixture
def reading(tmp_path: Path) -> Callable[[str], Reading]:
    """Text -> a Reading of it."""
    return lambda text: Reading(Document.parse(text, "faces.yaml"), tmp_path)
