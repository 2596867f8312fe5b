"""Images before and after an attack, with their amplified difference, small enough to stand inside the report."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from redteam.record import Record
from redteam.reports import wording
from redteam.reports.directory import RunDirectory, inside
from redteam.reports.wording import counted, number, plain

SIDE = 192  # pixels of the longer side
MOST, MOST_BYTES = 24, 4_000_000  # exhibits of a report, and bytes of their data-URIs
MOST_PIXELS = 64_000_000  # a larger file is refused before it is decoded
FORMATS = ("PNG", "WEBP", "JPEG")
GREY = 128  # of no difference


@dataclass(frozen=True)
class Picture:
    """An image inside the report: caption, data-URI, size in print, text for those who do not see it."""

    caption: str
    uri: str
    width: int
    height: int
    alt: str


@dataclass(frozen=True)
class Exhibit:
    """One image of one cell, before and after."""

    where: str
    attack: str
    image: str
    outcome: str
    pictures: tuple[Picture, ...]


@dataclass(frozen=True)
class Gallery:
    """exhibits in plan order; notes: what was left out or could not be shown."""

    exhibits: tuple[Exhibit, ...]
    notes: tuple[str, ...]


def gallery(run: RunDirectory) -> Gallery:
    """The first fake and the first real image of each attacked cell, as far as the caps allow; never chosen by outcome."""
    candidates, notes = run.rows.exhibits, list(run.rows.problems)
    chosen = _spread(candidates, MOST)
    exhibits: list[Exhibit] = []
    spent = missing = 0
    for record in chosen:
        exhibit = _exhibit(run, record, run.rows.clean.get(record.clean_rid or ""))
        size = 0 if exhibit is None else sum(len(picture.uri) for picture in exhibit.pictures)
        if exhibit is None:
            missing += 1
        elif spent + size <= MOST_BYTES:
            exhibits.append(exhibit)
            spent += size
    if missing:
        notes.append(f"The files of {counted(missing, 'image')} are missing or broken and cannot be shown.")
    if len(candidates) > len(exhibits) + missing:
        notes.append(f"{len(exhibits)} of {counted(len(candidates), 'stored image')} shown, spread over the cells and not chosen by outcome; all files lie under artifacts/.")
    return Gallery(tuple(exhibits), tuple(notes))


def _spread(candidates: list[Record], most: int) -> list[Record]:
    """At most so many, evenly over the plan."""
    if len(candidates) <= most:
        return candidates
    return [candidates[i * len(candidates) // most] for i in range(most)]


def _exhibit(run: RunDirectory, record: Record, clean_score: object) -> Exhibit | None:
    before, after = (_pixels(inside(run, str(record.artifacts[role]))) for role in ("before", "after"))
    if before is None or after is None:
        return None
    name = plain(record.id)
    pictures = [_picture(_fit(before), _caption("before", before), f"{name} before"), _picture(_fit(after), _caption("after", after), f"{name} after")]
    if before.shape == after.shape:
        factor, amplified = _difference(before, after)
        pictures.append(_picture(amplified, f"difference × {factor}", f"difference of {name}, amplified {factor} times around grey"))
    where = f"{plain(record.data)} / {plain(record.target)} / {plain(record.defense)}"
    described = {"attack": record.attack, "strength": record.strength, "repeat": record.repeat}  # a cell knows its norm, a record does not
    cell = next((cell for cell in run.summary["cells"] if cell.get("key") == record.cell), described)
    return Exhibit(where, wording.attack_name(cell), name, _outcome(record, clean_score), tuple(pictures))


def _pixels(path: Path | None) -> NDArray[np.uint8] | None:
    """(h, w, 3) of a file; None where it is missing, broken, too large or no image."""
    if path is None:
        return None
    try:
        with Image.open(path, formats=FORMATS) as image:
            if image.width * image.height > MOST_PIXELS:
                return None
            return np.asarray(image.convert("RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError, Image.DecompressionBombWarning):
        return None


def _fit(pixels: NDArray[np.uint8]) -> Image.Image:
    """The whole image, shrunk where it is larger than the report shows."""
    image = Image.fromarray(pixels)
    image.thumbnail((SIDE, SIDE), Image.Resampling.BOX)
    return image


def _difference(before: NDArray[np.uint8], after: NDArray[np.uint8]) -> tuple[int, Image.Image]:
    """(factor, image): after minus before, shrunk, then amplified by the largest power of two up to 64 that clips nothing."""
    change = after.astype(np.float32) - before.astype(np.float32)  # (h, w, 3), levels
    planes = [Image.fromarray(change[..., channel]) for channel in range(3)]
    for plane in planes:
        plane.thumbnail((SIDE, SIDE), Image.Resampling.BOX)
    small = np.stack([np.asarray(plane) for plane in planes], axis=-1)
    peak = float(np.abs(small).max())
    factor = next((f for f in (64, 32, 16, 8, 4, 2) if peak * f < GREY), 1)
    return factor, Image.fromarray(np.clip(np.rint(GREY + factor * small), 0, 255).astype(np.uint8))


def _caption(role: str, pixels: NDArray[np.uint8]) -> str:
    height, width = pixels.shape[:2]
    return f"{role}, {width} × {height}" if max(height, width) <= SIDE else f"{role}, {width} × {height}, shown smaller"


def _picture(image: Image.Image, caption: str, alt: str) -> Picture:
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", lossless=True, quality=60, method=4)
    uri = "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()
    return Picture(caption, uri, image.width, image.height, alt)


def _outcome(record: Record, clean_score: object) -> str:
    """What happened to the image, in one line."""
    before, after, threshold = number(clean_score), number(record.outcome.get("score")), number(record.outcome.get("threshold"))
    kind = "fake" if record.label == 1 else "real"
    if record.status != "ok":
        return f"{kind} image: {plain(record.status)}, {plain(record.reason or 'no outcome')}"
    success = record.outcome.get("success")
    result = "not judged rightly when clean" if record.outcome.get("attackable") is False else ("passes" if record.label == 1 else "is accused") if success else "is still judged rightly"
    scores = "" if after is None else f"; score {'' if before is None else f'{_signed(before)} → '}{_signed(after)}{'' if threshold is None else f', threshold {_signed(threshold)}'}"
    return f"{kind} image {result}{scores}; {_psnr(record)}"


def _signed(score: float) -> str:
    return f"{score:.2f}".replace("-", "−")


def _psnr(record: Record) -> str:
    psnr = number(record.quality.get("psnr_db"))
    if psnr is not None:
        return f"PSNR {psnr:.1f} dB"
    return "unchanged" if "+inf" in (record.nonfinite.get("quality.psnr_db"), record.nonfinite.get("psnr_db")) else "PSNR not defined"
