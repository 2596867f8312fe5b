"""Flags that rest on the margins that an attack was shown on its way: a success that was passed, an end that came too soon, a loss that never fell.

Source: Pintor et al., "Indicators of Attack Failure", NeurIPS 2022, arXiv:2106.09947, section 3 (silent success, incomplete optimisation, transfer);
Carlini et al., "On Evaluating Adversarial Robustness", 2019, arXiv:1902.06705, section 5.
Deviation: an attack is judged by the images that it did not break; who has fallen needs no better attack.
"""

from __future__ import annotations

from redteam.measure.statistics import mcnemar_exact
from redteam.record import Record
from redteam.target import Access
from redteam.validity.view import FEW, SURE, Flag, View, named, of

MOVED = 0.05  # of the range that the best margin went through: more than this in the last questions, and the attack was not done
LEAST = 4  # questions from which there is an end to speak of
AIMLESS = "random"  # family of attacks that do not learn from answers
MOST = 0.5  # share of images above which nothing that the attack did helped it


def silent_success(view: View) -> Flag | None:
    """R7: an iterate succeeded, the returned one did not."""
    if view.facts.get("randomised") or _ends_with_a_distortion(view):
        return None
    passed = [row.id for row in view.standing if _passed(row)]
    if not passed:
        return None
    least = len(view.tried) - len(view.standing) + len(passed)
    return Flag(
        "R7", "upper_bound",
        f"On {of(len(passed), len(view.tried))} the attack came upon a success and returned something else {named(passed)}: at least {of(least, len(view.tried))} can be broken. "
        "Return the iterate that succeeded, not the last one.",
    )  # fmt: skip


def _passed(row: Record) -> bool:
    """Whether the attack judged a file that succeeded or, where it judged none, had a margin below 0 and came back."""
    if row.cost.get("queries_to_success") is not None:
        return True
    return not row.trace.get("judged") and row.trace.get("best", 0.0) < 0 <= row.trace.get("last", -1.0)


def _ends_with_a_distortion(view: View) -> bool:
    """Whether what follows the last question of a chain is meant to change the result."""
    stages = getattr(view.attack, "stages", (view.attack,))
    return stages[-1].needs is Access.NONE


def not_converged(view: View) -> Flag | None:
    """R8: the best margin still fell when the attack ended."""
    if not view.attack.gradients() or view.attack.asked_instead():  # how often a score may be asked for is a limit of the attacker, not of the attack
        return None
    moving = [row for row in view.standing if row.trace.get("asked", 0) >= LEAST and _still_moves(row.trace)]
    if len(moving) <= FEW * len(view.tried):
        return None
    return Flag(
        "R8", "upper_bound",
        f"On {of(len(moving), len(view.tried))} the best margin still fell by more than {MOVED:.0%} of its whole way in the last quarter of the questions (ten at most), "
        "and the image was not broken: the attack was not done. Give it more steps.",
    )  # fmt: skip


def _still_moves(trace: dict[str, float]) -> bool:
    """Whether it had not won, and still gained; who has won on the way and lost again has another trouble."""
    return trace["best"] >= 0 and trace["late"] - trace["best"] > MOVED * (trace["first"] - trace["best"])


def lost_in_the_file(view: View) -> Flag | None:
    """R9: it works on floating-point pixels or on a surrogate, and fails on the file or on the target."""
    return _on_surrogates(view) if view.attack.asked_instead() else _on_floats(view)


def _on_floats(view: View) -> Flag | None:
    if view.facts.get("randomised") or _ends_with_a_distortion(view):
        return None
    lost = [row.id for row in view.standing if row.trace.get("last", 1.0) < 0]
    if mcnemar_exact(len(lost), 0) >= SURE:
        return None
    where = "when it was rounded to 8 bits" if view.lossless else "in the file that it was saved to"
    return Flag(
        "R9", "upper_bound",
        f"On {of(len(lost), len(view.tried))} the attack had won on floating-point pixels when it ended, and lost again {where} {named(lost)}: "
        "an attack that looks at what the file holds would do more harm. Let it judge files, or put the file's codec into its gradient.",
    )  # fmt: skip


def _on_surrogates(view: View) -> Flag | None:
    rows = [row for row in view.tried if "surrogate_best" in row.trace]
    fooled = [row.trace["surrogate_best"] < 0 for row in rows]
    only_there = sum(there and not row.outcome["success"] for there, row in zip(fooled, rows, strict=True))
    only_here = sum(row.outcome["success"] and not there for there, row in zip(fooled, rows, strict=True))
    if only_there <= only_here or mcnemar_exact(only_there, only_here) >= SURE:
        return None
    return Flag(
        "R9", "note",
        f"The attack fooled its surrogate on {of(sum(fooled), len(rows))} and the target on {sum(bool(row.outcome['success']) for row in rows)}: "
        "the gap says how unlike the two are, not how robust the target is. An attacker with a better surrogate does more harm.",
    )  # fmt: skip


def loss_never_falls(view: View) -> Flag | None:
    """R13: what the attack did was no better than doing nothing."""
    if view.attack.access() < Access.SCORES or view.attack.family == AIMLESS:
        return None
    descends = view.white_box and view.attack.family == "gradient"  # an ensemble may end with a search that tries what is worse
    stuck = [row for row in view.standing if row.trace.get("asked", 0) >= 2 and _is_stuck(row.trace, descends)]
    if len(stuck) <= FEW * len(view.tried):
        return None
    what = "its last margin was no lower than its first" if descends else "no question found a lower margin than the first"
    return Flag(
        "R13", "invalid" if len(stuck) > MOST * len(view.tried) else "upper_bound",
        f"On {of(len(stuck), len(view.tried))} the attack got nowhere ({what}): its answers lead it astray. "
        "Look for a random, rounded or shattered output; average gradients over several answers (eot), or attack with scores or decisions.",
    )  # fmt: skip


def _is_stuck(trace: dict[str, float], descends: bool) -> bool:
    return trace["best_at"] == 1 or descends and trace["last"] >= trace["first"]
