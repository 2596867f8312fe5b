"""What `redteam selftest` looks at: targets, attacks and data that are broken on purpose, each with the red flags that must notice it, and healthy ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from redteam import registry
from redteam.attack import Attack
from redteam.attacks.faulty import Faulty
from redteam.data.given import Given, given
from redteam.files import FileFormat
from redteam.target import TargetSpec, Threshold
from redteam.targets.adapted import Output
from redteam.targets.fakes import Brightness, Broken, Linear
from redteam.targets.python import PythonTarget

PAIRS, SIDE = 24, 16  # of a fake and a real image; pixels along an edge
EPS = 8 / 255


@dataclass(frozen=True)
class Specimen:
    """One thing to be looked at.

    name:     as the table calls it
    expected: flags that must be raised; none for a healthy one, where none may be
    target, attacks: what is run
    data:     role -> corpus
    file:     what images are saved to
    """

    name: str
    expected: tuple[str, ...]
    target: TargetSpec
    attacks: tuple[Attack, ...]
    data: dict[str, Given] = field(default_factory=lambda: {"eval": greys()})
    file: FileFormat = FileFormat()

    @property
    def healthy(self) -> bool:
        """Whether nothing is wrong with it."""
        return not self.expected


def greys(step: int = 1) -> Given:
    """Constant images: fakes brighter than a middle grey and real ones darker, by the same steps; what the brightness detector tells apart."""
    away = np.arange(1, PAIRS + 1) * step if step else np.ones(PAIRS, int)
    return _pairs(127 + away, 128 - away)


def _pairs(fakes: np.ndarray, reals: np.ndarray, **names: Any) -> Given:
    levels = np.stack([fakes, reals], 1).ravel()
    return given([np.full((SIDE, SIDE, 3), level, np.uint8) for level in levels], [1, 0] * len(fakes), **names)


def textured() -> Given:
    """Fakes with grain and real ones without: what a strong JPEG makes alike."""
    grain = np.random.default_rng(0).integers(-30, 31, (PAIRS, SIDE, SIDE, 3))
    images = [picture for i in range(PAIRS) for picture in ((128 + grain[i]).astype(np.uint8), np.full((SIDE, SIDE, 3), 127 - i, np.uint8))]
    return given(images, [1, 0] * PAIRS)


def scenes(name: str, first: int, n: int = PAIRS) -> Given:
    """Real images of scenes with names, darker than a middle grey."""
    return given([np.full((SIDE, SIDE, 3), 60 + first + i, np.uint8) for i in range(n)], [0] * n, ids=[f"{name}-{i}" for i in range(n)], groups=[f"scene-{i}" for i in range(n)])


def in_files(folder: Path) -> Given:
    """The greys, fakes saved as PNG and real ones as JPEG."""
    corpus = greys()
    for i, (pixels, label) in enumerate(zip(corpus.images, corpus.labels, strict=True)):
        Image.fromarray(pixels).save(folder / f"{i:02d}.{'png' if label else 'jpg'}")
    return given(sorted(folder.iterdir()), corpus.labels)


def specimens(folder: Path) -> Iterator[Specimen]:
    """All of them; those whose files matter keep them in an empty folder."""
    attack = partial(registry.get("attacks", "pgd"), eps=EPS, steps=12)
    pgd, jpeg, fgsm = attack(), registry.get("attacks", "jpeg")(quality=90), registry.get("attacks", "fgsm")(eps=EPS)
    draws, square = registry.get("attacks", "draws")(eps=EPS, queries=16), registry.get("attacks", "square")(eps=EPS, queries=40)
    healthy, broken = Brightness(), partial(Broken)
    network = partial(PythonTarget, factory="redteam.targets.fakes:MeanNetwork", output=Output(type="logit"))
    fixed, calibrated = Threshold(fixed=0.5), Threshold(at_fpr=0.01)

    yield Specimen("healthy brightness detector", (), healthy, (pgd, fgsm, jpeg, draws, square))
    yield Specimen("healthy linear detector", (), Linear(scale=500.0), (pgd, attack(norm="l2", eps=0.5)), {"eval": _told_apart(Linear(scale=500.0))})
    yield Specimen("healthy network", (), network(), (pgd, fgsm, jpeg))
    yield Specimen("healthy detector, images saved as JPEG", (), healthy, (pgd, jpeg), file=FileFormat(format="jpeg", quality=95))

    yield Specimen("gradient absent", ("R1",), broken(fault="no_gradient"), (pgd,))
    yield Specimen("gradient zero", ("R2",), broken(fault="zero_gradient"), (pgd, fgsm))
    yield Specimen("saturated score", ("R2", "R4"), broken(fault="saturated", threshold=fixed), (pgd,))
    yield Specimen("rounded score", ("R2",), broken(fault="quantised"), (pgd,))
    yield Specimen("random score", ("R3",), broken(fault="random"), (pgd,))
    yield Specimen("score that depends on its batch", ("R3",), broken(fault="neighbours"), (pgd,))
    yield Specimen("network in train mode", ("R3",), network(args={"norm": True}, mode="train"), (pgd,))
    yield Specimen("probabilities declared as logits", ("R4",), broken(fault="probability", threshold=fixed), (pgd,))
    yield Specimen("optimisation inside inference", ("R5",), broken(fault="optimises"), (pgd,))
    yield Specimen("shattered gradient", ("R6",), broken(fault="shattered"), (pgd,))
    yield Specimen("attack that passes a success", ("R7",), healthy, (Faulty(eps=EPS, fault="silent_success"),))
    yield Specimen("attack with too few steps", ("R8",), healthy, (attack(eps=24 / 255, step=0.25 / 255, steps=12),))
    yield Specimen("attack content with floats", ("R9",), healthy, (Faulty(eps=EPS, fault="floats"),), {"eval": greys(step=0)})
    yield Specimen("gradient that points the wrong way", ("R10", "R11", "R13"), broken(fault="misleading"), (pgd, square))
    yield Specimen("attack that does less with more", ("R12",), healthy, tuple(Faulty(eps=eps, fault="weaker_with_more") for eps in (4 / 255, 8 / 255)))
    yield Specimen("attack that ignores its budget", ("R14",), healthy, (Faulty(eps=EPS, fault="budget_ignored"),))
    yield Specimen("attack that does nothing", ("R2",), healthy, (Faulty(eps=EPS, fault="idle"),))
    yield Specimen("wrong input range", ("R14",), network(args={"centre": 127.5, "scale": 0.5}), (pgd,))
    yield Specimen("target that writes into its input", ("R14",), broken(fault="mutate"), (jpeg,))
    yield Specimen("attack that turns every answer round", ("R15",), healthy, (attack(eps=32 / 255, stop=False),))
    yield Specimen("one class for all", ("R16",), broken(fault="one_class"), (pgd,))
    yield Specimen("detector of what a codec removes", ("R17",), broken(fault="detail", at=0.55), (jpeg,), {"eval": textured()}, FileFormat(format="jpeg", quality=5))
    yield Specimen("classes in different files", ("R18",), healthy, (jpeg,), {"eval": in_files(folder)})
    yield Specimen("decisions instead of scores", ("R19",), broken(fault="hard_labels"), (jpeg,))
    yield Specimen("too few negatives", ("R20",), Brightness(threshold=calibrated), (jpeg,), {"eval": greys(), "calib": scenes("calib", 0)})
    yield Specimen("threshold that was given", ("R21",), Brightness(threshold=fixed), (jpeg,))
    yield Specimen("threshold that knows the scenes", ("R21",), Brightness(threshold=Threshold(at_fpr=0.2)), (jpeg,), {"eval": _named(), "calib": scenes("calib", 0)})
    yield Specimen("wrong polarity", ("R22",), broken(fault="polarity"), (pgd,))


def _named() -> Given:
    away = np.arange(1, PAIRS + 1)
    return _pairs(127 + away, 128 - away, groups=[f"scene-{i // 2}" for i in range(2 * PAIRS)])


def _told_apart(target: Linear) -> Given:
    """Grey images moved along the direction of a linear detector, fakes forth and real ones back."""
    direction = target.direction(SIDE, SIDE).permute(1, 2, 0).numpy().astype(int)
    images = [(128 + sign * (i + 1) * direction).astype(np.uint8) for i in range(PAIRS) for sign in (1, -1)]
    return given(images, [1, 0] * PAIRS)
