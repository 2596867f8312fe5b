"""The images that a run keeps, before and after, as PNG files in artifacts/: the few of each cell that the report shows, or all."""

from __future__ import annotations

import hashlib
import io
from dataclasses import replace
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from redteam.protocols.detection import Outcome
from redteam.record import Record
from redteam.run.ledger import RunDir, write_whole
from redteam.scenario.plan import Unit

SHOWN = {1: 3, 0: 1}  # images of each label, from the first shard of a cell


def with_artifacts(run_dir: RunDir, unit: Unit, outcome: Outcome, *, everything: bool = False) -> list[Record]:
    """The outcome's records, those whose images are kept with their files written and named."""
    if everything:
        return [_whole(run_dir, unit, row, outcome, i) for i, row in enumerate(outcome.records)]
    if unit.shard.index != 0:
        return outcome.records
    chosen = {s.id for label, most in SHOWN.items() for s in [s for s in unit.samples if s.label == label][:most]}
    return [_shown(run_dir, unit, row, outcome, i) if row.id in chosen else row for i, row in enumerate(outcome.records)]


def _shown(run_dir: RunDir, unit: Unit, row: Record, outcome: Outcome, i: int) -> Record:
    """The row with its files: the clean one once for each image, the attacked one for each row."""
    kept = {"before": f"artifacts/{unit.shard.data}-{hashlib.sha256(row.id.encode()).hexdigest()[:16]}.png"}
    _save(run_dir.path / kept["before"], outcome.before[i])
    if row.attack != "identity":
        kept["after"] = f"artifacts/{row.rid}.png"
        _save(run_dir.path / kept["after"], outcome.after[i])
    return replace(row, artifacts=kept)


def _whole(run_dir: RunDir, unit: Unit, row: Record, outcome: Outcome, i: int) -> Record:
    """The row with all its files: the attacked one also of the clean arm, and where its forgery is now."""
    kept = _shown(run_dir, unit, row, outcome, i).artifacts | {"after": f"artifacts/{row.rid}.png"}
    _save(run_dir.path / kept["after"], outcome.after[i])
    if row.label == 1 and outcome.masks is not None:
        kept["mask"] = f"artifacts/{row.rid}-mask.png"
        _save(run_dir.path / kept["mask"], (outcome.masks[i, 0] > 0.5).float())
    return replace(row, artifacts=kept)


def _save(path: Path, pixels: Tensor) -> None:
    """Pixels (3, h, w), or a mask (h, w), in [0, 1]."""
    if path.is_file():
        return
    levels = (pixels.cpu() * 255).round().to(torch.uint8)
    encoded = io.BytesIO()
    Image.fromarray((levels.permute(1, 2, 0) if levels.ndim == 3 else levels).numpy()).save(encoded, "PNG")
    write_whole(path, encoded.getvalue())
