"""The command line. Each command parses, calls and prints; what it does is elsewhere. Nothing heavy is imported before it is needed."""

from __future__ import annotations

import datetime
import sys
from pathlib import Path
from typing import Any

import click

import redteam

sets = click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="Set one value above the file, such as attacks.pgd.steps=50; entries go by their id. May be repeated.")


class Workers(click.ParamType):
    """`local:N`, or N alone: so many workers on this machine."""

    name = "local:N"

    def convert(self, value: object, param: click.Parameter | None, context: click.Context | None) -> int:
        """The number."""
        number = str(value).removeprefix("local:")
        if not number.isdecimal() or int(number) < 1:
            self.fail(f"must be local:N with N of at least 1, got {value!r}; local:2 starts two workers on this machine", param, context)
        return int(number)


workers = click.option("--workers", type=Workers(), help="How many processes compute; as many as there are free cores, at most 4, when not given, and one on an accelerator.")
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON for a program instead of text for a person.")


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(redteam.__version__, prog_name="redteam")
def main() -> None:
    """Find out how image-forgery detectors break, with evidence for each number.

    \b
    redteam run quickstart        the shipped scenario, under two minutes
    redteam init my-eval          a scenario and a target stub, to begin your own
    redteam run my.yaml           your own
    redteam list                  attacks, defenses, targets, corpora, scenarios
    """


@main.command()
@click.argument("folder", metavar="[DIR]", required=False, default=".", type=click.Path(path_type=Path))
def init(folder: Path) -> None:
    """Write a commented scenario and a target stub into DIR, which run as they are; nothing that exists is overwritten."""
    from redteam.console import starting

    sys.exit(starting.init(folder))


@main.command()
@click.argument("scenario")
@click.option("-o", "--output", "output", type=click.Path(path_type=Path), help="Run directory; runs/<name>-<time> when not given.")
@click.option("--limit", type=click.IntRange(min=1), help="At most so many evaluation images of each corpus.")
@click.option("--only", help="Glob over data/target/defense/attack, or over the attack alone; control arms always run.")
@click.option("--dry-run", is_flag=True, help="Print what would be computed, and stop.")
@click.option("--device", default="cpu", show_default=True, help="Where targets live: cpu, cuda, cuda:1, mps.")
@click.option("--micro-batch", type=click.IntRange(min=1), default=16, show_default=True, help="Images that are scored and attacked together; results may hang on it in the last bit.")
@click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True, help="Of torch, in each worker; results may hang on it in the last bit.")
@workers
@sets
@as_json
def run(scenario: str, output: Path | None, dry_run: bool, workers: int | None, as_json: bool, **options: Any) -> None:
    """Run SCENARIO, a YAML file or the name of a shipped scenario, and write its report."""
    from redteam.console import commands

    options["sets"] = list(options["sets"])
    path = commands.scenario_path(scenario)
    if dry_run:
        sys.exit(commands.dry_run(path, options, as_json))
    folder = output or Path("runs") / f"{path.stem}-{datetime.datetime.now().strftime('%Y%m%dT%H%M%S')}"
    sys.exit(commands.run(path, folder, options, workers, as_json))


@main.command()
@click.argument("run_dir", type=click.Path(path_type=Path))
@workers
@as_json
def resume(run_dir: Path, workers: int | None, as_json: bool) -> None:
    """Go on with the run in RUN_DIR; finished work is kept, changed inputs are refused."""
    from redteam.console import commands

    sys.exit(commands.resume(run_dir, workers, as_json))


@main.command()
@click.argument("run_dir", type=click.Path(path_type=Path))
@workers
def work(run_dir: Path, workers: int | None) -> None:
    """Help with the run in RUN_DIR while another process holds it, on this or any machine that shares the directory."""
    from redteam.console import commands

    sys.exit(commands.work(run_dir, workers))


@main.command()
@click.argument("scenario")
@click.option("--deep", is_flag=True, help="Load each target in a process of its own, score a sample of the data, and refuse what would make a run meaningless.")
@click.option("--device", help="With --deep: where targets live, cpu when not given.")
@sets
@as_json
def validate(scenario: str, deep: bool, device: str | None, sets: tuple[str, ...], as_json: bool) -> None:
    """Check SCENARIO and its data, and print every mistake with its line; unless --deep is given nothing of yours is imported or run."""
    from redteam.console import commands

    if deep:
        from redteam.console.preflight import preflight

        sys.exit(preflight(commands.scenario_path(scenario), device or "cpu", sets, as_json))
    if device:
        raise click.UsageError("--device goes with --deep; without it no target is loaded")
    sys.exit(commands.validate(commands.scenario_path(scenario), sets, as_json))


