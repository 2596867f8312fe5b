"""The command line. Each command parses, calls and prints; what it does is elsewhere. Nothing heavy is imported before it is needed."""

from __future__ import annotations

import datetime
import sys
from pathlib import Path

import click

import redteam

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON for a program instead of text for a person.")


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(redteam.__version__, prog_name="redteam")
def main() -> None:
    """Find out how image-forgery detectors break, with evidence for each number.

    \b
    redteam run quickstart        the shipped scenario, under two minutes
    redteam run my.yaml           your own
    redteam list                  attacks, defenses, targets, corpora, scenarios
    """


@main.command()
@click.argument("scenario")
@click.option("-o", "--output", "output", type=click.Path(path_type=Path), help="Run directory; runs/<name>-<time> when not given.")
@click.option("--limit", type=click.IntRange(min=1), help="At most so many evaluation images of each corpus.")
@click.option("--only", help="Glob over data/target/defense/attack, or over the attack alone; control arms always run.")
@click.option("--dry-run", is_flag=True, help="Print what would be computed, and stop.")
@click.option("--device", default="cpu", show_default=True, help="Where targets live: cpu, cuda, cuda:1, mps.")
@as_json
def run(scenario: str, output: Path | None, limit: int | None, only: str | None, dry_run: bool, device: str, as_json: bool) -> None:
    """Run SCENARIO, a YAML file or the name of a shipped scenario, and write its report."""
    from redteam.console import commands

    options = {"limit": limit, "only": only, "device": device}
    path = commands.scenario_path(scenario)
    if dry_run:
        sys.exit(commands.dry_run(path, options, as_json))
    stamp = datetime.datetime.now().strftime("%Y%m%dT%H%M%S")
    sys.exit(commands.run(path, output, options, stamp, as_json))


@main.command()
@click.argument("run_dir", type=click.Path(path_type=Path))
@as_json
def resume(run_dir: Path, as_json: bool) -> None:
    """Go on with the run in RUN_DIR; finished work is kept, changed inputs are refused."""
    from redteam.console import commands

    sys.exit(commands.resume(run_dir, as_json))


@main.command()
@click.argument("scenario")
@as_json
def validate(scenario: str, as_json: bool) -> None:
    """Check SCENARIO and its data, and print every mistake with its line; nothing of yours is imported or run."""
    from redteam.console import commands

    sys.exit(commands.validate(commands.scenario_path(scenario), as_json))


@main.command(name="list")
@click.argument("group", required=False, type=click.Choice(["attacks", "defenses", "targets", "corpora", "forgeries", "models", "scenarios", "metrics"]))
@as_json
def list_(group: str | None, as_json: bool) -> None:
    """List what there is, or one GROUP of it."""
    from redteam.console import catalogue

    catalogue.show_list(group, as_json)


@main.command()
@click.argument("name")
@as_json
def show(name: str, as_json: bool) -> None:
    """Show NAME (attack/pgd, or pgd where it is unambiguous): what it does, its source, its parameters with ranges, and YAML to copy."""
    from redteam.console import catalogue

    sys.exit(catalogue.show(name, as_json))


@main.command()
@click.argument("run_dir", type=click.Path(path_type=Path))
@click.option("--format", "formats", default="html,md,csv,junit", show_default=True, help="Which of html, md, csv, junit to write.")
def report(run_dir: Path, formats: str) -> None:
    """Write the reports of RUN_DIR again, from its records alone; works on an unfinished run."""
    from redteam.console import commands

    sys.exit(commands.report(run_dir, tuple(formats.split(","))))


@main.command()
@click.argument("model")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Where checkpoints and weights go; training/<name> when not given.")
@click.option("--data", type=click.Path(path_type=Path, exists=True, file_okay=False), help="A folder of photographs to train on (with --evaluate: to measure on) instead of the procedural camera scenes.")
@click.option("--steps", type=click.IntRange(min=1), help="Train for so many steps instead of the recipe's own.")
@click.option("--resume", "resume_", is_flag=True, help="Go on from the checkpoint in the output folder.")
@click.option("--evaluate", is_flag=True, help="Measure the shipped weights instead of training.")
@as_json
def train(model: str, output: Path | None, data: Path | None, steps: int | None, resume_: bool, evaluate: bool, as_json: bool) -> None:
    """Train MODEL, a reference model such as zoo/npr-tiny, by its recipe; or measure the one that is shipped."""
    from redteam.console import training

    settings = {name: value for name, value in (("data", data), ("steps", steps)) if value is not None}
    sys.exit(training.evaluate(model, data, as_json) if evaluate else training.train(model, output, settings, resume_, as_json))


if __name__ == "__main__":
    main()
