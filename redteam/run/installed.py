"""Whether what is installed is whole: dependencies, entry points, shipped weights, torchattacks; and what one scenario needs besides."""

from __future__ import annotations

import importlib
import importlib.util
import json
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from importlib.metadata import EntryPoint, PackageNotFoundError, distribution, entry_points, version
from pathlib import Path

import redteam
from redteam import registry
from redteam.data.corpus import CorpusError
from redteam.run.machine import Finding
from redteam.scenario.errors import ScenarioError
from redteam.scenario.load import load
from redteam.scenario.model import Scenario
from redteam.zoo.model import ReferenceModel

DEPENDENCIES = {"kornia": "kornia", "diffusers": "diffusers", "numpy": "numpy", "scipy": "scipy", "sklearn": "scikit-learn", "skimage": "scikit-image", "safetensors": "safetensors"}
REPAIR = "pip install -e ."
PYPROJECT = Path(redteam.__file__).resolve().parent.parent / "pyproject.toml"
PINNED = "2.25."  # of requests, by torchattacks' wheel


def installed() -> Iterator[Finding]:
    """Everything that does not depend on a scenario."""
    yield dependencies()
    yield from plugins()
    yield from weights()
    yield torchattacks()


def dependencies() -> Finding:
    """Whether each library that redteam rests on can be imported; some break only then, as torchvision does beside another build of torch."""
    broken = []
    for module in DEPENDENCIES:
        try:
            importlib.import_module(module)
        except Exception as error:  # a library may fail in any way while it is imported
            broken.append(f"{module} ({type(error).__name__}: {_first_line(error)})")
    if broken:
        return Finding("dependencies", "problem", f"cannot be imported: {'; '.join(broken)}", "pip install --force-reinstall the package that is named, with a torchvision that fits torch")
    return Finding("dependencies", "ok", ", ".join(f"{name} {version(name)}" for name in DEPENDENCIES.values()))


def plugins() -> Iterator[Finding]:
    """Whether every component that is declared can be imported, and by whom it is declared where it cannot."""
    whole, found = 0, False
    for group in registry.GROUPS:
        declared: dict[str, list[EntryPoint]] = defaultdict(list)
        for entry in entry_points(group=f"redteam.{group}"):
            declared[entry.name].append(entry)
        for name, entries in sorted(declared.items()):
            problems = [*_twice(group, name, entries), *(broken for entry in entries if (broken := _broken(group, entry)))]
            yield from problems
            whole, found = whole + (not problems), found or bool(problems)
    if absent := undeclared(PYPROJECT):
        found = True
        yield Finding("entry points", "problem", f"pyproject.toml declares {', '.join(absent)}, the installed metadata do not", REPAIR)
    if not found:
        yield Finding("entry points", "ok", f"{whole} components, all can be imported")


def undeclared(pyproject: Path) -> list[str]:
    """Entry points of a checkout's pyproject.toml that the installed metadata do not have, as group/name: an editable install does not follow them."""
    if not pyproject.is_file():
        return []
    groups = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]["entry-points"]
    present = {(group, entry.name, entry.value) for group in groups for entry in entry_points(group=group)}
    return [f"{group.removeprefix('redteam.')}/{name}" for group, entries in groups.items() for name, value in entries.items() if (group, name, value) not in present]


def _twice(group: str, name: str, entries: list[EntryPoint]) -> list[Finding]:
    """Two distributions with one name: which of them is meant would depend on the order of the path."""
    owners = sorted({_owner(entry) for entry in entries})
    if len({entry.value for entry in entries}) < 2:
        return []
    return [Finding(f"{group}/{name}", "warning", f"is declared by {' and by '.join(owners)}; only one of them can be used", f"pip uninstall one of {', '.join(owners)}")]


