"""export: attacked images with a manifest that a trainer or another scenario reads."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from redteam.console.stopping import guarded
from redteam.run import opening
from redteam.run.errors import Exit, Refused
from redteam.run.ledger import RunDir

if TYPE_CHECKING:
    from redteam.run.exporting import Exported

SHOWN = 5  # images that did not come out as recorded and are named


def export(path: Path, folder: Path, where: Sequence[str], *, only_success: bool, as_json: bool) -> int:
    """Write the selected attacked images: 0 where all came out as they were recorded, 3 where some did not and were left out."""

    def work() -> int:
        if not opening.is_run(path):
            raise Refused(f"{path} holds no {opening.RUN}; it is not a run directory")
        found = _exported(RunDir(path), folder, where, only_success)
        code = Exit.GATE_FAILED if found.different else Exit.COMPLETE
        if as_json:
            told = {"schema": "redteam.export/1", "run": str(path), "manifest": str(found.manifest), "images": found.images}
            click.echo(json.dumps(told | {"different": found.different, "without_image": found.without_image, "exit": int(code)}))
        else:
            _show(found)
        return code

    return guarded(work)


def _exported(run_dir: RunDir, folder: Path, where: Sequence[str], only_success: bool) -> Exported:
    from rich.console import Console

    from redteam.console.progress import Display
    from redteam.console.selecting import check_where, parse_where
    from redteam.run import exporting

    plan, _ = opening.reopen(run_dir)
    opening.lock(run_dir, plan)
    selection = parse_where(where)
    check_where(selection, [item.cell for item in plan.cells])
    chosen = exporting.choose(run_dir, plan, selection, only_success=only_success)
    click.echo(f"{len(chosen)} images; computing them again", err=True)
    with Display(Console(stderr=True, highlight=False)) as display:
        return exporting.export(run_dir, plan, chosen, folder, report=display.update)


def _show(found: Exported) -> None:
    for rid, fields in list(found.different.items())[:SHOWN]:
        click.echo(f"not exported: {rid} did not come out as it was recorded ({', '.join(fields)})", err=True)
    if len(found.different) > SHOWN:
        click.echo(f"and {len(found.different) - SHOWN} more", err=True)
    if found.without_image:
        click.echo(f"{found.without_image} selected rows have no outcome, and so no image", err=True)
    click.echo(f"{found.images} images\nmanifest {found.manifest}")
