"""validate --deep: what a look at every target found, for a person or a program."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from redteam.console.stopping import guarded
from redteam.run.errors import Exit

STYLES = {"ready": "green", "warned": "yellow", "refused": "red", "missing": "red"}
SCHEMA = "redteam.preflight/1"
WIDTH, INDENT = 118, 18


def preflight(path: Path, device: str, sets: Sequence[str], as_json: bool) -> int:
    """Look at every target and say whether a run would mean something."""

    def work() -> int:
        from rich.console import Console

        from redteam.run.preflight import check
        from redteam.scenario.errors import ScenarioError
        from redteam.scenario.plan import Options

        with Console(stderr=True).status("") as status:
            try:
                checked = check(path, Options(device=device, sets=tuple(sets)), lambda target: status.update(f"looking at {target}"))
            except ScenarioError as error:
                click.echo(error.to_json() if as_json else str(error), err=not as_json)
                return Exit.REFUSED
        (_print_json if as_json else _print)(path, checked)
        return Exit.COMPLETE if checked.ready else Exit.MISSING if checked.missing else Exit.REFUSED

    return guarded(work)


def _print_json(path: Path, checked: Any) -> None:
    from redteam.scenario.errors import in_order

    problems = [problem.as_dict() for problem in in_order(checked.problems)]
    found = {"schema": SCHEMA, "scenario": checked.scenario.name, "ready": checked.ready, "targets": checked.targets, "problems": problems}
    click.echo(json.dumps(found, allow_nan=False))


def _print(path: Path, checked: Any) -> None:
    from redteam.scenario.errors import in_order

    for report in checked.targets:
        click.echo(f"{click.style(report['id'], bold=True)}  {report['kind']}  {click.style(report['verdict'], fg=STYLES[report['verdict']])}")
        for name, value in _rows(report):
            click.echo(textwrap.fill(value, WIDTH, initial_indent=f"  {name:<{INDENT - 2}}", subsequent_indent=" " * INDENT))
    for problem in in_order(checked.problems):
        click.echo(str(problem), err=True)
    verdicts = [report["verdict"] for report in checked.targets]
    counts = ", ".join(f"{verdicts.count(verdict)} {verdict}" for verdict in STYLES if verdict in verdicts)
    click.echo(f"{path}: {counts}" + ("" if checked.ready else "; repair what is refused before you run"))


def _rows(report: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Name and value of everything that was found, in the order of interest."""
    if "access" in report:
        yield "access", report["access"]
        yield "threshold", _threshold(report)
    for note in report.get("notes", ()):
        yield "note", note
    for data in report["data"]:
        yield f"on {data['id']}", f"{data['n']} images, {data['label_1']} of them fake{_lost(data['lost'])}"
        yield from _figures(data)


def _figures(data: dict[str, Any]) -> Iterator[tuple[str, str]]:
    metrics, scores, repeat, gradient, latency = (data[name] for name in ("metrics", "scores", "repeat", "gradient", "latency_ms"))
    if "auc" in metrics:
        yield "  AUC", f"{metrics['auc']['value']:.3f}  [{metrics['auc']['low']:.3f}, {metrics['auc']['high']:.3f}]"
    elif "auc" in data["absent"]:
        yield "  AUC", f"none: {data['absent']['auc']}"
    if "tpr" in metrics:
        yield "  fakes found", _percent(*(metrics["tpr"][end] for end in ("value", "low", "high")))
    if "fpr" in metrics:
        yield "  reals left", _percent(*(1 - metrics["fpr"][end] for end in ("value", "high", "low")))
    if scores:
        yield "  scores", f"{scores['low']:.4g} to {scores['high']:.4g}, median {scores['median']:.4g}; {scores['distinct']} distinct{_saturated(scores['saturated'])}"
    if repeat:
        moved = f"scores moved by up to {repeat['largest_change']:.2g}" if repeat["largest_change"] else "the same scores"
        yield "  asked again", f"{moved}, {repeat['decisions_changed']} of {repeat['n']} decisions changed"
    if gradient:
        yield "  gradient", f"finite on {gradient['n'] - gradient['broken']} of {gradient['n']} images, zero on {gradient['zero']}"
    if latency:
        yield "  time", ", ".join(f"{value:.3g} ms a {name}" for name, value in latency.items()) + ", for each image"
    yield "  files", "tell the classes apart" if data["files"] else "do not tell the classes apart"


def _threshold(report: dict[str, Any]) -> str:
    how = {
        "default": "even odds",
        "fixed": "as given",
        "at_fpr": f"{100 * (report['at_fpr'] or 0):.3g} % false positives on {report['negatives']} real calibration images",
    }[report["how"]]
    return f"{report['threshold']:.4g} log-odds, {how}"


def _percent(value: float, low: float, high: float) -> str:
    return f"{100 * value:.0f} %  [{100 * low:.0f}, {100 * high:.0f}]"


def _lost(n: int) -> str:
    return f", {n} without a score" if n else ""


def _saturated(share: float) -> str:
    return f"; {100 * share:.0f} % beyond ±16.6, where a probability is 0 or 1" if share else ""
