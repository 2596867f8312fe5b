"""compare: two finished runs, image by image."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from redteam.console.stopping import guarded
from redteam.run import errors, opening
from redteam.run.errors import Exit, Missing, Refused
from redteam.run.ledger import RunDir, storing, write_whole

if TYPE_CHECKING:
    from redteam.reports.compare import Compared

GATE = {"pass": Exit.COMPLETE, "fail": Exit.GATE_FAILED, "inconclusive": Exit.INCONCLUSIVE}


@dataclass(frozen=True)
class Request:
    """What the command line asks of a comparison.

    where:    KEY=VALUE pairs that select cells of the first run
    targets:  ID=ID pairs: a target of the first run and the one of the second that stands for it
    metrics:  figures to compare; all when empty
    unpaired: whether the runs may be about different images
    gate:     whether a regression is exit status 3
    margin:   by how much a figure may get worse; None where nothing is asked
    output:   Markdown file
    """

    where: Sequence[str] = ()
    targets: Sequence[str] = ()
    metrics: Sequence[str] = ()
    unpaired: bool = False
    gate: bool = False
    margin: float | None = None
    output: Path | None = None


def compare(first: Path, second: Path, request: Request, as_json: bool) -> int:
    """Print what changed from the first run to the second; the exit status is the gate's where one is asked for."""

    def work() -> int:
        found = _compared(first, second, request)
        differs = _what_differs(first, second)
        code = GATE[found.gate()] if request.gate else Exit.COMPLETE
        if request.output:
            _write(request.output, found, differs)
        _print(found, differs, code, request, as_json)
        return code

    return guarded(work)


def _compared(first: Path, second: Path, request: Request) -> Compared:
    from redteam.reports.compare import COMPARED, Options, compare
    from redteam.reports.directory import RunDirectoryError
    from redteam.reports.pairing import NotTheSame, Unfinished

    if request.margin is not None and not request.gate:
        raise Refused("--margin: says how much a regression may be, so it needs --fail-on regression")
    for path in (first, second):
        if not opening.is_run(path):
            raise Refused(f"{path} holds no {opening.RUN}; it is not a run directory")
    try:
        selects = _selection(first, request.where)
        options = Options(selects, request.metrics or COMPARED, _targets(first, second, request.targets), not request.unpaired, request.margin)
        return compare(first, second, options)
    except RunDirectoryError as error:
        raise Missing(str(error)) from error
    except Unfinished as error:
        raise errors.Unfinished(str(error)) from error
    except NotTheSame as error:
        raise Refused(str(error)) from error


def _selection(first: Path, pairs: Sequence[str]) -> Callable[[Mapping[str, Any]], bool]:
    """Which cells are compared: as a gate selects them, and always the unchanged images of the same corpus, target and defense."""
    from redteam.console.selecting import check_where, parse_where
    from redteam.reports.directory import read_summary
    from redteam.scenario.gates import strength_matches

    where = parse_where(pairs)
    place = {key: value for key, value in where.items() if key in ("data", "target", "defense")}
    if where:
        check_where(where, [_cell(cell) for cell in read_summary(first)["cells"]])

    def selects(found: Mapping[str, Any]) -> bool:
        cell = _cell(found)
        clean = cell.attack == "identity" and strength_matches(place | {"attack": "identity"}, cell)
        return clean or strength_matches(where, cell)

    return selects


def _cell(found: Mapping[str, Any]) -> Any:
    """A cell of summary.json as the engine had it."""
    from redteam.record import Cell

    return Cell(**{field.name: found[field.name] for field in dataclasses.fields(Cell) if field.name in found})


def _targets(first: Path, second: Path, pairs: Sequence[str]) -> dict[str, str]:
    """`--target old=new` -> {old: new}."""
    from redteam.reports.directory import read_summary
    from redteam.scenario.reading import repair

    known = [list(dict.fromkeys(cell["target"] for cell in read_summary(path)["cells"])) for path in (first, second)]
    found = {}
    for pair in pairs:
        names = pair.split("=")
        if len(names) != 2:
            raise Refused(f"--target {pair}: must be two ids, such as old=new")
        for name, there, path in zip(names, known, (first, second), strict=True):
            if name not in there:
                raise Refused(f"--target {pair}: {path} has no target {name!r}; {repair(name, there, 'it has')}")
        found[names[0]] = names[1]
    return found


def _what_differs(first: Path, second: Path) -> list[str]:
    """What the locks of two runs disagree on, as a person would name it."""
    from redteam.scenario.lock import changed

    locks = [RunDir(path).read_json(opening.LOCK) for path in (first, second)]
    return changed(*locks) if all(locks) else ["one of the runs has no lock"]


def _write(path: Path, found: Compared, differs: Sequence[str]) -> None:
    from redteam.reports.comparison import markdown

    with storing(path):
        write_whole(path, markdown(found, differs).encode())


def _print(found: Compared, differs: Sequence[str], code: Exit, request: Request, as_json: bool) -> None:
    from rich.console import Console

    from redteam.reports.comparison import as_json as to_json
    from redteam.reports.comparison import gate_line, terminal

    if as_json:
        click.echo(json.dumps(to_json(found, differs) | {"gate": found.gate() if request.gate else None, "exit": int(code)}, allow_nan=False))
        return
    width = None if sys.stdout.isatty() else 100  # a pipe has no width; the table is made for 100
    Console(highlight=False, width=width).print(terminal(found, differs))
    if request.gate:
        click.echo(gate_line(found))