def _broken(group: str, entry: EntryPoint) -> Finding | None:
    try:
        entry.load()
    except Exception as error:  # a stranger's module may raise anything
        own = _owner(entry) == "redteam"
        repair = REPAIR if own else f"ask {_owner(entry)} for a version that fits, or pip uninstall it"
        return Finding(f"{group}/{entry.name}", "problem" if own else "warning", f"of {_owner(entry)} cannot be imported: {type(error).__name__}: {_first_line(error)}", repair)
    return None


def _owner(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist else "an unknown distribution"


def _first_line(error: BaseException) -> str:
    return str(error).strip().split("\n")[0]


def weights() -> Iterator[Finding]:
    """Whether the shipped weights are those that their cards describe."""
    for name in registry.names("models"):
        try:
            model = registry.get("models", name)
        except Exception:  # said by `plugins`
            continue
        if issubclass(model, ReferenceModel):
            yield _weights(model)


def _weights(model: type[ReferenceModel]) -> Finding:
    name, card = f"zoo/{model.name}", model.card().with_suffix(".json")
    found = model.sha256()
    if found == "absent":
        return Finding(name, "problem", f"its weights {model.weights().name} are not there", f"redteam train {name}")
    wanted = json.loads(card.read_text(encoding="utf-8")).get("weights_sha256") if card.is_file() else None
    if wanted is None:
        return Finding(name, "warning", "no card says which weights these are", f"redteam train {name} --evaluate")
    if wanted != found:
        return Finding(name, "problem", f"its weights have sha256 {found[:12]}..., its card describes {wanted[:12]}...", "install redteam again")
    return Finding(name, "ok", f"weights are those of the card, sha256 {found[:12]}...")


def torchattacks() -> Finding:
    """Whether the optional torchattacks is there, and what its wheel does to requests and robustbench."""
    try:
        found = distribution("torchattacks")
    except PackageNotFoundError:
        return Finding("torchattacks", "ok", "not installed; its attacks are optional", 'pip install "redteam[torchattacks]" adds them')
    if _version("robustbench") and any(str(file).startswith("robustbench/") for file in found.files or ()):
        return Finding("torchattacks", "warning", f"{found.version} and robustbench {_version('robustbench')} write the same folder robustbench/, and one has overwritten the other", "keep them in two environments")
    if (held := _version("requests") or "").startswith(PINNED):
        repair = "pip install --upgrade requests (torchattacks works with any; pip will say that it asked for 2.25)"
        return Finding("torchattacks", "warning", f"{found.version} holds requests at {held}, which other packages refuse", repair)
    return Finding("torchattacks", "ok", f"{found.version}, requests {held or 'not installed'}")


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def needs(path: Path) -> Iterator[Finding]:
    """Whether what a scenario names is there: its data can be listed, the files of its targets are what it declares."""
    try:
        scenario, _ = load(path)
    except ScenarioError as error:
        errors = sum(problem.severity == "error" for problem in error.problems)
        yield Finding("scenario", "problem", f"{path} has {errors} mistake{'s' if errors > 1 else ''}", f"redteam validate {path}")
        return
    yield Finding("scenario", "ok", f"{path}: {scenario.name} is valid")
    yield from _data(scenario)
    for entry in scenario.targets:
        try:
            entry.spec.fingerprint()
            yield Finding(f"targets.{entry.id}", "ok", "its files are there and what is declared")
        except (FileNotFoundError, ValueError) as error:
            yield Finding(f"targets.{entry.id}", "problem", str(error), "put the file where the scenario says, or correct the scenario")


def _data(scenario: Scenario) -> Iterator[Finding]:
    for role, entries in scenario.data.items():
        for entry in entries:
            try:
                labels = [sample.label for sample in entry.corpus.samples()]
                yield Finding(f"data.{role}.{entry.id}", "ok", f"{labels.count(0)} images of label 0, {labels.count(1)} of label 1")
            except CorpusError as error:
                yield Finding(f"data.{role}.{entry.id}", "problem", str(error), "correct the path in the scenario")
