"""Loads a target, puts a defense before it, sets its threshold and looks at it on clean images, before anything is attacked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from redteam.data.corpus import Sample, UnreadableImage
from redteam.measure import detection, statistics
from redteam.scenario.model import DefenseEntry, TargetEntry
from redteam.target import Detector, TargetSpec
from redteam.targets.python import AdaptedDetector

Batches = Callable[[], Iterator[tuple[Tensor, list[int], list[str]]]]  # pixels (n, 3, h, w), labels, groups; a fresh pass at each call
PROBE = 64  # clean images that the input range is tried on
RANGES = ((0.0, 1.0), (0.0, 255.0), (-1.0, 1.0))


def load_defended(target: TargetEntry, defense: DefenseEntry, device: torch.device, first: Tensor) -> Detector:
    """The target behind its defense, having looked at the first clean batch (n, 3, h, w)."""
    loaded = target.spec.load(target.id, device)
    loaded.inspect(first.to(device))
    return defense.defense.wrap(loaded)


def facts(detector: Detector, spec: TargetSpec, calib: Batches | None, clean: Batches, probe_range: bool) -> dict[str, Any]:
    """What a cell needs to know about a target behind a defense: threshold and where it came from, notes, and whether another input range fits better."""
    found: dict[str, Any] = {"access": detector.access.word, "declared_logit": bool(spec.declared_logit), "notes": list(detector.notes)}
    found |= _threshold(detector, spec, calib)
    if probe_range and isinstance(detector, AdaptedDetector):
        found["ranges"] = _range_probe(detector.with_threshold(found["threshold"]), clean)
    return found


def _threshold(detector: Detector, spec: TargetSpec, calib: Batches | None) -> dict[str, Any]:
    wanted = spec.threshold
    if wanted is None:
        return {"threshold": spec.own_scale(0.5) if not spec.declared_logit else 0.0, "how": "default", "negatives": 0}
    if wanted.fixed is not None:
        return {"threshold": spec.own_scale(wanted.fixed), "how": "fixed", "negatives": 0}
    if calib is None:
        raise ValueError(f"{detector.name}: threshold at_fpr needs a calib role")
    scores, groups = _negatives(detector, calib)
    if len(scores) == 0:
        raise ValueError(f"{detector.name}: no calibration image of label 0 could be scored")
    value = detection.threshold_at_fpr(scores, wanted.at_fpr)
    return {"threshold": value, "how": "at_fpr", "at_fpr": wanted.at_fpr, "negatives": len(scores), "calib_groups": sorted(set(groups))}


def _negatives(detector: Detector, calib: Batches) -> tuple[list[float], list[str]]:
    scores: list[float] = []
    sources: list[str] = []
    for pixels, labels, groups in calib():
        answered = _score(detector, pixels)
        for value, label, group in zip(answered, labels, groups, strict=True):
            if label == 0 and value == value:  # NaN is not a score
                scores.append(value)
                sources.append(group)
    return scores, sources


def _range_probe(detector: AdaptedDetector, clean: Batches) -> dict[str, Any]:
    """Clean images as declared, and when the network is fed each usual range instead: {range: {auc, accuracy: {value, low, high}}}.

    Accuracy is at the threshold, since a wrong range may keep the order of scores and still call every image fake.
    """
    batches = list(clean())
    labels = [label for _, part, _ in batches for label in part]
    groups = [group for _, _, part in batches for group in part]
    found: dict[str, Any] = {}
    declared = detector.input_range
    for other in (declared, *(r for r in RANGES if r != declared)):
        name = "declared" if other == declared else f"[{other[0]:g}, {other[1]:g}]"
        try:
            fed = detector.fed_as(other)
            scores = torch.tensor([value for pixels, _, _ in batches for value in _score(fed, pixels)])
            right = (fed.decide(scores) == torch.tensor(labels)).double().tolist()
            estimates = {"auc": statistics.bootstrap_auc(scores, labels, groups, seed=0), "accuracy": statistics.clustered_rate(right, groups)}
            found[name] = {figure: {"value": e.value, "low": e.low, "high": e.high} for figure, e in estimates.items()}
        except (ValueError, RuntimeError, statistics.Unresolvable):
            continue  # a network that refuses this range, or too few images to tell: nothing to compare
    return found


def probed(samples: Sequence[Sample]) -> list[Sample]:
    """The first samples of each label, as many as the range probe looks at."""
    return [sample for label in (0, 1) for sample in [s for s in samples if s.label == label][: PROBE // 2]]


def _score(detector: Detector, pixels: Tensor) -> list[float]:
    with torch.no_grad():
        return detector.respond(pixels.clone()).float().cpu().tolist()


def read_batches(samples: Sequence[Sequence[Sample]], read: Callable[[Sample], Any], to_pixels: Callable[[Sequence[Any]], Tensor], device: torch.device) -> Batches:
    """Micro-batches of samples as pixels; images that cannot be read are left out here (they get an error row where they are evaluated)."""

    def batches() -> Iterator[tuple[Tensor, list[int], list[str]]]:
        for batch in samples:
            pictures, kept = [], []
            for sample in batch:
                try:
                    pictures.append(read(sample))
                    kept.append(sample)
                except UnreadableImage:
                    continue
            if kept:
                yield to_pixels(pictures).to(device), [s.label for s in kept], [s.group for s in kept]

    return batches


def in_batches(samples: Iterator[Sample], size: int) -> Iterator[list[Sample]]:
    """Samples in their order, as batches of at most `size` that share height and width."""
    batch: list[Sample] = []
    for sample in samples:
        if batch and (len(batch) == size or (sample.height, sample.width) != (batch[0].height, batch[0].width)):
            yield batch
            batch = []
        batch.append(sample)
    if batch:
        yield batch


def together(parts: Sequence[Batches]) -> Batches | None:
    """Several corpora of one role, one after the other; None where there is none."""

    def batches() -> Iterator[tuple[Tensor, list[int], list[str]]]:
        for part in parts:
            yield from part()

    return batches if parts else None
