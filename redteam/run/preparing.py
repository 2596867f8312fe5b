"""Sets the threshold of a target behind a defense and looks at it on clean images, before anything is attacked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch

from redteam.data.corpus import Sample
from redteam.images import Images
from redteam.measure import detection, statistics
from redteam.target import Detector, TargetSpec
from redteam.targets.python import AdaptedDetector

Batches = Callable[[], Iterator[Images]]  # micro-batches of clean images; a fresh pass at each call
PROBE = 64  # clean images that the input range is tried on
RANGES = ((0.0, 1.0), (0.0, 255.0), (-1.0, 1.0))


def facts(detector: Detector, spec: TargetSpec, calib: Batches, clean: Batches, probe_range: bool) -> dict[str, Any]:
    """What a cell needs to know about a target behind a defense: threshold and where it came from, notes, and whether another input range fits better."""
    found: dict[str, Any] = {"access": detector.access.word, "declared_logit": bool(spec.declared_logit), "notes": list(detector.notes)}
    found |= threshold(detector, spec, calib)
    if probe_range and isinstance(detector, AdaptedDetector):
        found["ranges"] = _range_probe(detector.with_threshold(found["threshold"]), clean)
    return found


def threshold(detector: Detector, spec: TargetSpec, calib: Batches) -> dict[str, Any]:
    """Where a detector starts to call an image fake, how that was set, and on how many real calibration images."""
    wanted = spec.threshold
    if wanted is None:
        return {"threshold": spec.own_scale(0.5) if not spec.declared_logit else 0.0, "how": "default", "negatives": 0}
    if wanted.fixed is not None:
        return {"threshold": spec.own_scale(wanted.fixed), "how": "fixed", "negatives": 0}
    scores, groups = _negatives(detector, calib)
    if not scores:
        raise ValueError(f"{detector.name}: no calibration image of label 0 could be scored")
    value = detection.threshold_at_fpr(scores, wanted.at_fpr)
    return {"threshold": value, "how": "at_fpr", "at_fpr": wanted.at_fpr, "negatives": len(scores), "calib_groups": sorted(set(groups))}


def _negatives(detector: Detector, calib: Batches) -> tuple[list[float], list[str]]:
    """Scores of the real calibration images, and the source images that they name."""
    scores: list[float] = []
    sources: list[str] = []
    for images in calib():
        for value, label, name, group in zip(_score(detector, images), images.labels.tolist(), images.ids, images.groups, strict=True):
            if label == 0 and value == value:  # NaN is not a score
                scores.append(value)
                sources += [group] if group != name else []  # a group that is only an id, such as a file name, means nothing in another corpus
    return scores, sources


def _range_probe(detector: AdaptedDetector, clean: Batches) -> dict[str, Any]:
    """Clean images as declared, and when the network is fed each usual range instead: {range: {auc, accuracy: {value, low, high}}}.

    Accuracy is at the threshold, since a wrong range may keep the order of scores and still call every image fake.
    """
    batches = list(clean())
    labels = torch.cat([images.labels for images in batches]).cpu() if batches else torch.empty(0)
    groups = [group for images in batches for group in images.groups]
    found: dict[str, Any] = {}
    declared = detector.input_range
    for other in (declared, *(r for r in RANGES if r != declared)):
        name = "declared" if other == declared else f"[{other[0]:g}, {other[1]:g}]"
        try:
            fed = detector.fed_as(other)
            scores = torch.tensor([value for images in batches for value in _score(fed, images)])
            right = (fed.decide(scores) == labels).double().tolist()
            estimates = {"auc": statistics.bootstrap_auc(scores, labels, groups, seed=0), "accuracy": statistics.clustered_rate(right, groups)}
            found[name] = {figure: {"value": e.value, "low": e.low, "high": e.high} for figure, e in estimates.items()}
        except (ValueError, RuntimeError, statistics.Unresolvable):
            continue  # a network that refuses this range, or too few images to tell: nothing to compare
    return found


def probed(samples: Sequence[Sample]) -> list[Sample]:
    """The first samples of each label, as many as the range probe looks at."""
    return [sample for label in (0, 1) for sample in [s for s in samples if s.label == label][: PROBE // 2]]


def _score(detector: Detector, images: Images) -> list[float]:
    with torch.no_grad():
        return detector.respond(images.pixels.clone()).float().cpu().tolist()
