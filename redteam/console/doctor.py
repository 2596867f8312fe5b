"""doctor: what is in order, what is not, and the repair."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from redteam.console.stopping import guarded, say
from redteam.run.errors import Exit

if TYPE_CHECKING:
    from redteam.run.machine import Finding

STYLES = {"ok": "green", "warning": "yellow", "problem": "red"}


def doctor(scenario: Path | None, as_json: bool) -> int:
    """Look at everything, one line each; 5 where something needed is missing."""

    def work() -> int:
        try:
            import torch  # noqa: F401 - everything else rests on it
        except (ImportError, OSError) as error:
            return say(f"problem  torch cannot be imported: {error}\n         repair: pip install --force-reinstall torch torchvision", Exit.MISSING)
        found = []
        for finding in _findings(scenario):
            found.append(finding)
            if not as_json:
                _show(finding)
        missing = any(finding.state == "problem" for finding in found)
        if as_json:
            click.echo(json.dumps({"schema": "redteam.doctor/1", "findings": [asdict(finding) for finding in found]}, indent=1))
        return Exit.MISSING if missing else Exit.COMPLETE

    return guarded(work)


def _findings(scenario: Path | None) -> Iterator[Finding]:
    from redteam.run.installed import installed, needs
    from redteam.run.machine import machine, trust

    yield from machine(Path())
    yield from installed()
    yield from trust()
    if scenario:
        yield from needs(scenario)


def _show(finding: Finding) -> None:
    click.echo(f"{click.style(f'{finding.state:8}', fg=STYLES[finding.state])} {finding.name}: {finding.detail}")
    if finding.repair:
        click.echo(f"{'':8} repair: {finding.repair}" if finding.state != "ok" else f"{'':8} {finding.repair}")
