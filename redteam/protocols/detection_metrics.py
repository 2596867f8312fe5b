"""What the records of one detection cell amount to: figures with intervals, or the reason why there is none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from redteam.measure.detection import roc_auc
from redteam.measure.statistics import FEWEST_GROUPS, Estimate, Unresolvable, bootstrap_auc, bootstrap_mean, clustered_rate
from redteam.record import Record
from redteam.seeding import derive_seed

Row = dict[str, float]


@dataclass
class Figures:
    """The figures of one cell.

    attacked: whether it is not the clean arm
    metrics:  name -> value, low, high, n
    absent:   name -> why there is no such figure
    by_group: group -> name -> value, n; filled where the images come from too few groups for an interval
    """

    attacked: bool = True
    metrics: dict[str, dict[str, float]] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)
    by_group: dict[str, dict[str, Row]] = field(default_factory=dict)

    @property
    def resolvable(self) -> bool:
        """Whether the figure that the cell is about has an interval: a success rate, or without an attack the accuracy."""
        about = SUCCESSES if self.attacked else ("robust_accuracy",)
        return any(name in self.metrics for name in about)


@dataclass(frozen=True)
class Rate:
    """A share of images: which ones count, and which of those are hits."""

    counts: Callable[[Record], bool]
    hit: Callable[[Record], bool]
    empty: str


RATES: dict[str, Rate] = {
    "attack_success_rate": Rate(lambda r: r.label == 1 and attackable(r), lambda r: r.outcome["success"], "no fake image was called fake when clean, so none can be made to pass"),
    "frame_rate": Rate(lambda r: r.label == 0 and attackable(r), lambda r: r.outcome["success"], "no real image was called real when clean, so none can be accused"),
    "robust_accuracy": Rate(lambda r: True, lambda r: r.outcome["decision"] == r.label, "no image could be scored"),
    "tpr": Rate(lambda r: r.label == 1, lambda r: r.outcome["decision"] == 1, "no fake image could be scored"),
    "fpr": Rate(lambda r: r.label == 0, lambda r: r.outcome["decision"] == 1, "no real image could be scored"),
}
SUCCESSES = ("attack_success_rate", "frame_rate")
MEANS = ("psnr_db", "ssim", "linf_levels", "l2")


def scoreable(row: Record) -> bool:
    """Whether the target gave this image a finite score."""
    return row.status == "ok" and row.outcome.get("score") is not None


def attackable(row: Record) -> bool:
    """Whether the target was right about the clean image, and answered about the attacked one."""
    return scoreable(row) and bool(row.outcome.get("attackable"))


def figures(rows: Sequence[Record], seed: int) -> Figures:
    """All figures of one cell; under ten groups they are given group by group and without an interval."""
    found = Figures(attacked=not rows or rows[0].attack != "identity")
    scored = [row for row in rows if scoreable(row)]
    for name, rate in RATES.items():
        if found.attacked or name not in SUCCESSES:
            _add(found, name, lambda rate=rate: _rate(rate, scored))
    _add(found, "auc", lambda: _auc(scored, derive_seed(seed, "auc")))
    for name in MEANS:
        _add(found, name, lambda name=name: _mean(name, scored, derive_seed(seed, name)))
    if any(row.cost.get("queries") for row in scored):
        _add(found, "queries", lambda: _values([row.cost["queries"] for row in scored], scored, derive_seed(seed, "queries")))
    if len({row.group for row in scored}) < FEWEST_GROUPS:
        found.by_group = _by_group(scored)
    return found


def _add(found: Figures, name: str, compute: Callable[[], Estimate]) -> None:
    try:
        found.metrics[name] = as_json(compute())
    except Unresolvable as error:
        found.absent[name] = error.reason


def as_json(estimate: Estimate) -> dict[str, float]:
    """An estimate as the summary holds it."""
    return {"value": estimate.value, "low": estimate.low, "high": estimate.high, "n": estimate.n}


def _rate(rate: Rate, scored: Sequence[Record]) -> Estimate:
    rows = [row for row in scored if rate.counts(row)]
    if not rows:
        raise Unresolvable(rate.empty)
    return clustered_rate([float(bool(rate.hit(row))) for row in rows], [row.group for row in rows])


def _auc(scored: Sequence[Record], seed: int) -> Estimate:
    labels = [row.label for row in scored]
    if len(set(labels)) < 2:
        raise Unresolvable("one class only: this cell attacks images of one label" if scored else "no image could be scored")
    return bootstrap_auc([row.outcome["score"] for row in scored], labels, [row.group for row in scored], seed=seed % 2**32)


def _mean(name: str, scored: Sequence[Record], seed: int) -> Estimate:
    rows = [row for row in scored if row.quality.get(name) is not None]
    if not rows:
        changed = any(f"quality.{name}" in row.nonfinite for row in scored)
        raise Unresolvable("no image changed" if changed and name == "psnr_db" else "pixels have no partner to compare with: size or position changed" if scored else "no image could be scored")
    return _values([row.quality[name] for row in rows], rows, seed)


def _values(values: Sequence[float], rows: Sequence[Record], seed: int) -> Estimate:
    return bootstrap_mean(values, [row.group for row in rows], seed=seed % 2**32)


def _by_group(scored: Sequence[Record]) -> dict[str, dict[str, Any]]:
    groups: dict[str, list[Record]] = {}
    for row in scored:
        groups.setdefault(row.group, []).append(row)
    return {name: _plain(rows) for name, rows in sorted(groups.items())}


def _plain(rows: Sequence[Record]) -> dict[str, Row]:
    """Figures of one group: values and n, no interval."""
    found: dict[str, Row] = {}
    for name, rate in RATES.items():
        counted = [bool(rate.hit(row)) for row in rows if rate.counts(row) and (name not in SUCCESSES or "success" in row.outcome)]
        if counted:
            found[name] = {"value": float(np.mean(counted)), "n": len(counted)}
    if len({row.label for row in rows}) == 2:
        found["auc"] = {"value": roc_auc([row.outcome["score"] for row in rows], [row.label for row in rows]), "n": len(rows)}
    return found
