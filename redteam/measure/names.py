"""The one table of metric names: what a figure counts, in which unit, and which way is better for the defender."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Metric:
    """One figure of a cell.

    title:   for a table head
    meaning: one sentence that says what is divided by what
    unit:    share, dB, levels, count, or empty
    better:  which way is better for the defender
    """

    title: str
    meaning: str
    unit: Literal["share", "dB", "levels", "image units", "count", ""]
    better: Literal["lower", "higher", "neither"]


METRICS: dict[str, Metric] = {
    "attack_success_rate": Metric("Fakes that pass", "Of the fake images that were called fake when clean, the share that is called real after the attack.", "share", "lower"),
    "frame_rate": Metric("Real images accused", "Of the real images that were called real when clean, the share that is called fake after the attack.", "share", "lower"),
    "robust_accuracy": Metric("Accuracy", "Of all images that could be scored, the share that is judged rightly after the attack.", "share", "higher"),
    "tpr": Metric("Fakes found", "Of the fake images, the share that is called fake after the attack (recall of label 1).", "share", "higher"),
    "fpr": Metric("False alarms", "Of the real images, the share that is called fake after the attack.", "share", "lower"),
    "auc": Metric("AUC", "How often a fake image scores above a real one, ties counted half; computed on scores after the attack.", "share", "higher"),
    "psnr_db": Metric("PSNR", "Peak signal-to-noise ratio between the two files, mean over the images that changed.", "dB", "neither"),
    "ssim": Metric("SSIM", "Structural similarity between the two files, mean.", "", "neither"),
    "linf_levels": Metric("Largest change", "Largest change of one pixel in 8-bit levels, mean over images.", "levels", "neither"),
    "l2": Metric("L2 change", "Length of the change over all pixels of an image in image units, mean.", "image units", "neither"),
    "queries": Metric("Queries", "Answers that the attack asked of the target, mean per image.", "count", "neither"),
}

# What only the reports compute, from scores that are log-odds; no gate can ask for it.
CERTAINTY: dict[str, Metric] = {
    "probability_fakes": Metric("P(fake) of fakes", "Stated probability of being fake, mean over the fake images.", "share", "higher"),
    "probability_reals": Metric("P(fake) of real images", "Stated probability of being fake, mean over the real images.", "share", "lower"),
    "certainty_when_wrong": Metric("Certainty when wrong", "Probability that the target states for its answer, mean over the images that it judges wrongly.", "share", "lower"),
    "calibration_error": Metric("Calibration error", "Mean gap between the stated probability of being fake and the share that is fake, over 10 bins of equal width (ECE).", "share", "lower"),
}
