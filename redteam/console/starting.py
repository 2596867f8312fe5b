"""init: a scenario and a target that run as they are, to begin from."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import click

from redteam.console.stopping import guarded
from redteam.run.errors import Exit, Refused, StorageError

TEMPLATES = Path(__file__).parent / "templates"
FILES = ("scenario.yaml", "my_target.py")


def init(folder: Path) -> int:
    """Write the files of a first evaluation into a folder; nothing that exists is touched."""
    return guarded(lambda: _init(folder))


def _init(folder: Path) -> int:
    there = [name for name in FILES if os.path.lexists(folder / name)]
    if there:
        raise Refused(f"{folder}: {' and '.join(there)} {'exists' if len(there) == 1 else 'exist'} already and nothing was written; name another folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in FILES:
            with open(folder / name, "xb") as file:
                file.write((TEMPLATES / name).read_bytes())
            click.echo(f"wrote {folder / name}")
    except OSError as error:
        raise StorageError(f"{folder}: cannot be written ({error.strerror or error}); name another folder") from error
    scenario = shlex.quote(str(folder / FILES[0]))
    click.echo(f"next:\n  redteam validate {scenario}\n  redteam run {scenario}")
    return Exit.COMPLETE
