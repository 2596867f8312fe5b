"""The Python door: one call evaluates a model that is at hand, with the records, the figures and the report of a run."""

from __future__ import annotations

import contextlib
import random
import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console

from redteam.data.corpus import CorpusError
from redteam.data.given import Given, given
from redteam.record import Record, read_records
from redteam.reports.compact import compact_html
from redteam.reports.terminal import WIDTH, closing_table
from redteam.reports.write import write_reports
from redteam.run.errors import Stop
from redteam.run.finalising import Closing
from redteam.run.inline import compute
from redteam.run.ledger import RunDir
from redteam.scenario.attacks import attack_entries
from redteam.scenario.chains import distinct
from redteam.scenario.checks import check_meaning
from redteam.scenario.components import Part, build, placed
from redteam.scenario.document import Document
from redteam.scenario.entries import defense_entries
from redteam.scenario.errors import ScenarioError
from redteam.scenario.lock import Unusable
from redteam.scenario.model import SCHEMA, DataEntry, Scenario, TargetEntry
from redteam.scenario.plan import MICRO_BATCH, Options, Plan, PlanError, make_plan
from redteam.scenario.reading import Reading
from redteam.targets.given import GivenTarget, borrowed, home

NAME = "evaluate"
Entry = str | Mapping[str, Any]  # a kind, or what a scenario writes: {"kind": "jpeg", "quality": 75}


class EvaluationError(ValueError):
    """An evaluation that cannot be made as it was asked for; the message says what must be otherwise."""


def evaluate(
    model: Callable[..., Any], images: Any, labels: Any, attacks: Sequence[Entry] = ("pgd", "jpeg"), *,
    ids: Sequence[str] | None = None, groups: Sequence[Any] | None = None, masks: Any = None, calib: tuple[Any, Any] | None = None,
    input: Mapping[str, Any] | None = None, output: str | Mapping[str, Any] = "logit", threshold: float | Mapping[str, Any] | None = None, access: str | None = None,
    defenses: Sequence[Entry] | None = None, seed: int = 0, micro_batch: int = MICRO_BATCH, run_dir: str | Path | None = None, progress: Callable[[int, int], None] | None = None,
) -> Evaluation:  # fmt: skip
    """Attack a model on images and measure what happens, exactly as `redteam run` would, in this process.

    model:       an nn.Module, which stays where it is and is given back as it was, or a callable from a batch to scores
    images:      a tensor (n, 3, h, w) in [0, 1] or uint8, an array (n, h, w, 3), or a sequence of such images, Pillow images and paths
    labels:      n of 0 (real) and 1 (fake)
    attacks:     kinds, or mappings as in a scenario: {"kind": "pgd", "eps": {"sweep": ["1/255", "4/255"]}}
    ids:         names of the images; their randomness hangs on them
    groups:      the source image of each, for honest intervals where some share one
    masks:       where fakes are forged, for attacks that need it
    calib:       (images, labels) that a threshold {"at_fpr": 0.05} is set on
    input:       from pixels in [0, 1] to what the model expects: {"mean": [...], "std": [...], "resize": {...}} (`redteam show target/python`)
    output:      logit, prob, logits2, probs2, or a mapping with more: {"type": "prob", "positive": "real"}
    threshold:   on the model's own scale, or a mapping; even odds when not given
    access:      the most that an attacker may ask: gradients, scores, decisions
    defenses:    kinds or mappings; none when not given
    seed:        everything random derives from it
    micro_batch: images that are scored and attacked together; results may hang on it in the last bit
    run_dir:     a new folder that keeps everything; when not given, a temporary one that goes with the result
    progress:    told how many units of how many are finished

    A hang of the model hangs the call: only `redteam run` has a process that watches. Raises EvaluationError.
    """
    with _sentences(ValueError):
        device = home(model)
        corpora = {"eval": given(images, labels, ids=ids, groups=groups, masks=masks)}
        corpora |= {"calib": given(*calib, ids=[f"calib-{i:05d}" for i in range(len(calib[0]))])} if calib is not None else {}
    with _sentences():
        declared = {"input": input, "output": {"type": output} if isinstance(output, str) else output, "access": access}
        declared["threshold"] = {"fixed": threshold} if isinstance(threshold, (int, float)) else threshold
        scenario = _scenario(_Asked(model, corpora, declared, attacks, defenses, seed))
        options = Options(micro_batch=micro_batch, threads=torch.get_num_threads(), device=str(device))
        with borrowed(model), _surroundings(device):
            return _computed(make_plan(scenario, options), run_dir, progress or (lambda done, total: None))


@dataclass(frozen=True)
class _Asked:
    """What `evaluate` was asked for, before it is checked."""

    model: Callable[..., Any]
    corpora: dict[str, Given]
    declared: dict[str, Any]
    attacks: Sequence[Entry]
    defenses: Sequence[Entry] | None
    seed: int


def _scenario(asked: _Asked) -> Scenario:
    """The scenario that says the same, checked as one that was written."""
    if not callable(asked.model):
        raise EvaluationError(f"model must be a module or a callable, got {type(asked.model).__name__}")
    target = {"id": "model", "kind": "given", **{name: _plain(value, name) for name, value in asked.declared.items() if value is not None}}
    content = {"data": dict.fromkeys(asked.corpora, {"id": "images"}), "targets": [target], "attacks": _entries(asked.attacks, "attacks")}
    content |= {"defenses": _entries(asked.defenses, "defenses")} if asked.defenses is not None else {}
    reading = Reading(Document.of(content, NAME), Path.cwd())
    spec = build(reading, Part(GivenTarget, placed(target, ("targets", 0), ("id", "kind")), ("targets", 0), "model", "redteam show target/python"), paths=False)
    data = {role: (DataEntry("images", role, "given", corpus),) for role, corpus in asked.corpora.items()}
    targets = (TargetEntry("model", "given", replace(spec, model=asked.model)),) if spec else ()
    scenario = Scenario(schema_=SCHEMA, name=NAME, seed=_seed(asked.seed), folder=Path.cwd(), data=data, targets=targets, defenses=defense_entries(reading), attacks=attack_entries(reading))
    check_meaning(reading, scenario)
    reading.raise_errors()
    if "calib" in data and (spec.threshold is None or spec.threshold.at_fpr is None):
        raise EvaluationError("calib has no use without a threshold that is set on it; give threshold={'at_fpr': 0.05}, or leave calib out")
    return scenario


