"""Flags that rest on how a target answers, whatever the attack: it differentiates inside, its loss is rugged, it knows one answer, it is merely turned round.

Source: Croce & Hein, AutoAttack, ICML 2020, arXiv:2003.01690 (autograd inside inference); Pintor et al., "Indicators of Attack Failure",
NeurIPS 2022, arXiv:2106.09947 (rugged loss); for the other two see each function.
"""

from __future__ import annotations

from redteam.protocols.detection_metrics import scoreable
from redteam.protocols.landscape import POINTS
from redteam.validity.view import ENOUGH, Flag, View, of

LAST_BITS = 1e-5  # of a score, relative to 1 + |score|: a change this small is rounding
LEAST = 4  # images from which ruggedness is more than an accident
RUGGED = 0.5  # of the change between two points: how far a loss half-way may lie from the straight line; a step reaches 0.5, noise 0.87
FLIPPED = 0.2  # area under the ROC curve below which the order of the classes is as good as reversed
ONE_CLASS = 0.1  # recall of a class below which the target as good as never gives it


def autograd_inside(view: View) -> Flag | None:
    """R5: autograd is used inside inference."""
    if not any("autograd_inside" in row.warnings for row in view.identity):
        return None
    return Flag(
        "R5", "upper_bound" if view.white_box else "note",
        "The target runs a backward pass of its own while it answers, as an optimisation or a purification by gradients does: "
        "a gradient from outside may miss what that loop does. Attack it with scores and decisions too, or differentiate through the loop.",
    )  # fmt: skip


def rugged_loss(view: View) -> Flag | None:
    """R6: the loss is so rugged that gradients mislead."""
    rows = [row for row in view.identity if "bend" in row.trace and scoreable(row)]
    change, bend = sum(row.trace["change"] for row in rows), sum(row.trace["bend"] for row in rows)
    if len(rows) < LEAST or change <= LAST_BITS * sum(1 + abs(row.outcome["score"]) for row in rows) or bend <= RUGGED * change:
        return None
    far = sum(abs(row.outcome["score"] - row.outcome["threshold"]) for row in rows) or change
    return Flag(
        "R6", "upper_bound" if view.white_box and view.standing else "note",
        f"At {POINTS} random points one level away from each of {len(rows)} clean images the score moves by {change / far:.1%} of its distance from the threshold, and half-way there it is off "
        f"the straight line by {bend / change:.0%} of that (more than {RUGGED:.0%}): the loss is so rugged that gradients mislead. "
        "Use straight-through or averaged gradients (eot), attack with scores too, and believe the worst of them.",
    )  # fmt: skip


def mere_flip(view: View) -> Flag | None:
    """R15: the attack turns the answer round instead of hiding what is fake.

    Source: Zhuo et al., "Evading Detection Actively: Toward Anti-Forensics against Forgery Localization", IEEE TDSC 22(2), 2025, arXiv:2310.10036.
    """
    auc = view.metrics.get("auc")
    if view.cell.control or not auc or auc["high"] >= FLIPPED:
        return None
    return Flag(
        "R15", "note",
        f"Attacked fakes score below attacked real images (AUC {auc['value']:.2f}, below {FLIPPED:g}): the answer is turned round, and who knew of the attack could turn it back. "
        "Quote the share of fakes that pass, not this AUC.",
    )  # fmt: skip


def one_class(view: View) -> Flag | None:
    """R16: the target gives one class nearly always, so that nothing can make it err in one direction."""
    rows = [row for row in view.identity if scoreable(row)]
    for label, said, other in ((1, "fake", "real"), (0, "real", "fake")):
        known = [row for row in rows if row.label == label]
        right = sum(row.outcome["decision"] == label for row in known)
        given = sum(row.outcome["decision"] == label for row in rows)
        if len(known) >= ENOUGH and right < ONE_CLASS * len(known) and given < ONE_CLASS * len(rows):
            return Flag(
                "R16", "invalid",
                f"Unattacked, the target is right about {of(right, len(known), f'{said} image')}: it calls nearly everything {other}, and what never answers {said} cannot be attacked out of it. "
                "Look at the threshold, at the polarity, and at what hardening did to the target.",
            )  # fmt: skip
    return None
