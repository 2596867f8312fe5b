"""The red flags. Each looks at one cell with its control arm and says, with figures, what is wrong with the number.

Source: Carlini et al., "On Evaluating Adversarial Robustness", 2019, arXiv:1902.06705; Croce & Hein, AutoAttack, ICML 2020,
arXiv:2003.01690; Pintor et al., "Indicators of Attack Failure", NeurIPS 2022, arXiv:2106.09947; the others are the project's own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from redteam.attack import Attack
from redteam.measure.statistics import mcnemar_exact, smallest_fpr
from redteam.protocols.detection_metrics import scoreable
from redteam.record import Cell, Record
from redteam.target import Access

Severity = Literal["invalid", "upper_bound", "note"]
SPREAD = 1e-3  # of a score between two identical calls, relative to 1 + |score|: float32 kernels differ by far less
LAST_BITS = 1e-5  # of a score, relative likewise: a score this close to the threshold may change sides with the shape of the batch
FEW = 0.10  # share of images without a gradient up to which a success rate is still a lower bound worth printing
ENOUGH = 10  # clean images from which a statement about all scores means something


@dataclass(frozen=True)
class Flag:
    """One thing that is wrong with a cell.

    id:       R1, R2, ...
    severity: invalid (the figure means nothing), upper_bound (the target may be weaker than it looks) or note
    detail:   a sentence with the figures and what to do
    """

    id: str
    severity: Severity
    detail: str


@dataclass(frozen=True)
class View:
    """What the flags of one cell look at.

    rows:     the cell's records
    identity: the clean arm's records of the same data, target and defense
    clean:    the clean arm's metrics
    facts:    what the preparation of the target found
    lossless: whether the scenario's file keeps pixels as they are
    groups:   the source images behind the rows
    files:    a sentence where format, compression or size of the files alone tell the classes apart
    """

    cell: Cell
    attack: Attack
    rows: Sequence[Record]
    identity: Sequence[Record]
    clean: dict[str, dict[str, float]]
    facts: dict[str, Any]
    lossless: bool
    groups: frozenset[str] = field(default_factory=frozenset)
    files: str | None = None


def broken_gradient(view: View) -> Flag | None:
    """R1: the gradient path is broken."""
    asked = [r for r in view.rows if (r.cost.get("backwards") or r.cost.get("surrogate_backwards")) and scoreable(r)]  # what has no score is counted as unscoreable already
    hit = [r for r in asked if r.cost.get("broken_gradients")]
    if hit:
        return Flag("R1", "invalid", f"The gradient was absent or not finite on {len(hit)} of {len(asked)} images, so a gradient attack measured nothing there. Let gradients through the target, or declare access: scores.")
    return None


def zero_gradient(view: View) -> Flag | None:
    """R2: the gradient is zero where the attack starts, or the attack changed nothing."""
    if view.attack.needs is not Access.GRADIENTS:
        return None
    rows = [r for r in view.rows if scoreable(r)]
    hit = [r for r in rows if "zero_gradient" in r.warnings or "attack_noop" in r.warnings and r.outcome["attackable"]]  # who has what he wants may rest
    if not hit:
        return None
    severity: Severity = "invalid" if len(hit) > FEW * len(rows) else "upper_bound"
    return Flag("R2", severity, f"The gradient was zero at the start, or the attack changed no pixel, on {len(hit)} of {len(rows)} images: the target saturates or hides its gradient. Declare the output as it is (type: prob), or attack it with scores.")


def not_repeatable(view: View) -> Flag | None:
    """R3: identical calls give different answers."""
    rows = [r for r in view.identity if scoreable(r) and r.outcome.get("repeat_score") is not None]
    moved = [abs(r.outcome["score"] - r.outcome["repeat_score"]) / (1 + abs(r.outcome["score"])) for r in rows]
    flipped = [(r.outcome["repeat_score"] > r.outcome["threshold"]) != bool(r.outcome["decision"]) for r in rows]
    flips = sum(flip and by > LAST_BITS for flip, by in zip(flipped, moved, strict=True))
    named = next((note for note in view.facts.get("notes", ()) if note.startswith("model_in_train_mode")), "")
    if flips or (moved and max(moved) > SPREAD):
        why = f" {_sentence(named)}" if named else " It is random, or an image's score depends on its batch."
        return Flag("R3", "invalid" if flips else "upper_bound", f"Asked twice about the same file in another batch, the target changed {flips} of {len(rows)} decisions (largest relative change of a score {max(moved):.2g}).{why}")
    return Flag("R3", "note", _sentence(named)) if named else None


def _sentence(note: str) -> str:
    text = note.partition(": ")[2]
    return f"{text[:1].upper()}{text[1:]}."


def probabilities_as_logits(view: View) -> Flag | None:
    """R4: declared a logit, yet every score lies in [0, 1], or two of them add to 1."""
    scores = [r.outcome["score"] for r in view.identity if scoreable(r)]
    inside = all(0 <= s <= 1 for s in scores) or all(-1 <= s <= 0 for s in scores)  # negative where high means real
    if any(note.startswith("rows_sum_to_one") for note in view.facts.get("notes", ())):
        return Flag("R4", "invalid", "The output is declared two logits, but on clean images they are never negative and add to 1: these look like probabilities. Declare output: {type: probs2}, so that the threshold and the gradient are right.")
    if view.facts.get("declared_logit") and len(scores) >= ENOUGH and inside and len(set(scores)) > 1:
        return Flag("R4", "invalid", f"The output is declared a logit, but all {len(scores)} clean scores lie in [0, 1]: this looks like a probability. Declare output: {{type: prob}}, so that the threshold and the gradient are right.")
    return None


def budget_or_range(view: View) -> Flag | None:
    """R14: the budget was not kept, or the network is fed another range than it was trained on."""
    over = [r for r in view.rows if r.valid is False]
    if over:
        return Flag("R14", "invalid", f"{len(over)} of {len(view.rows)} images left the attack's budget, measured in 8-bit levels; the attack is wrong, and its successes do not count.")
    if worse := _better_range(view.facts.get("ranges", {})):
        return Flag("R14", "invalid", worse)
    if any("input_mutated" in r.warnings for r in view.identity):
        return Flag("R14", "note", "The target writes into the pixels that it is given. Copies kept that from reaching other images; fix it before you compare with other tools.")
    return None


def _better_range(ranges: dict[str, Any]) -> str | None:
    """A sentence where another input range serves the network better than the declared one, beyond both intervals."""
    declared = ranges.get("declared")
    for figure, words in (("auc", "separates clean images with AUC"), ("accuracy", "is right about clean images with accuracy")):
        better = [name for name in ranges if declared and ranges[name][figure]["low"] > declared[figure]["high"]]
        if better:
            best = max(better, key=lambda name: ranges[name][figure]["value"])
            return f"Fed {best} the network {words} {ranges[best][figure]['value']:.2f}, as declared with {declared[figure]['value']:.2f}: input.range looks wrong."
    return None


def identity_moves(view: View) -> Flag | None:
    """R17: the pipeline alone, without an attack, changes the answer."""
    rows = [r for r in view.identity if scoreable(r) and r.outcome.get("source_score") is not None]
    if view.lossless:
        moved = [r for r in rows if r.outcome["source_score"] != r.outcome["score"]]
        return Flag("R17", "invalid", f"The identity arm changed the score of {len(moved)} of {len(rows)} images although the file format loses nothing.") if moved else None
    before = [(r.outcome["source_score"] > r.outcome["threshold"]) == bool(r.label) for r in rows]
    after = [bool(r.outcome["decision"]) == bool(r.label) for r in rows]
    broke, fixed = sum(b and not a for b, a in zip(before, after, strict=True)), sum(a and not b for b, a in zip(before, after, strict=True))
    if broke + fixed and mcnemar_exact(broke, fixed) < 0.05:
        return Flag("R17", "upper_bound", f"Saving alone, without an attack, turned {broke} right answers wrong and {fixed} wrong ones right (McNemar p = {mcnemar_exact(broke, fixed):.2g}): read every figure against the identity arm, not against the original images.")
    return None


def unlike_files(view: View) -> Flag | None:
    """R18: the classes did not go through the same processing."""
    return Flag("R18", "note", f"{view.files[:1].upper()}{view.files[1:]}.") if view.files else None


def hard_labels(view: View) -> Flag | None:
    """R19: an AUC of decisions."""
    scores = {r.outcome["score"] for r in view.identity if scoreable(r)}
    n = sum(scoreable(r) for r in view.identity)
    if n >= ENOUGH and len(scores) <= 3:
        return Flag("R19", "note", f"The target gave only {len(scores)} distinct scores on {n} clean images: an AUC of decisions is balanced accuracy under another name, so none is printed. Return scores.")
    return None


def too_few_negatives(view: View) -> Flag | None:
    """R20: the calibration set cannot carry the false-positive rate that is claimed."""
    if view.facts.get("how") == "at_fpr" and view.facts["at_fpr"] < smallest_fpr(view.facts["negatives"]):
        needed = math.ceil(3 / view.facts["at_fpr"])
        return Flag("R20", "note", f"A false-positive rate of {100 * view.facts['at_fpr']:.3g} % is not resolvable from {view.facts['negatives']} calibration images of label 0; it takes {needed}.")
    return None


def threshold_provenance(view: View) -> Flag | None:
    """R21: the threshold may know the evaluation images."""
    shared = view.groups & set(view.facts.get("calib_groups", ()))
    if shared:
        return Flag("R21", "upper_bound", f"{len(shared)} source images are in both the calibration and the evaluation data, so the threshold has seen them. Split by source image.")
    if view.facts.get("how") == "fixed":
        return Flag("R21", "note", "The threshold was given, not calibrated in this run: whether it was tuned on these images cannot be seen from here.")
    return None


def polarity(view: View) -> Flag | None:
    """R22: clean scores point the wrong way."""
    auc = view.clean.get("auc")
    if auc and auc["high"] < 0.5:
        return Flag("R22", "invalid", f"On clean images real ones score above fake ones (AUC {auc['value']:.2f}, 95 % interval {auc['low']:.2f} to {auc['high']:.2f}): the polarity is wrong. Set output.positive or output.fake_index.")
    return None


CHECKS: tuple[Callable[[View], Flag | None], ...] = (
    broken_gradient, zero_gradient, not_repeatable, probabilities_as_logits, budget_or_range, identity_moves, unlike_files, hard_labels, too_few_negatives, threshold_provenance, polarity,
)  # fmt: skip


def flags(view: View) -> list[Flag]:
    """All flags of one cell."""
    return [flag for check in CHECKS if (flag := check(view)) is not None]


def verdict(found: Sequence[Flag], resolvable: bool) -> str:
    """The cell's verdict: invalid before unresolvable before upper_bound before valid."""
    severities = {flag.severity for flag in found}
    if "invalid" in severities:
        return "invalid"
    if not resolvable:
        return "unresolvable"
    return "upper_bound" if "upper_bound" in severities else "valid"


def as_json(found: Sequence[Flag]) -> list[dict[str, str]]:
    """Flags as the summary holds them."""
    return [asdict(flag) for flag in found]
