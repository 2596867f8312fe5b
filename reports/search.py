"""Searches over chains: the winner in words, how much of its harm it owes to the images that chose it, and whether it beats its own operations alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from redteam.measure.paired import Difference, paired_rates
from redteam.measure.statistics import Unresolvable
from redteam.reports import tables, wording
from redteam.reports.directory import RunDirectory
from redteam.reports.rows import Answer, Rows
from redteam.reports.tables import BARS, Notes, Shown

QUALITIES = {"min_psnr_db": ("psnr_db", " dB"), "min_ssim": ("ssim", "")}  # floor -> the figure that it bounds, and its unit
LABELS = {"attack_success_rate": 1, "frame_rate": 0}
ROUNDING = 1e-6  # records keep six decimals of a quality

Json = Mapping[str, Any]


@dataclass(frozen=True)
class Tried:
    """One chain on the images of the search.

    images: that it was tried on
    spoilt: those among them on which it fell below the floor
    shown:  its harm there, by metric
    """

    chain: str
    images: int
    spoilt: int
    shown: dict[str, Shown]


@dataclass(frozen=True)
class Rival:
    """One operation alone on the images that are evaluated, held to the same floor.

    share:  that it breaks and keeps the floor, of the images that the target judged rightly when clean
    ahead:  how much more the winner breaks, with its interval
    beaten: whether that interval lies above 0
    """

    name: str
    share: str
    ahead: str
    beaten: bool
    n: int


@dataclass(frozen=True)
class Direction:
    """One direction of harm.

    before: on the images of the search; after: on those that are evaluated
    rivals: the operations alone, the most harmful first
    """

    metric: str
    before: Shown
    after: Shown
    rivals: tuple[Rival, ...]


@dataclass(frozen=True)
class Found:
    """One search in one block.

    name:       of the cell
    winner:     in words
    sentences:  what to know of it
    directions: those that the search attacked
    tried:      the best chains, the winner first
    notes:      reasons of absent figures
    """

    data: str
    target: str
    defense: str
    name: str
    winner: str
    sentences: tuple[str, ...]
    directions: tuple[Direction, ...]
    tried: tuple[Tried, ...]
    notes: tuple[str, ...]

    @property
    def metrics(self) -> tuple[str, ...]:
        """The columns of `tried`."""
        return tuple(direction.metric for direction in self.directions)


def searches(run: RunDirectory) -> list[Found]:
    """Every search of a run that found something, in the order of the summary."""
    return [_found(key, cell, cells, run.rows) for key, cells in tables.grouped(run.summary).items() for cell in cells if (cell.get("findings") or {}).get("kind") == "search"]


def _found(key: tables.Key, cell: Json, cells: Sequence[Json], rows: Rows) -> Found:
    told, notes = cell["findings"], Notes()
    chains = told["found"]
    metrics = [metric for metric in BARS if told["looked"].get(metric)]
    directions = tuple(_direction(metric, cell, cells, rows, notes) for metric in metrics)
    tried = tuple(Tried(_words(chain["stages"]), chain["images"], chain["images"] - chain["kept"], {metric: tables.shown(chain, metric, notes) for metric in metrics}) for chain in chains)
    sentences = (_floor(cell, rows), _spent(told), _single(cell), *map(_gap, directions), *map(_standing, directions), _control(cell))
    return Found(*key, wording.attack_name(cell), tried[0].chain, tuple(sentence for sentence in sentences if sentence), directions, tried, tuple(notes.reasons))


def _words(stages: Sequence[Json]) -> str:
    """A chain as a person would say it: `jpeg, quality 90, then resize, scale 0.8`."""
    said = [", ".join([wording.plain(stage["name"]), *(wording.strength(name, value) for name, value in stage["strength"].items())]) for stage in stages]
    return ", then ".join(said)


def _floor(cell: Json, rows: Rows) -> str:
    """What the floor is, and how many evaluated images it saved."""
    answers = rows.answers.get(str(cell.get("key")), ())
    floor = " and ".join(f"{value:g}{QUALITIES[name][1]} {wording.metric_named(QUALITIES[name][0]).title}" for name, value in cell["findings"]["floor"].items())
    spared = sum(answer.quality.get("linf_levels") == 0 for answer in answers)
    return f"No file may fall below {floor}; an image that a chain would spoil stays as it is" + (f", here {spared} of {len(answers)}." if answers else ".")


def _spent(told: Json) -> str:
    wrong = told["asked"] - told["images"]
    looked = f"{told['images']} images of the role train" + (f" ({wrong} more {'was' if wrong == 1 else 'were'} judged wrongly without any attack)" if wrong else "")
    return f"It tried {told['tried']:,} of {told['possible']:,} possible chains on {looked}, for {told['spent']:,} answers of the target; {told['queries']:,} were allowed."


def _direction(metric: str, cell: Json, cells: Sequence[Json], rows: Rows, notes: Notes) -> Direction:
    rivals = sorted(_rivals(metric, cell, cells, rows), key=lambda pair: -pair[0])
    return Direction(metric, tables.shown(cell["findings"]["found"][0], metric, notes), tables.shown(cell, metric, notes), tuple(rival for _, rival in rivals))


def _gap(direction: Direction) -> str:
    """The winner where it was chosen and where it was not."""
    before, after = direction.before, direction.after
    if before.value is None or after.value is None:
        return ""
    title = wording.metric_named(direction.metric).title
    return f"{title}: {before.text} {before.interval} on the images that chose it, {after.text} {after.interval} on images that the search never saw; the choice flattered it by {_points(before.value - after.value)} points."


def _standing(direction: Direction) -> str:
    """Whether the winner does more than its operations alone."""
    what, rivals = wording.metric_named(direction.metric).title, direction.rivals
    if not rivals:
        return f"{what}: no other operation of the search is an attack of this scenario by itself, so that the winner cannot be held against them on the same images."
    equal = [rival.name for rival in rivals if not rival.beaten]
    some = f"all {len(rivals)}" if not equal else f"{len(rivals) - len(equal) or 'none'} of {len(rivals)}"
    best = f"the best of them, {rivals[0].name}, breaks {rivals[0].share}, and the winner {rivals[0].ahead}"
    rest = f" Not beaten: {wording.listed(equal, 6)}." if equal else ""
    return f"{what}: on the same images at the same floor the winner beats {some} operations alone by more than the interval of the difference; {best}.{rest}"


def _single(cell: Json) -> str:
    alone = len(cell["findings"]["found"][0]["stages"]) == 1
    return "The winner is one operation by itself: no composition that was tried on all images does more." if alone else ""


def _control(cell: Json) -> str:
    finish = cell["params"].get("finish")
    if not finish:
        return ""
    names = [stage["name"] for stage in cell["findings"]["found"][0]["stages"]]
    return "" if finish["name"] in names else f"The winner does without {wording.plain(finish['name'])}, so that its noise control is the winner itself."


def _rivals(metric: str, cell: Json, cells: Sequence[Json], rows: Rows) -> Iterator[tuple[float, Rival]]:
    """The operations of the search that are attacked with by themselves, with their share."""
    operations = [part for part in (*cell["params"]["pool"], cell["params"].get("finish")) if part]
    own = {answer.id: answer for answer in rows.answers.get(str(cell.get("key")), ()) if answer.label == LABELS[metric] and answer.attackable}
    for other in cells:
        if other.get("control") or other.get("repeat") or not any(_is_alone(other, part, cell["findings"]["found"][0]["stages"]) for part in operations):
            continue
        pairs = [(answer, own[answer.id]) for answer in rows.answers.get(str(other.get("key")), ()) if answer.attackable and answer.id in own]
        try:
            found = paired_rates([_breaks(alone, cell) for alone, _ in pairs], [_breaks(best, cell) for _, best in pairs], [best.group for _, best in pairs])
        except Unresolvable:
            continue
        yield found.first, _rival(wording.attack_name(other), found)


def _rival(name: str, found: Difference) -> Rival:
    ahead = f"{_points(found.value)} points [{_points(found.low)}, {_points(found.high)}]"
    return Rival(name, wording.percent(found.first, found.n), ahead, found.low > 0, found.n)


def _points(share: float) -> str:
    """A difference of shares in percentage points, with its sign.

    >>> _points(0.124), _points(-0.124), _points(-0.001)
    ('+12', '−12', '0')
    """
    return f"{round(100 * share):+d}".replace("-", "−") if round(100 * share) else "0"


def _is_alone(cell: Json, part: Json, winner: Sequence[Json]) -> bool:
    """Whether a cell attacks with one setting of an operation and nothing else; not where that is the winner itself."""
    params, same = cell["params"], str(cell.get("kind")).replace("_", "") == str(part["kind"]).lower()
    if len(winner) == 1 and winner[0]["name"] == part["name"] and all(params.get(name) == value for name, value in winner[0]["strength"].items()):
        return False
    return same and any({**setting, "goal": None} == {**params, "goal": None} for setting in part["settings"])


def _breaks(answer: Answer, cell: Json) -> float:
    """1 where the image is broken and keeps the floor of the search."""
    kept = all(answer.quality.get(QUALITIES[name][0], -1.0) >= value - ROUNDING for name, value in cell["findings"]["floor"].items())
    return float(answer.success and kept)
