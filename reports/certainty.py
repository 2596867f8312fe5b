"""Each class by itself, clean and attacked, and how far the probabilities that the target states can be believed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import special

from redteam.measure.calibration import BINS, Bin, calibrated_by_chance, calibration_error, reliability
from redteam.measure.names import CERTAINTY
from redteam.measure.statistics import FEWEST_GROUPS, Estimate, Unresolvable, bootstrap_mean
from redteam.reports import drawing, tables, wording
from redteam.reports.directory import RunDirectory
from redteam.reports.drawing import BOTTOM, LEFT, RIGHT, Line, Panel, Point
from redteam.reports.rows import Answer
from redteam.reports.tables import Notes, Shown, value_of

RECALLS = ("tpr", "recall_real")
COLUMNS = (*RECALLS, *CERTAINTY)
UNBELIEVED = {"R4": "the target gives probabilities where log-odds were declared (R4)", "R19": "the target gives decisions, not scores (R19)"}
TALLEST = 34  # of the bars that count the images of each bin
SEED = 0  # of the bootstrap: the same records give the same report

Json = Mapping[str, Any]


@dataclass(frozen=True)
class ClassRow:
    """One cell: recall of each class, and how sure the target was; recalls carry their clean level as `mark`."""

    kind: str
    key: str
    label: str
    shown: dict[str, Shown]
    verdict: str


@dataclass(frozen=True)
class Certainty:
    """One corpus, target and defense.

    rows:      the clean images first, then attacks, then noise
    panel:     the reliability diagram; None where there are too few groups or no scores
    sentences: what it says, in words
    notes:     reasons of absent figures
    """

    data: str
    target: str
    defense: str
    rows: tuple[ClassRow, ...]
    panel: Panel | None
    sentences: tuple[str, ...]
    notes: tuple[str, ...]


def certainty(run: RunDirectory) -> list[Certainty]:
    """The blocks that have a recall of some class, in the order of the summary."""
    found = (_block(f"{drawing.slug(i, key)}-calibration", key, cells, run) for i, (key, cells) in enumerate(tables.grouped(run.summary).items(), 1))
    return [block for block in found if any(row.shown[name].value is not None for row in block.rows for name in COLUMNS)]


def measured_by_cell(run: RunDirectory) -> dict[str, dict[str, Json]]:
    """Key of each cell whose scores can be taken for log-odds -> what they say of certainty."""
    found: dict[str, dict[str, Json]] = {}
    for cells in tables.grouped(run.summary).values():
        if not _doubt(tables.identity_of(cells)):
            keys = [str(cell.get("key")) for cell in cells]
            found |= {key: measured(run.rows.answers[key]) for key in keys if key in run.rows.answers}
    return found


def measured(answers: Sequence[Answer]) -> dict[str, Json]:
    """What scores say of certainty, as summary.json would hold it; a figure without an interval is left out."""
    found: dict[str, Json] = {}
    p, labels, groups = _probabilities(answers)
    wrong = np.array([answer.decision != answer.label for answer in answers], dtype=bool)
    chosen = {"probability_fakes": labels == 1, "probability_reals": labels == 0, "certainty_when_wrong": wrong}
    values = {"probability_fakes": p, "probability_reals": p, "certainty_when_wrong": np.where(labels == 1, 1 - p, p)}
    for name, which in chosen.items():
        _add(found, name, lambda name=name, which=which: bootstrap_mean(values[name][which], list(groups[which]), seed=SEED) if which.any() else None)
    logits = [answer.score for answer in answers if answer.score is not None]
    if {0.0, 1.0} <= set(labels):
        _add(found, "calibration_error", lambda: calibration_error(logits, labels, list(groups), seed=SEED))
    return found


def _add(found: dict[str, Json], name: str, compute: Callable[[], Estimate | None]) -> None:
    try:
        estimate = compute()
    except Unresolvable:
        return
    if estimate is not None:
        found[name] = {"value": estimate.value, "low": estimate.low, "high": estimate.high, "n": estimate.n}


def _probabilities(answers: Sequence[Answer]) -> tuple[Any, Any, Any]:
    """(stated probability of being fake, label, group), each (n,)."""
    logits = np.array([answer.score for answer in answers], dtype=np.float64)
    return special.expit(logits), np.array([answer.label for answer in answers], dtype=np.float64), np.array([answer.group for answer in answers], dtype=object)


def _block(name: str, key: tables.Key, cells: list[Json], run: RunDirectory) -> Certainty:
    notes = Notes()
    identity = tables.identity_of(cells)
    doubt = _doubt(identity)
    ordered = [*([identity] if identity else []), *(c for c in cells if not c.get("control")), *(c for c in cells if c.get("control") and c is not identity)]
    figures = {str(cell.get("key")): {} if doubt else measured(run.rows.answers.get(str(cell.get("key")), [])) for cell in ordered}
    clean = _with_recall(identity) if identity else {}
    rows = tuple(_row(cell, figures[str(cell.get("key"))], clean, doubt, notes) for cell in ordered)
    panel = _panel((name, drawing.where(key)), identity, _most_harmful(cells), run) if identity and not doubt else None
    said = tuple(_sentences(identity, figures, run)) if panel else ((f"No calibration: {doubt}.",) if doubt else ())
    return Certainty(*key, rows, panel, said, tuple(notes.reasons))


def _doubt(identity: Json | None) -> str:
    """Why the scores are no log-odds; empty where nothing speaks against it."""
    raised = {str(flag.get("id")) for flag in (identity or {}).get("flags") or ()}
    return next((reason for flag, reason in UNBELIEVED.items() if flag in raised), "")


def _with_recall(cell: Json) -> dict[str, Json]:
    """The metrics of a cell and the recall of real images, which is what false alarms leave."""
    metrics = dict(cell.get("metrics") or {})
    fpr = metrics.get("fpr")
    if isinstance(fpr, Mapping) and wording.number(fpr.get("value")) is not None:
        low, high = wording.number(fpr.get("low")), wording.number(fpr.get("high"))
        metrics["recall_real"] = {"value": 1 - fpr["value"], "low": None if high is None else 1 - high, "high": None if low is None else 1 - low, "n": fpr.get("n")}
    return metrics


def _row(cell: Json, figures: Mapping[str, Json], clean: Mapping[str, Json], doubt: str, notes: Notes) -> ClassRow:
    metrics = {**_with_recall(cell), **figures}
    absent = {**(cell.get("absent") or {}), "recall_real": (cell.get("absent") or {}).get("fpr", tables.NO_REASON)}
    attacked = cell["attack"] != "identity"
    shown = {}
    for name in COLUMNS:
        mark = value_of({"metrics": clean}, name) if attacked and name in RECALLS else None
        shown[name] = tables.shown({"metrics": metrics, "absent": absent}, name, notes, mark=mark, absent=_missing(name, doubt))
    kind = "clean" if not attacked else "control" if cell.get("control") else "attack"
    return ClassRow(kind, str(cell.get("key", "")), wording.attack_name(cell) if attacked else "unchanged images", shown, str(cell.get("verdict", "unknown")))


def _missing(name: str, doubt: str) -> str:
    if name in RECALLS or doubt:
        return tables.NO_REASON if name in RECALLS else doubt
    wrong = "no image was judged wrongly, or only images of " if name == "certainty_when_wrong" else "images of "
    return f"{wrong}fewer than {FEWEST_GROUPS} groups" + (", or of one class only" if name == "calibration_error" else "")


def _most_harmful(cells: Sequence[Json]) -> Json | None:
    """The attack that leaves least accuracy, both classes together."""
    rated = [cell for cell in cells if not cell.get("control") and cell.get("verdict") != "invalid" and value_of(cell, "robust_accuracy") is not None]
    return min(rated, key=lambda cell: value_of(cell, "robust_accuracy") or 0.0, default=None)


def _panel(name: tuple[str, str], identity: Json, attack: Json | None, run: RunDirectory) -> Panel | None:
    """Stated against observed probability; None where the clean images are of too few groups."""
    answers = run.rows.answers.get(str(identity.get("key")), [])
    if len({answer.group for answer in answers}) < FEWEST_GROUPS:
        return None
    clean = _bins(answers)
    level = Line("identity", "as stated", (), (f"{LEFT},{BOTTOM} {RIGHT},{drawing.TOP}",), name_y=float(drawing.TOP), marked=False)
    lines = [level, _dots("clean", "clean", clean)]
    attacked = run.rows.answers.get(str(attack.get("key")), []) if attack else []
    if attack and attacked:
        lines.append(_dots("attack", str(attack["attack"]), _bins(attacked), wording.attack_name(attack)))
    most = max(b.n for b in clean)
    wide = (RIGHT - LEFT) / BINS
    bars = tuple((LEFT + wide * b.number + 2, wide - 4, TALLEST * b.n / most, f"{wording.counted(b.n, 'clean image')} here") for b in clean)
    said = f"Share of fakes against the stated probability of being fake, in {BINS} bins. {' '.join(_in_words(line) for line in lines[1:])}"
    ticks = tuple((LEFT + (RIGHT - LEFT) * share, wording.percent(share)) for share in (0.0, 0.25, 0.5, 0.75, 1.0))
    title, label = "Share that is fake", "stated probability of being fake"
    return Panel(*name, "calibration", title, "on the dotted line is best", label, ticks, drawing.share_ticks(), drawing.apart(lines), said, bars)


def _bins(answers: Sequence[Answer]) -> list[Bin]:
    return reliability([answer.score for answer in answers if answer.score is not None], [answer.label for answer in answers], [answer.group for answer in answers])


def _dots(role: drawing.Role, name: str, bins: Sequence[Bin], called: str = "clean images") -> Line:
    """Points without a line: what lies between two bins was not measured."""
    shape: drawing.Shape = "dot" if role == "clean" else "triangle"
    return replace(drawing.line(role, name, [_bin_point(one, called, shape) for one in bins], band=False), pieces=(), whiskers=True)


def _bin_point(one: Bin, called: str, shape: drawing.Shape) -> Point:
    resolved = one.low is not None and one.high is not None
    between = f" {wording.interval('tpr', one.low, one.high, one.n)}" if resolved else ""
    said = f"stated {wording.percent(one.stated)}, observed {wording.percent(one.observed, one.n)}{between}"
    ends = (drawing.height(one.low), drawing.height(one.high)) if resolved else (None, None)
    verdict = "valid" if resolved else "unresolvable"
    return Point(LEFT + (RIGHT - LEFT) * one.stated, drawing.height(one.observed), *ends, verdict, said, f"{called}: {said}, n {one.n}", shape)


def _in_words(line: Line) -> str:
    return f"{line.name}: {'; '.join(point.words for point in line.points)}."


def _sentences(identity: Json, figures: Mapping[str, Mapping[str, Json]], run: RunDirectory) -> Iterator[str]:
    """What the diagram says of the clean images."""
    answers = run.rows.answers[str(identity.get("key"))]
    found = figures[str(identity.get("key"))]
    if "calibration_error" in found:
        error = tables.shown({"metrics": found}, "calibration_error", Notes())
        chance = calibrated_by_chance([answer.score for answer in answers if answer.score is not None], seed=SEED)
        yield (
            f"On clean images the stated probability is off by {error.text} on average (calibration error over {BINS} bins of equal width, 95{wording.SPACE}% interval "
            f"{error.interval}, n = {error.n}). A target whose probabilities were all true would show up to {wording.figure('calibration_error', chance)} by chance."
        )
    share = sum(answer.label for answer in answers) / len(answers)
    yield (
        f"That holds for this share of fakes, {wording.percent(share)}; where fakes are rarer, the same score means less. "
        f"The threshold is set apart and need not lie at 50{wording.SPACE}%."
    )
