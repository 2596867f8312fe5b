"""train: run a recipe, or measure what is shipped."""

from __future__ import annotations

import contextlib
import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from redteam import registry
from redteam.console.stopping import guarded
from redteam.data.corpus import CorpusError
from redteam.run.errors import Exit, Missing, Refused


def train(model: str, output: Path | None, settings: dict[str, Any], resume: bool, as_json: bool) -> int:
    """Train by the recipe; Ctrl-C keeps the last checkpoint."""
    name = model.removeprefix("zoo/")
    folder = output or Path("training") / name

    def work() -> int:
        with _sentences():
            recipe = registry.get("recipes", name)(**settings)
            folder.mkdir(parents=True, exist_ok=True)
            found = recipe.train(folder, resume=resume, progress=_progress)
        return _show(found | {"weights": str(folder / f"{name}.safetensors")}, as_json)

    return guarded(work, f"redteam train {model} -o {shlex.quote(str(folder))} --resume")


def evaluate(model: str, photographs: Path | None, as_json: bool) -> int:
    """Measure the shipped weights as their card does."""
    name = model.removeprefix("zoo/")

    def work() -> int:
        with _sentences():
            recipe, module = registry.get("recipes", name)(), registry.get("models", name).load("cpu")
            return _show(recipe.evaluate(module, photographs=photographs, progress=_progress), as_json)

    return guarded(work)


@contextlib.contextmanager
def _sentences() -> Iterator[None]:
    try:
        yield
    except (registry.UnknownComponent, CorpusError) as error:
        raise Refused(str(error)) from error
    except FileNotFoundError as error:
        raise Missing(str(error)) from error


def _progress(line: str) -> None:
    click.echo(line, err=True)


def _show(figures: dict[str, Any], as_json: bool) -> int:
    click.echo(json.dumps(figures, indent=1) if as_json else as_text(figures))
    return Exit.COMPLETE


def as_text(figures: dict[str, Any]) -> str:
    """One figure a line."""
    width = max(map(len, figures), default=0)
    return "\n".join(f"{name:{width}}  {value:.4g}" if isinstance(value, float) else f"{name:{width}}  {value}" for name, value in figures.items())
