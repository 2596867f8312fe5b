"""What changed from one run to another: paired image by image, tested, and corrected for how much was looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from redteam.measure.names import METRICS
from redteam.measure.paired import Difference, apart, paired_areas, paired_rates
from redteam.measure.statistics import Estimate, Unresolvable, holm
from redteam.reports.pairing import Answer, Match, NotTheSame, Side, check_files, check_images, matches, read_side

ALPHA = 0.05
CLEAN = ("robust_accuracy", "tpr", "fpr", "auc")  # of the unchanged images: what a fix may cost
ATTACKED = ("attack_success_rate", "frame_rate", "robust_accuracy", "auc")
COMPARED = tuple(dict.fromkeys((*CLEAN, *ATTACKED)))
SEED = 20  # of the bootstrap: the same for every pair of runs, so that their order cannot matter
AT_BEST = "upper_bound"

Json = Mapping[str, Any]
Verdict = Literal["worse", "better", "open"]


@dataclass(frozen=True)
class Rate:
    """A share of images: in which rows an image counts, and in which of those it is a hit."""

    counts: Callable[[Answer], bool]
    hit: Callable[[Answer], bool]


RATES: dict[str, Rate] = {
    "attack_success_rate": Rate(lambda a: a.label == 1 and a.attackable, lambda a: a.success),
    "frame_rate": Rate(lambda a: a.label == 0 and a.attackable, lambda a: a.success),
    "robust_accuracy": Rate(lambda a: True, lambda a: a.decision == a.label),
    "tpr": Rate(lambda a: a.label == 1, lambda a: a.decision == 1),
    "fpr": Rate(lambda a: a.label == 0, lambda a: a.decision == 1),
}


@dataclass(frozen=True)
class Options:
    """What is compared, and what counts as the same.

    selects: cells of summary.json that are looked at
    metrics: figures that are looked at
    targets: target of the first run -> the one of the second that stands for it
    paired:  whether both runs are about the same images
    margin:  by how much a figure may get worse, in its own unit; None where nothing is asked
    """

    selects: Callable[[Json], bool] = lambda cell: cell["attack"] != "noise"
    metrics: Sequence[str] = COMPARED
    targets: Mapping[str, str] = field(default_factory=dict)
    paired: bool = True
    margin: float | None = None


@dataclass(frozen=True)
class Comparison:
    """One figure of one cell in both runs.

    cell, target: of the first run, and the target's id in the second
    left_out: images that only one of the runs could count
    p_holm:   p over all comparisons
    verdict:  worse or better where p_holm is below 0.05, else open
    at_best:  whether the run that looks better is an upper bound, so that it may only look so
    within:   whether the interval leaves room for no more harm than the margin; None where there is no margin
    """

    cell: Json
    target: str
    metric: str
    difference: Difference
    left_out: int
    p_holm: float = 1.0
    verdict: Verdict = "open"
    at_best: bool = False
    within: bool | None = None


@dataclass(frozen=True)
class Untold:
    """Figures of a cell that cannot be compared, and why; `lost` where only the second run is to blame."""

    cell: Json
    metrics: tuple[str, ...]
    reason: str
    lost: bool


@dataclass(frozen=True)
class Compared:
    """Two runs, compared."""

    first: Side
    second: Side
    options: Options
    comparisons: tuple[Comparison, ...]
    untold: tuple[Untold, ...]

    @property
    def regressions(self) -> list[Comparison]:
        """What got worse, by more than the margin as far as can be told."""
        return [c for c in self.comparisons if c.verdict == "worse" and not c.within]

    @property
    def undecided(self) -> list[Comparison]:
        """What leaves room for more harm than the margin, without having shown any; empty where there is no margin."""
        return [c for c in self.comparisons if c.verdict != "worse" and c.within is False]

    @property
    def lost(self) -> list[Untold]:
        """What the first run told and the second does not: a broken evaluation is no robustness."""
        return [entry for entry in self.untold if entry.lost]

    def gate(self) -> Literal["pass", "fail", "inconclusive"]:
        """Whether nothing got worse."""
        return "fail" if self.regressions else "inconclusive" if self.undecided or self.lost else "pass"


def compare(first: Path, second: Path, options: Options = Options()) -> Compared:
    """Two finished run directories, the second against the first.

    Raises:
        RunDirectoryError: a directory holds no run that this version can read.
        NotTheSame: a run is incomplete, the images differ, or there is no cell in common.
    """
    one, two = read_side(first), read_side(second)
    check_files(one, two)
    found = matches(one, two, options.selects, options.targets)
    both = [match for match in found if match.first and match.second]
    if not both:
        raise NotTheSame(f"the runs have no cell in common; {_what_there_is(one, two)}")
    if options.paired:
        for data in dict.fromkeys(match.cell["data"] for match in both):
            check_images(one, two, data)
    said = [figure for match in found for figure in _figures(match, one, two, options)]
    raw = [figure for figure in said if isinstance(figure, Comparison)]
    corrected = holm([c.difference.p for c in raw])
    judged = (_judged(c, float(p), options.margin) for c, p in zip(raw, corrected, strict=True))
    return Compared(one, two, options, tuple(judged), tuple(figure for figure in said if isinstance(figure, Untold)))


def _figures(match: Match, one: Side, two: Side, options: Options) -> Iterator[Comparison | Untold]:
    """What there is to say of one pair of cells: each figure that can be compared, and for what reasons others cannot."""
    names = [name for name in (CLEAN if match.cell["attack"] == "identity" else ATTACKED) if name in options.metrics]
    if match.reason:
        yield Untold(match.cell, tuple(names), match.reason, match.lost)
        return
    reasons: dict[tuple[str, bool], list[str]] = {}
    for name in names:
        try:
            difference, left_out = _paired(match, name, one, two) if options.paired else _apart(match, name)
        except Unresolvable as error:
            lost = name in match.first["metrics"] and name not in match.second["metrics"]
            reasons.setdefault((error.reason, lost), []).append(name)
        else:
            yield Comparison(match.first, match.second["target"], name, difference, left_out, at_best=_at_best(match, name, difference))
    yield from (Untold(match.cell, tuple(found), reason, lost) for (reason, lost), found in reasons.items())


def _paired(match: Match, name: str, one: Side, two: Side) -> tuple[Difference, int]:
    """The difference over the images that count in both cells, and how many count in one alone."""
    if name == "auc":
        _check_there(match, name)  # where a run says why it has none, such as decisions instead of scores
    rows = [one.answers.get(match.first["key"], {}), two.answers.get(match.second["key"], {})]
    counts = RATES[name].counts if name in RATES else lambda answer: True
    counted = [{image for image, answer in cell.items() if answer.scored and counts(answer)} for cell in rows]
    shared = sorted(counted[0] & counted[1])
    pairs = [(rows[0][image], rows[1][image]) for image in shared]
    left_out = len(counted[0] | counted[1]) - len(shared)
    groups = [a.group for a, _ in pairs]
    if not pairs:
        raise Unresolvable("no image counts in both runs")
    if name in RATES:
        hit = RATES[name].hit
        return paired_rates([hit(a) for a, _ in pairs], [hit(b) for _, b in pairs], groups), left_out
    labels = [a.label for a, _ in pairs]
    if len(set(labels)) < 2:
        raise Unresolvable("one class only: this cell attacks images of one label")
    return paired_areas([a.score for a, _ in pairs], [b.score for _, b in pairs], labels, groups, SEED), left_out


def _apart(match: Match, name: str) -> tuple[Difference, int]:
    """The difference of what the two summaries say."""
    _check_there(match, name)
    figures = [cell["metrics"][name] for cell in (match.first, match.second)]
    return apart(*(Estimate(m["value"], m["low"], m["high"], m["n"], m["n"]) for m in figures)), 0


def _check_there(match: Match, name: str) -> None:
    for cell in (match.first, match.second):
        if name not in (cell.get("metrics") or {}):
            raise Unresolvable(str((cell.get("absent") or {}).get(name, "not in the summary")))


def _judged(comparison: Comparison, p: float, margin: float | None) -> Comparison:
    change = comparison.difference.value
    verdict: Verdict = "open" if p >= ALPHA or change == 0 else "worse" if harm(comparison.metric, change) > 0 else "better"
    most = max(harm(comparison.metric, end) for end in (comparison.difference.low, comparison.difference.high))
    return replace(comparison, p_holm=p, verdict=verdict, within=None if margin is None else most <= margin)


def harm(metric: str, change: float) -> float:
    """A change of a figure, positive where it is worse for the defender.

    >>> harm("auc", -0.1), harm("frame_rate", -0.1)
    (0.1, -0.1)
    """
    return change if METRICS[metric].better == "lower" else -change


def _at_best(match: Match, name: str, difference: Difference) -> bool:
    favoured = match.first if harm(name, difference.value) > 0 else match.second
    return difference.value != 0 and favoured.get("verdict") == AT_BEST


def _what_there_is(one: Side, two: Side) -> str:
    """The names that do not meet, and the option that makes two targets meet."""
    targets = [sorted({cell["target"] for cell in side.cells}) for side in (one, two)]
    if len(targets[0]) == len(targets[1]) == 1 and targets[0] != targets[1]:
        return f"their targets are {targets[0][0]} and {targets[1][0]}: say --target {targets[0][0]}={targets[1][0]}"
    said = [", ".join(_squares(side)) for side in (one, two)]
    return f"the first has {said[0]}; the second {said[1]}"


def _squares(side: Side) -> Iterator[str]:
    return iter(dict.fromkeys(f"{cell['data']}/{cell['target']}/{cell['defense']}" for cell in side.cells))
