"""Attacked images as a corpus: a folder of PNG files with a manifest that a trainer or another scenario reads.

Each image is computed again on its whole micro-batch, and is exported only where its row comes out as it was recorded.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from redteam.record import Record
from redteam.run.child import Start
from redteam.run.coordinator import Progress
from redteam.run.errors import Refused, Unfinished
from redteam.run.ledger import RunDir, storing, write_whole
from redteam.run.replay import again, changes, rows_of
from redteam.scenario.gates import strength_matches
from redteam.scenario.plan import Plan, Unit

MANIFEST, SCRATCH = "manifest.jsonl", ".scratch"
FOLDERS = {"after": "images", "mask": "masks"}
SPLIT = "eval"  # the role that every attacked image has had: nobody should train on it without a thought


@dataclass(frozen=True)
class Chosen:
    """What is to be exported: unit -> the rows of it, and how many selected rows have no image."""

    rows: dict[str, tuple[Unit, list[Record]]]
    without_image: int

    def __len__(self) -> int:
        return sum(len(rows) for _, rows in self.rows.values())


@dataclass(frozen=True)
class Exported:
    """What was written.

    manifest:      the file that names the images
    images:        how many
    different:     rid -> the fields that did not come out as recorded; such an image is not in the manifest
    without_image: selected rows that have no outcome, and so no image
    """

    manifest: Path
    images: int
    different: dict[str, list[str]]
    without_image: int


def choose(run_dir: RunDir, plan: Plan, where: dict[str, Any], *, only_success: bool) -> Chosen:
    """The rows of the cells that `where` selects, as a gate does. Raises Unfinished, and Refused where there is no such row."""
    found: dict[str, tuple[Unit, list[Record]]] = {}
    without_image = 0
    for number, item in enumerate(plan.cells):
        if not strength_matches(where, item.cell):
            continue
        for unit in plan.units_of(number):
            rows = rows_of(run_dir, unit)
            if not rows:
                raise Unfinished(f"{run_dir.path}: {item.cell.label} is not complete; finish the run with: redteam resume {run_dir.path}")
            there = [row for row in rows.values() if row.status == "ok"]
            without_image += len(rows) - len(there)
            if kept := [row for row in there if row.outcome.get("success") or not only_success]:
                found[unit.key] = (unit, kept)
    if not found:
        raise Refused(f"{run_dir.path}: no image is left to export; no attack that was selected {'succeeded' if only_success else 'has an outcome'}")
    return Chosen(found, without_image)


def export(run_dir: RunDir, plan: Plan, chosen: Chosen, folder: Path, *, report: Callable[[Progress], None] = lambda progress: None, start: Start | None = None) -> Exported:
    """Write the chosen images into a new or empty folder, the manifest last; where it does not come to that, nothing is left behind. Raises Stop."""
    different: dict[str, list[str]] = {}
    lines: list[str] = []
    with _made(folder):
        beside = again(run_dir, plan, [unit for unit, _ in chosen.rows.values()], folder / SCRATCH, report=report, start=start)
        for unit, rows in chosen.rows.values():
            computed = rows_of(beside, unit)
            for row in rows:
                if unlike := changes(row, computed[row.rid]):
                    different[row.rid] = [change.field for change in unlike]
                else:
                    lines.append(json.dumps(_line(row, _moved(beside, computed[row.rid], folder)), allow_nan=False))
        write_whole(folder / MANIFEST, "".join(f"{line}\n" for line in lines).encode())
    return Exported(folder / MANIFEST, len(lines), different, chosen.without_image)


@contextlib.contextmanager
def _made(folder: Path) -> Iterator[None]:
    """The folder and those in it; they go again where the manifest was not written. Raises Refused where there is something already."""
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise Refused(f"-o {folder}: exists and is not empty; give another -o")
        for name in (*FOLDERS.values(), SCRATCH):
            (folder / name).mkdir(parents=True)
    except OSError as error:
        raise Refused(f"-o {folder}: cannot be made ({error.filename}: {error.strerror or error}); give another -o") from error
    try:
        yield
    except BaseException:
        for name in FOLDERS.values():
            shutil.rmtree(folder / name, ignore_errors=True)
        raise
    finally:
        shutil.rmtree(folder / SCRATCH, ignore_errors=True)
        with contextlib.suppress(OSError):  # there are masks, or images
            (folder / FOLDERS["mask"]).rmdir()
        with contextlib.suppress(OSError):
            folder.rmdir()


def _moved(beside: RunDir, row: Record, folder: Path) -> dict[str, str]:
    """The row's files in their new place: role -> path from the manifest."""
    found = {}
    for role, home in FOLDERS.items():
        if role in row.artifacts:
            found[role] = f"{home}/{row.rid}.png"
            with storing(folder / found[role]):
                (beside.path / row.artifacts[role]).replace(folder / found[role])
    return found


def _line(row: Record, files: dict[str, str]) -> dict[str, Any]:
    """The image as the `manifest` corpus reads it; what it has no use for begins with x_."""
    known = {"id": row.rid, "image": files["after"], "label": row.label, "group": row.group, "split": SPLIT} | ({"mask": files["mask"]} if "mask" in files else {})
    place = {"x_rid": row.rid, "x_image": row.id, "x_data": row.data, "x_target": row.target, "x_defense": row.defense}
    attack = {"x_attack": row.attack, "x_strength": row.strength, "x_goal": row.goal, "x_repeat": row.repeat}
    return known | place | attack | {"x_success": row.outcome.get("success"), "x_score": row.outcome.get("score"), "x_threshold": row.outcome.get("threshold")}
