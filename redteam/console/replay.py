"""replay: one row of a run computed again, and whether it is the same."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from redteam.console.stopping import guarded
from redteam.run import opening
from redteam.run.errors import Exit, Refused
from redteam.run.ledger import RunDir, storing

if TYPE_CHECKING:
    from redteam.record import Cell, Record
    from redteam.run.replay import Change

AMPLIFIED, GREY = (64, 32, 16, 8, 4, 2), 128  # of a difference picture: factors, and the level of no difference


@dataclass(frozen=True)
class Replayed:
    """One row twice.

    changes:     the fields that differ
    picture:     whether the attacked image that the run kept is the same; None where it kept none
    environment: what is not as it was when the run was computed; read where a row differs
    files:       pictures that were written
    """

    cell: Cell
    before: Record
    after: Record
    changes: list[Change]
    picture: bool | None
    environment: list[Change]
    files: list[Path]

    @property
    def same(self) -> bool:
        """Whether nothing differs."""
        return not self.changes and self.picture is not False


def replay(path: Path, rid: str, output: Path | None, as_json: bool) -> int:
    """Compute one row again and say whether it is the same: 0 where it is, 3 where it is not."""

    def work() -> int:
        if not opening.is_run(path):
            raise Refused(f"{path} holds no {opening.RUN}; it is not a run directory")
        with tempfile.TemporaryDirectory(prefix="redteam-replay-") as scratch:
            found = _replayed(RunDir(path), rid, Path(scratch), output)
        if as_json:
            click.echo(json.dumps(_as_json(path, found), allow_nan=False))
        else:
            _show(found)
        return Exit.COMPLETE if found.same else Exit.GATE_FAILED

    return guarded(work)


def _replayed(run_dir: RunDir, rid: str, scratch: Path, output: Path | None) -> Replayed:
    from redteam.run import replay as engine
    from redteam.run.environment import describe

    plan, _ = opening.reopen(run_dir)
    opening.lock(run_dir, plan)
    unit, before = engine.find(run_dir, plan, rid)
    beside = engine.again(run_dir, plan, [unit], scratch)
    after = engine.rows_of(beside, unit)[before.rid]
    then, now = run_dir.read_json("env.json") or {}, describe(plan.options.device, plan.options.threads)
    files = _pictures(beside.path, after, output) if output else []
    return Replayed(
        plan.cells[unit.cell].cell, before, after, engine.changes(before, after), _same_picture(run_dir.path, before, beside.path, after),
        engine.differences(then, now), files,
    )  # fmt: skip


def _levels(folder: Path, row: Record, role: str) -> Any:
    """(h, w, 3) of a kept image as whole numbers that can be subtracted; None where there is none."""
    import numpy as np
    from PIL import Image

    if role not in row.artifacts or not (folder / row.artifacts[role]).is_file():
        return None
    with Image.open(folder / row.artifacts[role]) as image:
        return np.asarray(image.convert("RGB")).astype(np.int16)


def _same_picture(run: Path, before: Record, beside: Path, after: Record) -> bool | None:
    import numpy as np

    kept, now = _levels(run, before, "after"), _levels(beside, after, "after")
    return None if kept is None or now is None else bool(np.array_equal(kept, now))


def _pictures(beside: Path, row: Record, output: Path) -> list[Path]:
    """The image before, after, and the amplified difference around grey where pixels have partners."""
    import numpy as np
    from PIL import Image

    found = {role: levels for role in ("before", "after") if (levels := _levels(beside, row, role)) is not None}
    if len(found) == 2 and found["before"].shape == found["after"].shape:
        change = found["after"] - found["before"]
        factor = next((f for f in AMPLIFIED if np.abs(change).max() * f < GREY), 1)
        found[f"difference-x{factor}"] = (GREY + factor * change).clip(0, 255)
    with storing(output / "pictures"):
        output.mkdir(parents=True, exist_ok=True)
        paths = {name: output / f"{row.rid}-{name}.png" for name in found}
        for name, path in paths.items():
            Image.fromarray(found[name].astype(np.uint8)).save(path)
    return list(paths.values())


def _as_json(path: Path, found: Replayed) -> dict[str, Any]:
    listed = [[vars(change) for change in part] for part in (found.changes, found.environment)]
    told = {"schema": "redteam.replay/1", "run": str(path), "rid": found.before.rid, "same": found.same, "changes": listed[0], "picture": found.picture}
    more = {"environment": [] if found.same else listed[1], "files": [str(file) for file in found.files]}
    return told | more | {"recorded": json.loads(found.before.to_json()), "replayed": json.loads(found.after.to_json())}


def _show(found: Replayed) -> None:
    from redteam.reports import wording

    row, cell = found.before, vars(found.cell)
    click.echo(f"row     {row.rid}")
    click.echo(f"image   {wording.plain(row.id)} of {wording.plain(row.data)}, {'fake' if row.label else 'real'}, {row.height} x {row.width}")
    click.echo(f"cell    {wording.cell_name(cell).replace(wording.SPACE, ' ')}")
    click.echo(f"goal    {row.goal}; {_outcome(row)}")
    for change in found.changes:
        click.echo(f"differs {wording.plain(change.field)}: {_said(change.before)} -> {_said(change.after)}")
    if found.picture is False:
        click.echo(f"differs the attacked image that the run kept, {row.artifacts['after']}")
    if not found.same:
        for change in found.environment:
            click.echo(f"since   {wording.plain(change.field)}: {_said(change.before)} -> {_said(change.after)}")
    click.echo("the row is the same" + ("" if found.picture is None else ", and so is its image") if found.same else "the row is not the same")
    for file in found.files:
        click.echo(str(file))


def _outcome(row: Record) -> str:
    """What the run recorded, in a few words."""
    from redteam.reports import wording

    if row.status != "ok":
        return f"{row.status}: {wording.plain(row.reason)}"
    score, threshold = row.outcome.get("score"), row.outcome.get("threshold")
    if score is None:
        return wording.plain(row.reason)
    called = f"score {score:.4g}, threshold {threshold:.4g}: called {'fake' if row.outcome.get('decision') else 'real'}"
    return called if "success" not in row.outcome else f"{called}; the attack {'succeeded' if row.outcome['success'] else 'did not succeed'}"


def _said(value: object) -> str:
    from redteam.reports import wording

    return wording.plain(json.dumps(value, ensure_ascii=False))
