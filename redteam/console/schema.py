"""schema: the JSON Schema of scenario files, printed or written."""

from __future__ import annotations

import json
from pathlib import Path

import click

from redteam.console.stopping import guarded
from redteam.run.errors import Exit
from redteam.run.ledger import write_whole


def schema(output: Path | None) -> int:
    """Print it, or write it and say how an editor finds it."""

    def work() -> int:
        from redteam.scenario.json_schema import scenario_schema

        text = json.dumps(scenario_schema(), indent=1, allow_nan=False)
        if output is None:
            click.echo(text)
        else:
            write_whole(output, f"{text}\n".encode())
            click.echo(f"wrote {output}; first line of a scenario, for editors with a YAML language server:\n# yaml-language-server: $schema={output}")
        return Exit.COMPLETE

    return guarded(work)
