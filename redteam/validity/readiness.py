"""What speaks against a run before it begins: the red flags on a clean sample, and what else would make every figure meaningless."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from redteam.protocols.detection_metrics import scoreable
from redteam.record import Record
from redteam.targets.python import STAYS_TRAINING
from redteam.validity.flags import FEW, View, flags

FLAGS = {  # flag: its code, and which part of the target's declaration it is about
    "R1": ("RT407", "access"), "R2": ("RT407", "output"), "R3": ("RT408", "mode"), "R4": ("RT409", "output"), "R14": ("RT403", "input"), "R17": ("RT410", ""),
    "R19": ("RT410", "output"), "R20": ("RT412", "threshold"), "R21": ("RT412", "threshold"), "R22": ("RT402", "output"),
}  # fmt: skip


@dataclass(frozen=True)
class Complaint:
    """One thing that speaks against a run.

    code:     a key of the scenario's CODES
    severity: error where a run would be meaningless, else warning
    about:    key of the target's declaration that it is about; empty for the target as a whole, data for the corpus
    message:  what was found, with figures, and the repair
    """

    code: str
    severity: Literal["error", "warning"]
    about: str
    message: str


def unusable(why: str) -> Complaint:
    """The target could not even be looked at."""
    return Complaint("RT401", "error", "", why)


def of_target(notes: Sequence[str]) -> list[Complaint]:
    """What was noticed when the target was loaded."""
    if STAYS_TRAINING not in notes:
        return []
    found = STAYS_TRAINING.partition(": ")[2]
    return [Complaint("RT406", "error", "mode", f"{found[0].upper()}{found[1:]}. Let eval() through, or declare mode: train if it is published so.")]


def of_corpus(view: View, no_auc: str | None, max_error_rate: float) -> list[Complaint]:
    """What one corpus showed about the target; `no_auc` says why there is no AUC, where there is none."""
    return [*_lost(view.identity, max_error_rate), *_scores(view, no_auc)]


def _scores(view: View, no_auc: str | None) -> Iterator[Complaint]:
    rows = [row for row in view.identity if row.status == "ok"]
    scored = [row.outcome["score"] for row in rows if scoreable(row)]
    if len(scored) < len(rows):
        few = len(rows) - len(scored) <= FEW * len(rows)
        yield Complaint("RT404", "warning" if few else "error", "output", f"The score of {len(rows) - len(scored)} of {len(rows)} clean images is not a finite number ({_reasons(rows)}).")
    if len(scored) > 1 and len(set(scored)) == 1:
        yield Complaint("RT405", "error", "output", f"All {len(scored)} clean images got the same score, {scored[0]:.4g}: the target does not look at them, or its weights are not loaded.")
    elif scored:
        flagged = _flagged(view)
        yield from flagged
        if not any(complaint.severity == "error" for complaint in flagged):  # what is broken explains its figures
            yield from _figures(view.clean, no_auc)


def _lost(rows: Sequence[Record], most: float) -> Iterator[Complaint]:
    """Images without any answer: the file cannot be read, or the target raises."""
    lost = [row for row in rows if row.status != "ok"]
    if lost:
        many = len(lost) > most * len(rows)
        yield Complaint("RT401", "error" if many else "warning", "", f"{len(lost)} of {len(rows)} clean images have no answer ({_reasons(lost)}); limits.max_error_rate allows {most:g}.")


def _reasons(rows: Sequence[Record]) -> str:
    reasons = list(dict.fromkeys(row.reason for row in rows if row.reason))
    return reasons[0] + (f" and {len(reasons) - 1} other reasons" if len(reasons) > 1 else "")


def _flagged(view: View) -> list[Complaint]:
    """The red flags as complaints, but for two: a gradient that is absent counts as zero too, and a threshold that was given is the user's own choice."""
    raised = flags(view)
    if any(flag.id == "R1" for flag in raised):
        raised = [flag for flag in raised if flag.id != "R2"]
    told = [flag for flag in raised if (flag.id, flag.severity) != ("R21", "note")]
    return [Complaint(FLAGS[flag.id][0], "error" if flag.severity == "invalid" else "warning", FLAGS[flag.id][1], flag.detail) for flag in told]


def _figures(clean: dict[str, dict[str, float]], no_auc: str | None) -> Iterator[Complaint]:
    """What the clean figures say about the target, whatever is attacked later."""
    auc = clean.get("auc")
    if auc and auc["low"] <= 0.5 <= auc["high"]:
        yield Complaint("RT411", "warning", "output", f"On clean images AUC is {auc['value']:.2f} (95 % interval {auc['low']:.2f} to {auc['high']:.2f}): the target cannot be told from a coin. Check weights, input and data before you attack it.")
        return
    if not auc:
        yield Complaint("RT411", "warning", "data", f"There is no AUC on clean images ({no_auc}), so polarity is not judged.")
    yield from _recalls(clean)


def _recalls(clean: dict[str, dict[str, float]]) -> Iterator[Complaint]:
    """A class that the target is mostly wrong about."""
    for name, what in (("tpr", "fake"), ("fpr", "real")):
        if rate := clean.get(name):
            recall, most = (rate["value"], rate["high"]) if name == "tpr" else (1 - rate["value"], 1 - rate["low"])
            if most < 0.5:
                yield Complaint("RT412", "warning", "threshold", f"At its threshold the target is right about only {100 * recall:.0f} % of clean {what} images; what it gets wrong already cannot be attacked.")

