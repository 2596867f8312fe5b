"""Looks at one target on a sample of the evaluation data: what a run would find out first, by the run's own means, without its attacks."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from redteam import registry
from redteam.data.containers import survey_of
from redteam.data.corpus import Corpus, Reader, Resolve, Sample
from redteam.images import Images
from redteam.objective import goal_named
from redteam.protocols.detection import score
from redteam.protocols.detection_metrics import figures, scoreable
from redteam.record import Record
from redteam.run.executing import Executor
from redteam.run.ledger import RunDir
from redteam.run.pictures import Pictures
from redteam.scenario.model import AttackEntry, DataEntry, DefenseEntry, Scenario, Variant
from redteam.scenario.plan import Options, Plan, Unit, make_plan
from redteam.target import Access, Detector
from redteam.validity import readiness
from redteam.validity.flags import View

PER_CLASS = 32  # images of each class and corpus that are looked at
CALLS = 3  # behind a latency; the middle one counts
STEP = "gradient"  # id of the one small step that stands in place of the attacks
FIGURES = ("auc", "tpr", "fpr", "robust_accuracy")  # that say something about a target without an attack
SATURATED = 16.6  # log-odds where a probability in float32 is 0 or 1 to its last digit

Beat = Callable[..., None]  # told what happens next, and of each micro-batch


@dataclass(frozen=True, kw_only=True)
class Chosen(Corpus):
    """Some samples of another corpus.

    of:      the other corpus
    chosen:  its samples that are looked at, in its order
    balance: what is wrong with all of its files, where they tell the classes apart
    """

    of: Corpus
    chosen: tuple[Sample, ...]
    balance: str | None

    @classmethod
    def spread(cls, corpus: Corpus) -> Chosen:
        """A sample that is spread evenly over each class. Raises CorpusError."""
        samples = list(corpus.samples())
        return cls(of=corpus, chosen=tuple(spread(samples, PER_CLASS)), balance=survey_of(samples).sentence())

    def samples(self) -> Iterator[Sample]:
        """The chosen samples."""
        return iter(self.chosen)

    def open(self, resolve: Resolve) -> Reader:
        """As the other corpus reads them."""
        return self.of.open(resolve)


def spread(samples: Sequence[Sample], per_class: int) -> list[Sample]:
    """At most so many samples of each class, evenly spaced, in their order."""
    chosen: set[int] = set()
    for label in (0, 1):
        places = [i for i, sample in enumerate(samples) if sample.label == label]
        n = min(per_class, len(places))
        chosen |= {places[k * len(places) // n] for k in range(n)}
    return [samples[i] for i in sorted(chosen)]


def reduced(scenario: Scenario, target: str) -> Scenario:
    """One target on a sample, without defenses, and one small step along the gradient in place of the attacks. Raises CorpusError."""
    step = registry.get("attacks", "fgsm")(eps=1 / 255)
    sample = tuple(replace(entry, corpus=Chosen.spread(entry.corpus)) for entry in scenario.data["eval"])
    return replace(
        scenario, data=scenario.data | {"eval": sample}, targets=tuple(entry for entry in scenario.targets if entry.id == target),
        defenses=(DefenseEntry("none", "none", registry.get("defenses", "none")()),), attacks=(AttackEntry(STEP, "fgsm", (Variant({}, step),)),), exclude=(), gates=(), repeats=1,
    )  # fmt: skip


def examine(scenario: Scenario, target: str, options: Options, beat: Beat, folder: Path) -> dict[str, Any]:
    """Everything that can be said of a target before a run, in plain JSON types; units are kept in `folder`. Raises Missing, and what planning raises."""
    plan = make_plan(reduced(scenario, target), replace(options, limit=None, only=None))
    return Examination(plan, RunDir(folder), beat).report()


class Examination:
    """One target of a reduced plan, looked at in this process."""

    def __init__(self, plan: Plan, run_dir: RunDir, beat: Beat) -> None:
        self._plan, self._dir, self._beat = plan, run_dir, beat
        (self._entry,) = plan.scenario.targets
        self._executor = Executor(plan, run_dir, beat)

    def report(self) -> dict[str, Any]:
        """What was found when the target was loaded and calibrated, the figures of each corpus, and the complaints about them."""
        preparation = self._plan.preparation(self._entry.id, "none")
        facts = json.loads(self._lines(preparation)[0])
        if "error" in facts:
            return {"complaints": [asdict(readiness.unusable(facts["error"]))], "data": []}
        shown = {name: facts.get(name) for name in ("access", "threshold", "how", "at_fpr", "negatives", "notes")}
        complaints = [asdict(complaint) for complaint in readiness.of_target(facts["notes"])]
        return shown | {"complaints": complaints, "data": [self._corpus(entry, facts) for entry in self._plan.scenario.data["eval"]]}

    def _corpus(self, entry: DataEntry, facts: dict[str, Any]) -> dict[str, Any]:
        identity = self._rows(entry, "identity")
        found = figures(identity, seed=0)
        view = self._view(entry, facts, identity, found.metrics)
        complaints = readiness.of_corpus(view, found.absent.get("auc"), self._plan.scenario.limits.max_error_rate)
        rows = [row for row in identity if scoreable(row)]
        return {
            "id": entry.id, "n": len(identity), "label_1": sum(row.label for row in identity), "lost": len(identity) - len(rows),
            "metrics": _only(found.metrics), "absent": _only(found.absent), "scores": _range([row.outcome["score"] for row in rows]), "repeat": _repeat(rows), "gradient": _gradient(view.rows),
            "files": entry.corpus.balance, "latency_ms": self._latency(entry) if rows else None, "complaints": [asdict(complaint) for complaint in complaints],
        }  # fmt: skip

    def _view(self, entry: DataEntry, facts: dict[str, Any], identity: list[Record], clean: dict[str, dict[str, float]]) -> View:
        """What the red flags look at: the clean arm and, where the target gives gradients, the small step."""
        asked = facts["access"] == Access.GRADIENTS.word
        item = next(item for item in self._plan.cells if (item.cell.data, item.cell.attack) == (entry.id, STEP if asked else "identity"))
        return View(
            cell=item.cell, attack=item.attack, rows=self._rows(entry, STEP) if asked else identity, identity=identity, clean=clean, facts=facts,
            lossless=self._plan.scenario.file.format == "png", groups=frozenset(row.group for row in identity),
        )  # fmt: skip

    def _rows(self, entry: DataEntry, arm: str) -> list[Record]:
        self._beat(stage="clean images are scored" if arm == "identity" else "gradients are asked for")
        return [Record.from_json(line) for unit in self._units(entry, arm) for line in self._lines(unit)]

    def _units(self, entry: DataEntry, arm: str) -> Iterator[Unit]:
        for number, item in enumerate(self._plan.cells):
            if (item.cell.data, item.cell.attack) == (entry.id, arm):
                yield from self._plan.units_of(number)

    def _lines(self, unit: Unit) -> list[str]:
        self._executor.run(unit)
        return self._dir.read_unit(unit.key) or []

    def _latency(self, entry: DataEntry) -> dict[str, float]:
        """Milliseconds an image, in the micro-batches of the run."""
        self._beat(stage="the target is timed")
        target = self._executor.target(next(self._units(entry, "identity")))
        pictures = Pictures([entry], torch.device(self._plan.options.device))
        batches = (batch for unit in self._units(entry, "identity") for batch in unit.batches)
        images = next(pictures.batches(entry.role, entry.id, batches))
        found = {"score": _milliseconds(lambda: score(target, images.pixels), len(images))}
        if target.access is Access.GRADIENTS:
            found["gradient"] = _milliseconds(lambda: _gradient_of(target, images), len(images))
        return found


def _only(found: dict[str, Any]) -> dict[str, Any]:
    return {name: found[name] for name in FIGURES if name in found}


def _gradient_of(target: Detector, images: Images) -> float:
    gradient = goal_named(target.kind, None).on(target, images).gradient(images.pixels)
    return gradient.abs().max().item()  # an accelerator has to finish first


def _milliseconds(call: Callable[[], object], n: int) -> float:
    """Of one image in a batch of n; the middle of a few calls, all of which come after the first ones."""
    took = []
    for _ in range(CALLS):
        before = time.perf_counter()
        call()
        took.append(time.perf_counter() - before)
    return round(1000 * statistics.median(took) / n, 3)


def _range(scores: list[float]) -> dict[str, float] | None:
    """Log-odds of label 1 from the lowest to the highest, and the share so far out that a probability would be 0 or 1."""
    if not scores:
        return None
    saturated = sum(abs(value) >= SATURATED for value in scores) / len(scores)
    return {"low": min(scores), "median": statistics.median(scores), "high": max(scores), "distinct": len(set(scores)), "saturated": saturated}


def _repeat(rows: Sequence[Record]) -> dict[str, float] | None:
    """How far scores moved when the same files were asked about in other batches, and the decisions that changed."""
    pairs = [(row.outcome["score"], row.outcome["repeat_score"], row) for row in rows if row.outcome.get("repeat_score") is not None]
    if not pairs:
        return None
    changed = sum((again > row.outcome["threshold"]) != bool(row.outcome["decision"]) for _, again, row in pairs)
    return {"n": len(pairs), "largest_change": max(abs(one - again) for one, again, _ in pairs), "decisions_changed": changed}


def _gradient(rows: Sequence[Record]) -> dict[str, int] | None:
    """On how many images a gradient was asked for, and on how many it was absent, not finite, or zero in every pixel."""
    asked = [row for row in rows if row.cost.get("backwards") and scoreable(row)]
    if not asked:
        return None
    return {"n": len(asked), "broken": sum(row.cost["broken_gradients"] > 0 for row in asked), "zero": sum(row.cost["zero_gradients"] > 0 for row in asked)}
