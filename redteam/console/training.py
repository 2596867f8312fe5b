"""train: run a recipe, or measure what is shipped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from redteam import registry
from redteam.data.corpus import CorpusError


def _recipe(model: str, settings: dict[str, Any]) -> tuple[str, Any]:
    name = model.removeprefix("zoo/")
    try:
        return name, registry.get("recipes", name)(**settings)
    except registry.UnknownComponent as error:
        raise click.BadParameter(str(error), param_hint="MODEL") from error


def train(model: str, output: Path | None, settings: dict[str, Any], resume: bool) -> dict[str, Any]:
    """Train by the recipe; Ctrl-C keeps the last checkpoint."""
    name, recipe = _recipe(model, settings)
    folder = output or Path("training") / name
    folder.mkdir(parents=True, exist_ok=True)
    try:
        found = recipe.train(folder, resume=resume, progress=lambda line: click.echo(line, err=True))
    except KeyboardInterrupt:
        click.echo(f"interrupted; go on with: redteam train {model} -o {folder} --resume", err=True)
        raise SystemExit(130) from None
    except (FileNotFoundError, CorpusError) as error:
        click.echo(str(error), err=True)
        raise SystemExit(5) from error
    return found | {"weights": str(folder / f"{name}.safetensors")}


def evaluate(model: str, photographs: Path | None) -> dict[str, Any]:
    """Measure the shipped weights as their card does."""
    name, recipe = _recipe(model, {})
    try:
        module = registry.get("models", name).load("cpu")
    except FileNotFoundError as error:
        click.echo(str(error), err=True)
        raise SystemExit(5) from error
    return recipe.evaluate(module, photographs=photographs, progress=lambda line: click.echo(line, err=True))


def as_text(figures: dict[str, Any]) -> str:
    """One figure a line."""
    width = max(map(len, figures), default=0)
    return "\n".join(f"{name:{width}}  {value:.4g}" if isinstance(value, float) else f"{name:{width}}  {value}" for name, value in figures.items())
