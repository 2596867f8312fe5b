"""The fixed sentences of the reports: how to read them, what they cannot say, what each red flag means."""

from __future__ import annotations

from redteam.reports.wording import plain

VERDICTS = {
    "valid": "valid",
    "upper_bound": "upper bound",
    "invalid": "invalid",
    "unresolvable": "unresolvable",
}

LEGEND: tuple[tuple[str, str], ...] = (
    ("Fakes that pass", "Of the fake images that the target caught when clean, the share that is taken for real after the attack. Lower is better."),
    ("Real images accused", "Of the real images that the target let pass when clean, the share that is called fake after the attack. Lower is better."),
    (
        "Interval",
        "[80, 93] % is a 95 % interval: if the test were repeated with fresh images of the same kind, 95 of 100 such intervals would hold the true share. "
        "Two figures whose intervals overlap may well be equal. n is the number of images behind a figure.",
    ),
    (
        "Control arms",
        "Cells in which nobody attacks. “identity” sends unchanged images through the same path; “noise” adds random noise of the size of the attack. "
        "An attack has shown something only where it does more harm than its controls. In a bar, the thin upright line is the noise control.",
    ),
    ("Worst case", "For each image the most harmful of all attacks within one budget, then the mean over images. It is never milder than the best single attack. Where one of these attacks is invalid or an upper bound, the worst case is an upper bound too."),
    (
        "Unscoreable",
        "Images for which the target gave no usable answer (an error, a time-out, a score that is not a number). They are counted in a column of their own, "
        "neither as a success of the attack nor as a sign of robustness.",
    ),
    ("– (dash)", "A figure that could not be measured, with the reason in a footnote. It is not zero."),
)

VERDICT_LEGEND: tuple[tuple[str, str], ...] = (
    ("valid", "every check that applies has passed: the figure may be quoted with its interval."),
    ("upper_bound", "the attack ran, but a check says that a better attack would probably do more harm: quote it only as “at best this robust”."),
    ("invalid", "the evaluation itself is broken (no gradient, the wrong scale, a budget not kept). The figure says nothing about robustness, good or bad."),
    ("unresolvable", "too few independent images for the claim; add images."),
)

LIMITS: tuple[str, ...] = (
    "A low success rate bounds these attacks only. It does not show that no attack exists.",
    "No adaptive attack was supplied beyond the attacks listed here: each sees the defended target, but none was designed against this target by hand.",
    "The figures hold for these images. Cameras, generators and file histories that are not among them may behave differently.",
)

REFERENCE = "small reference model that ships with redteam: it shows that the method works, and its figures must not be quoted as those of a published detector"

FLAGS: dict[str, str] = {
    "R1": "The gradient path is broken",
    "R2": "The gradient is zero where the attack starts",
    "R3": "The target answers the same image differently",
    "R4": "The target returns probabilities where logits were declared",
    "R5": "The target differentiates inside its own inference",
    "R6": "The loss is so rugged that gradients mislead",
    "R7": "The attack passed a success on its way and returned something else",
    "R8": "The attack had not converged",
    "R9": "The attack works on floats or on a surrogate, not on the file",
    "R10": "An attack without a budget does not always succeed",
    "R11": "A weaker adversary, or noise, beats the stronger one on some image",
    "R12": "More strength or more steps do less harm",
    "R13": "The loss does not fall, or restarts disagree",
    "R14": "The budget was not kept, or the input range is wrong",
    "R15": "The attack only turns the answer round",
    "R16": "The target gives one class nearly always",
    "R17": "The control arm changes the score by itself",
    "R18": "The two classes went through different processing",
    "R19": "AUC was fed with decisions, not scores",
    "R20": "Too few negatives for the claimed false-positive rate",
    "R21": "The threshold was not fixed on clean calibration data",
    "R22": "The polarity is reversed: clean fakes score below clean real images",
}

SEVERITIES = {"invalid": "makes a cell invalid", "upper_bound": "makes a cell an upper bound", "note": "note"}

GATE_VERDICTS = ("pass", "fail", "inconclusive", "invalid")  # order of print

ACCESS = {
    "gradients": "who sees gradients",
    "scores": "who sees scores",
    "decisions": "who sees only decisions",
    "none": "who never asks the target",
}
ACCESS_ORDER = ("gradients", "scores", "decisions", "none")

THRESHOLDS = {
    "fixed": "fixed in the scenario",
    "at_fpr": "set on clean calibration images to the false-alarm rate that the scenario names",
    "default": "the target's own default",
}


def flag_title(flag: str) -> str:
    """What a red flag means in a few words; a flag that this version does not know stands for itself."""
    return FLAGS.get(flag, "")


def verdict_word(verdict: str) -> str:
    """A verdict in print."""
    return VERDICTS.get(verdict) or plain(verdict)
