"""run, resume, validate and report: from arguments to an exit status, every foreseeable failure a sentence."""

from __future__ import annotations

import contextlib
import json
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from redteam.cli import CHANGED, HELD, INCOMPLETE, INTERRUPTED, MISSING, USAGE


def scenario_path(scenario: str) -> Path:
    """A YAML file, or the name of a shipped scenario; a click error where it is neither."""
    path = Path(scenario)
    if path.is_file():
        return path
    known = built_in()
    name = path.name.removesuffix(".yaml") if path.parent.name in ("", "scenarios") else ""
    if name in known:
        return known[name]
    raise click.BadParameter(f"{scenario} is neither a file nor a shipped scenario; shipped are {', '.join(known) or 'none'}", param_hint="SCENARIO")


def built_in() -> dict[str, Path]:
    """The shipped scenarios by name."""
    import redteam.scenarios

    folder = Path(redteam.scenarios.__file__).parent
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def run(scenario: Path, output: Path | None, options: dict[str, Any], stamp: str, as_json: bool) -> int:
    """Begin a run and see it through."""
    from redteam.run import opening  # does not import torch: the scenario is on disk before it

    folder = output or Path("runs") / f"{scenario.stem}-{stamp}"
    try:
        run_dir = opening.begin(folder, scenario, options)
    except FileExistsError as error:
        return _say(str(error), USAGE)
    except OSError as error:
        return _say(f"{folder} cannot be made: {error.strerror or error}", INCOMPLETE)
    code = _see_through(run_dir, as_json)
    if code == USAGE and not (folder / "scenario.lock.json").exists():
        opening.discard(run_dir)  # a scenario with mistakes leaves nothing behind
    return code


def resume(path: Path, as_json: bool) -> int:
    """Go on with a run."""
    from redteam.run.ledger import RunDir

    if not (path / "run.json").is_file():
        return _say(f"{path} holds no run.json; it is not a run directory", USAGE)
    return _see_through(RunDir(path), as_json)


def _see_through(run_dir: Any, as_json: bool) -> int:
    console = Console(stderr=True, highlight=False)
    again = f"redteam resume {shlex.quote(str(run_dir.path))}"
    with _sentences(again) as failure:
        from redteam.console.progress import Display
        from redteam.reports.terminal import closing_table
        from redteam.reports.write import write_reports
        from redteam.run.session import go

        with Display(console) as display:
            ended = go(run_dir, display.update, display.begin)
        write_reports(run_dir.path)
        if as_json:
            click.echo(json.dumps({"run": str(run_dir.path), "exit": ended.code, "summary": ended.closing.summary, "gates": ended.closing.gates}))
        else:
            Console(highlight=False).print(closing_table(ended.closing.summary, ended.closing.gates))
            click.echo(f"report  {run_dir.path / 'report.html'}\nrecords {run_dir.path / 'results.jsonl'}")
        if ended.code == INCOMPLETE:
            click.echo(_incomplete(ended.closing, again), err=True)
        return ended.code
    return failure[0]


def _incomplete(closing: Any, again: str) -> str:
    if closing.missing:
        return f"incomplete: {closing.missing} units are missing; {again}"
    most = closing.summary["limits"]["max_error_rate"]
    return f"incomplete: {closing.lost} of {closing.rows} rows have no outcome, more than limits.max_error_rate {most:g} allows; results.jsonl says why under reason"


@contextlib.contextmanager
def _sentences(again: str) -> Iterator[list[int]]:
    """Turn every failure that is no bug into a sentence and an exit status."""
    from redteam.data.corpus import CorpusError
    from redteam.run.ledger import Held, StorageError
    from redteam.run.opening import Changed

    failure = [1]
    try:
        yield failure
    except KeyboardInterrupt:
        failure[0] = _say(f"interrupted; everything finished is kept. Go on with: {again}", INTERRUPTED)
    except Held as error:
        failure[0] = _say(str(error), HELD)
    except Changed as error:
        failure[0] = _say(str(error), CHANGED)
    except StorageError as error:
        failure[0] = _say(f"{error}. Everything finished is kept; make room and go on with: {again}", INCOMPLETE)
    except FileNotFoundError as error:
        failure[0] = _say(str(error), MISSING)
    except CorpusError as error:
        failure[0] = _say(str(error), USAGE)
    except Exception as error:
        from redteam.scenario.errors import ScenarioError

        if isinstance(error, ScenarioError):
            failure[0] = _say(str(error), USAGE)
        elif isinstance(error, (ValueError, RuntimeError)) and getattr(error, "__traceback__", None) and _is_users(error):
            failure[0] = _say(str(error), USAGE)
        else:
            raise


def _is_users(error: Exception) -> bool:
    """Whether an error was raised as a sentence for the user (by planning or the coordinator), not by a bug."""
    frame = error.__traceback__
    while frame.tb_next is not None:
        frame = frame.tb_next
    return frame.tb_frame.f_globals.get("__name__", "") in ("redteam.run.environment", "redteam.run.coordinator", "redteam.targets.loading", "redteam.targets.python")


def _say(sentence: str, code: int) -> int:
    click.echo(sentence, err=True)
    return code


def dry_run(path: Path, options: dict[str, Any], as_json: bool) -> int:
    """Print what would be computed."""

    def work() -> int:
        from redteam.scenario.load import load
        from redteam.scenario.plan import Options, count_gradients, make_plan

        scenario, _ = load(path)
        plan = make_plan(scenario, Options(**options))
        images = sum(plan.images_of(unit) for unit in plan.units)
        facts = {"cells": len(plan.cells), "units": len(plan.units), "rows": images, "image_gradients": count_gradients(plan)}
        if as_json:
            click.echo(json.dumps(facts | {"matrix": [plan.lock["cells"][item.cell.key] for item in plan.cells]}))
        else:
            for item in plan.cells:
                click.echo(f"{item.cell.data:12} {item.cell.target:12} {item.cell.defense:10} {item.cell.label}")
            click.echo(f"{facts['cells']} cells, {facts['units']} units, {images} rows, at most {facts['image_gradients']} image-gradients")
        return 0

    return _guarded(work)


def validate(path: Path, as_json: bool) -> int:
    """Print the mistakes of a scenario."""
    from redteam.scenario.errors import ScenarioError
    from redteam.scenario.load import load

    def work() -> int:
        try:
            scenario, warnings = load(path, read_data=True)
        except ScenarioError as error:
            click.echo(json.dumps({"valid": False, "problems": error.to_json()}) if as_json else str(error), err=not as_json)
            return USAGE
        if as_json:
            click.echo(json.dumps({"valid": True, "problems": [warning.to_json() for warning in warnings]}))
        else:
            for warning in warnings:
                click.echo(warning.render(), err=True)
            click.echo(f"{path}: {scenario.name} is valid")
        return 0

    return _guarded(work)


def _guarded(work: Callable[[], int]) -> int:
    with _sentences("redteam run") as failure:
        return work()
    return failure[0]


def report(path: Path, formats: tuple[str, ...]) -> int:
    """Write the reports of a run again."""
    from redteam.reports.write import FORMATS, write_reports

    unknown = [name for name in formats if name not in FORMATS]
    if unknown:
        return _say(f"--format: unknown {unknown[0]!r}; there are {', '.join(FORMATS)}", USAGE)
    if not (path / "run.json").is_file():
        return _say(f"{path} holds no run.json; it is not a run directory", USAGE)
    for written in write_reports(path, formats):
        click.echo(str(written))
    return 0
