"""run, resume, validate and report: from arguments to an exit status."""

from __future__ import annotations

import json
import shlex
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from redteam.console.stopping import guarded, say
from redteam.run import opening  # does not import torch: a run is on disk before it
from redteam.run.errors import Exit, Missing, Refused
from redteam.run.ledger import RunDir

if TYPE_CHECKING:
    from redteam.run.session import Ended


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


def run(scenario: Path, folder: Path, options: dict[str, Any], workers: int | None, as_json: bool) -> int:
    """Begin a run and see it through."""

    def work() -> int:
        run_dir = opening.begin(folder, scenario, options)
        try:
            return _see_through(run_dir, workers, as_json)
        except (Refused, Missing) as stop:
            stop.resumable &= not opening.discard(run_dir)
            raise

    return guarded(work, _again(folder))


def resume(path: Path, workers: int | None, as_json: bool) -> int:
    """Go on with a run."""
    if not opening.is_run(path):
        return _no_run(path)
    return guarded(lambda: _see_through(RunDir(path), workers, as_json), _again(path))


def work(path: Path, workers: int | None) -> int:
    """Help with a run."""
    if not opening.is_run(path):
        return _no_run(path)

    def help_out() -> int:
        from redteam.console.progress import watched
        from redteam.run import session

        with watched() as watch:
            done = session.work(RunDir(path), watch, workers=workers)
        click.echo(f"computed {done.computed} of {done.units} units here, and all are there; where no process holds the run, go on with: {_again(path)}")
        return Exit.COMPLETE

    return guarded(help_out, f"redteam work {shlex.quote(str(path))}")


def _again(folder: Path) -> str:
    return f"redteam resume {shlex.quote(str(folder))}"


def _no_run(path: Path) -> int:
    return say(f"{path} holds no {opening.RUN}; it is not a run directory", Exit.REFUSED)


def _see_through(run_dir: RunDir, workers: int | None, as_json: bool) -> int:
    with run_dir.hold():  # before anything heavy: whoever comes second is told at once
        from redteam.console.progress import watched
        from redteam.run.session import go

        with watched() as watch:
            ended = go(run_dir, watch, workers=workers)
        _write_reports(run_dir)
    _show(run_dir, ended, as_json)
    if ended.code == Exit.INCOMPLETE:
        say(_incomplete(run_dir, ended), ended.code)
    return ended.code


def _show(run_dir: RunDir, ended: Ended, as_json: bool) -> None:
    from rich.console import Console

    from redteam.reports.terminal import closing_table

    closing = ended.closing
    if as_json:
        click.echo(json.dumps({"run": str(run_dir.path), "exit": int(ended.code), "summary": closing.summary, "gates": closing.gates}))
    else:
        width = None if sys.stdout.isatty() else 100  # a pipe has no width; the table is made for 100
        Console(highlight=False, width=width).print(closing_table(closing.summary, closing.gates))
        click.echo(f"report  {run_dir.path / 'report.html'}\nrecords {run_dir.results}")


def _incomplete(run_dir: RunDir, ended: Ended) -> str:
    closing = ended.closing
    if closing.missing:
        return f"incomplete: {closing.missing} units are missing; go on with: {_again(run_dir.path)}"
    most = closing.summary["limits"]["max_error_rate"]
    reason, times = _commonest_reason(run_dir)
    return f"incomplete: {closing.worst_cell} have no outcome, more than limits.max_error_rate {most:g} allows; most often ({times}): {reason}"


def _commonest_reason(run_dir: RunDir) -> tuple[str, int]:
    """Why rows have no outcome: the reason that most of them give."""
    with open(run_dir.results, encoding="utf-8") as lines:
        rows = (json.loads(line) for line in lines if '"status":"ok"' not in line)
        return Counter(row["reason"].removeprefix("as without an attack: ") for row in rows if row["status"] != "ok").most_common(1)[0]


def _write_reports(run_dir: RunDir, formats: tuple[str, ...] | None = None) -> list[Path]:
    from redteam.reports.write import ALWAYS, write_reports
    from redteam.run.ledger import storing

    with storing(run_dir.path / "reports"):
        return write_reports(run_dir.path, formats or ALWAYS)


def dry_run(path: Path, options: dict[str, Any], as_json: bool) -> int:
    """Print what would be computed."""

    def work() -> int:
        from redteam.scenario.plan import count_gradients

        plan, warnings = opening.plan_of(path, None, options)
        _warn(warnings)
        images = sum(plan.images_of(unit) for unit in plan.units)
        facts = {"cells": len(plan.cells), "units": len(plan.units), "rows": images, "image_gradients": count_gradients(plan)}
        if as_json:
            matrix = [{name: getattr(item.cell, name) for name in ("data", "target", "defense", "attack", "goal", "strength", "repeat")} for item in plan.cells]
            click.echo(json.dumps(facts | {"matrix": matrix}))
        else:
            for item in plan.cells:
                click.echo(f"{item.cell.data:12} {item.cell.target:12} {item.cell.defense:10} {item.cell.label}")
            click.echo(f"{facts['cells']} cells, {facts['units']} units, {images} rows, at most {facts['image_gradients']} image-gradients")
        return Exit.COMPLETE

    return guarded(work)


def validate(path: Path, sets: Sequence[str], as_json: bool) -> int:
    """Print the mistakes of a scenario."""

    def work() -> int:
        from redteam.scenario.errors import ScenarioError, to_json
        from redteam.scenario.load import load

        try:
            scenario, warnings = load(path, sets=sets, read_data=True)
        except ScenarioError as error:
            click.echo(error.to_json() if as_json else str(error), err=not as_json)
            return Exit.REFUSED
        if as_json:
            click.echo(to_json(warnings))
        else:
            _warn(warnings)
            click.echo(f"{path}: {scenario.name} is valid")
        return Exit.COMPLETE

    return guarded(work)


def _warn(warnings: list[Any]) -> None:
    for warning in warnings:
        click.echo(str(warning), err=True)


def report(path: Path, formats: tuple[str, ...]) -> int:
    """Write the reports of a run again; one that is not finished is summed up as far as it has come."""

    def work() -> int:
        from redteam.reports.directory import RunDirectoryError
        from redteam.reports.write import FORMATS

        if unknown := [name for name in formats if name not in FORMATS]:
            raise Refused(f"--format: unknown {unknown[0]!r}; there are {', '.join(FORMATS)}")
        run_dir = RunDir(path)
        if not _finished(run_dir):
            with run_dir.hold():
                from redteam.run.session import close

                close(run_dir)
        try:
            for written in _write_reports(run_dir, formats):
                click.echo(str(written))
        except RunDirectoryError as error:
            raise Missing(str(error)) from error
        return Exit.COMPLETE

    return guarded(work) if opening.is_run(path) else _no_run(path)


def _finished(run_dir: RunDir) -> bool:
    run = run_dir.read_json(opening.RUN) or {}
    return run.get("status") == "complete" and (run_dir.path / "summary.json").is_file()