@main.command()
@click.argument("scenario", required=False)
@as_json
def doctor(scenario: str | None, as_json: bool) -> None:
    """Look whether this machine and what is installed can run scenarios, and SCENARIO in particular; each trouble comes with its repair."""
    from redteam.console import commands
    from redteam.console.doctor import doctor as examine

    sys.exit(examine(commands.scenario_path(scenario) if scenario else None, as_json))


@main.command()
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="A file to write it to instead of printing it.")
def schema(output: Path | None) -> None:
    """Print a JSON Schema of scenario files, with which an editor completes and checks them."""
    from redteam.console.schema import schema as write

    sys.exit(write(output))


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
@click.option("--format", "formats", default="html,md,csv,junit", show_default=True, help="Which of html, md, csv, junit, svg to write; svg puts each drawing into figures/.")
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


@main.command()
@click.argument("first", metavar="A", type=click.Path(path_type=Path))
@click.argument("second", metavar="B", type=click.Path(path_type=Path))
@click.option("--where", multiple=True, metavar="KEY=VALUE", help="Only such cells, such as attack=pgd or eps=4/255, and the unchanged images beside them. May be repeated.")
@click.option("--metric", "metrics", multiple=True, type=click.Choice(["robust_accuracy", "tpr", "fpr", "auc", "attack_success_rate", "frame_rate"]), help="Only this figure. May be repeated.")
@click.option("--target", "targets", multiple=True, metavar="A_ID=B_ID", help="The target of B that stands for one of A, where their ids differ. May be repeated.")
@click.option("--unpaired", is_flag=True, help="The runs are about different images; shows less than pairs would.")
@click.option("--fail-on", type=click.Choice(["regression"]), help="Exit status 3 where a figure got worse, 7 where that cannot be told.")
@click.option("--margin", type=click.FloatRange(min=0, max=1), help="With --fail-on: a figure may get worse by so much (0.05 is five percentage points).")
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Write the comparison as Markdown too.")
@as_json
def compare(first: Path, second: Path, fail_on: str | None, as_json: bool, **request: Any) -> None:
    """Compare the finished run in B with that in A, image by image: what got worse, what got better, what cannot be told."""
    from redteam.console import compare as comparing

    sys.exit(comparing.compare(first, second, comparing.Request(gate=fail_on is not None, **request), as_json))


@main.command()
@click.argument("run_dir", type=click.Path(path_type=Path))
@click.argument("rid")
@click.option("-o", "--output", type=click.Path(path_type=Path, file_okay=False), help="Write the image before, after and its amplified difference into this folder.")
@as_json
def replay(run_dir: Path, rid: str, output: Path | None, as_json: bool) -> None:
    """Compute the row RID of RUN_DIR again and say whether it is the same; 8 digits of the rid are enough where they are its alone.

    Exit status 3 where it is not the same, 6 where the inputs changed since the run.
    """
    from redteam.console import replay as replaying

    sys.exit(replaying.replay(run_dir, rid, output, as_json))


@main.command()
@click.argument("run_dir", type=click.Path(path_type=Path))
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="A new or empty folder.")
@click.option("--where", multiple=True, metavar="KEY=VALUE", help="Only such cells, such as attack=pgd or eps=4/255; control arms only where an attack is named. May be repeated.")
@click.option("--only", type=click.Choice(["all", "success"]), default="all", show_default=True, help="All attacked images, or those with which the attack succeeded.")
@as_json
def export(run_dir: Path, output: Path, where: tuple[str, ...], only: str, as_json: bool) -> None:
    """Write the attacked images of RUN_DIR as PNG files, with a manifest that a trainer or another scenario reads.

    They are computed again; one that does not come out as it was recorded is named and left out (exit status 3).
    """
    from redteam.console import export as exporting

    sys.exit(exporting.export(run_dir, output, where, only_success=only == "success", as_json=as_json))


if __name__ == "__main__":
    main()