def _seed(seed: int) -> int:
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**63:
        raise EvaluationError(f"seed must be an integer in [0, 2^63), got {seed!r}")
    return seed


def _entries(asked: Sequence[Entry], what: str) -> list[dict[str, Any]]:
    """Entries as a scenario has them; one without an id is called by its kind, numbered where that comes again."""
    if isinstance(asked, (str, Mapping)):
        raise EvaluationError(f"{what} must be a list, got {type(asked).__name__}; write {what}=[{asked!r}]")
    entries = [{"kind": entry} if isinstance(entry, str) else _plain(entry, what) for entry in asked]
    if wrong := [entry for entry in entries if not isinstance(entry, dict)]:
        raise EvaluationError(f"{what} must hold kinds and mappings, got {type(wrong[0]).__name__}; write 'pgd' or {{'kind': 'pgd', 'eps': '4/255'}}")
    names = distinct(str(entry.get("id", "chain" if "chain" in entry else entry.get("kind"))) for entry in entries)
    return [{"id": name, **entry} for name, entry in zip(names, entries, strict=True)]


def _plain(value: Any, what: str) -> Any:
    """A value in the types that YAML has."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item, what) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item, what) for item in value]
    if isinstance(value, (np.generic, np.ndarray, torch.Tensor)):
        return value.tolist()
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    if isinstance(value, Path):
        return str(value)
    raise EvaluationError(f"{what} must hold texts, numbers, lists and mappings, got {type(value).__name__}")


@contextlib.contextmanager
def _sentences(*more: type[Exception]) -> Iterator[None]:
    """What a caller can mend, as one kind of error; a bug keeps its own."""
    try:
        yield
    except (ScenarioError, CorpusError, PlanError, Unusable, Stop, FileNotFoundError, *more) as error:
        raise EvaluationError(str(error)) from None


@contextlib.contextmanager
def _surroundings(device: torch.device) -> Iterator[None]:
    """Gradients as in a process of our own, no lower precision, and all random generators afterwards as they were."""
    states = random.getstate(), np.random.get_state()  # noqa: NPY002 - kept for whoever uses it
    try:
        with torch.random.fork_rng([device] if device.type == "cuda" else []), torch.inference_mode(False), torch.enable_grad(), torch.autocast(device.type, enabled=False):
            yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002


def _computed(plan: Plan, folder: str | Path | None, progress: Callable[[int, int], None]) -> Evaluation:
    path = Path(tempfile.mkdtemp(prefix="redteam-")) if folder is None else Path(folder)
    if folder is not None and path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise EvaluationError(f"run_dir {path}: exists and is not empty; name a new folder")
    try:
        closing = compute(plan, RunDir(path), f"redteam.{NAME}(...)", progress)
        write_reports(path)
        return Evaluation(path, closing, temporary=folder is None)
    except BaseException:
        if folder is None:
            shutil.rmtree(path, ignore_errors=True)
        raise


class Evaluation:
    """What `evaluate` found; shows itself as a table in a notebook.

    path:    the run directory
    summary: every figure, as summary.json holds it
    records: one for each image and attack, in the order of the attacks
    """

    def __init__(self, path: Path, closing: Closing, *, temporary: bool) -> None:
        self.path = path
        self.summary: dict[str, Any] = RunDir(path).read_json("summary.json") or {}
        self.records: list[Record] = list(read_records(RunDir(path).results))
        self._lost = closing.worst_cell
        if temporary:
            weakref.finalize(self, shutil.rmtree, path, ignore_errors=True)

    @property
    def notes(self) -> list[str]:
        """What a reader of the figures must know: what the adapter found, every flag, and where too many images have no outcome."""
        found = [note for target in self.summary["targets"] for note in target["notes"]]
        found += [f"{cell['label']}: {flag['id']} ({flag['severity']}) {flag['detail']}" for cell in self.summary["cells"] for flag in cell["flags"]]
        return found + ([f"{self._lost} have no outcome; the records say why under reason"] if self._lost else [])

    def table(self) -> str:
        """The closing table of a run, 100 columns of text."""
        text = StringIO()
        Console(file=text, width=WIDTH, highlight=False).print(closing_table(self.summary, {}))
        return "\n".join([*(line.rstrip() for line in text.getvalue().rstrip().split("\n")), *self.notes])

    def report(self, path: str | Path) -> Path:
        """Write the HTML report to a file, or into a folder, and say where it is."""
        path = Path(path)
        return Path(shutil.copyfile(self.path / "report.html", path / "report.html" if path.is_dir() else path))

    def __repr__(self) -> str:
        n, attacks = self.summary["data"][0]["n"], [cell["label"] for cell in self.summary["cells"] if not cell["control"]]
        return f"Evaluation of {n} images under {', '.join(attacks) or 'no attack'}; print(evaluation.table()) shows the figures"

    def _repr_html_(self) -> str:
        return compact_html(self.summary, self.notes)
