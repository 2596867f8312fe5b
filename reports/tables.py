"""The rows that every report shows: cells in blocks of one corpus, target and defense, absent figures with their reason."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from redteam.measure.names import METRICS
from redteam.record import Cell
from redteam.reports import wording
from redteam.reports.wording import number

BARS = ("attack_success_rate", "frame_rate")  # the two that are drawn as well as written
MAIN = (*BARS, "robust_accuracy", "auc", "psnr_db", "ssim", "queries")
NO_REASON = "not in the summary, and no reason given"
NOT_ATTACKED = "not defined for unchanged images: only images that were judged rightly when clean are counted, and nothing was done to them"
ASKS_NOTHING = "asks the target nothing"
NOT_FOR_WORST = "not defined for a worst case, which takes a different attack for each image"
UNCHANGED = "unchanged"
NORMS = {"linf": 0, "l2": 1, "unbounded": 3}  # order of print

HEADLINES = ("attack_success_rate", "frame_rate", "robust_accuracy", "auc")

Json = Mapping[str, Any]
Key = tuple[str, str, str]


@dataclass(frozen=True)
class Shown:
    """One figure in print.

    text:     the figure, or a dash
    interval: its 95% interval, or empty
    reason:   why there is a dash; empty where there is a figure
    note:     number of the footnote that holds the reason
    value, low, high, n: the figures behind the text; None where absent
    mark:     the same metric of the noise control, for comparison
    """

    name: str
    text: str
    interval: str = ""
    reason: str = ""
    note: int | None = None
    value: float | None = None
    low: float | None = None
    high: float | None = None
    n: int | None = None
    mark: float | None = None


@dataclass(frozen=True)
class Row:
    """One line of a block: an attacked cell, a control arm, or a worst case over attacks.

    detail: what stands small under the label
    """

    kind: Literal["attack", "control", "worst"]
    key: str
    label: str
    detail: str
    n: str
    unscoreable: str
    errors: int
    shown: dict[str, Shown]
    verdict: str
    flags: tuple[str, ...]


@dataclass(frozen=True)
class Block:
    """One corpus, target and defense.

    columns: metrics of the main table; `more` those of the second
    notes:   reasons of absent figures, in the order of their footnotes
    """

    data: str
    target: str
    defense: str
    attacks: tuple[Row, ...]
    controls: tuple[Row, ...]
    worst: tuple[Row, ...]
    columns: tuple[str, ...]
    more: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def rows(self) -> tuple[Row, ...]:
        """Every row in the order of print."""
        return self.attacks + self.worst + self.controls

    @property
    def measured(self) -> bool:
        """Whether any headline figure of any row is more than a dash."""
        return any(row.shown[name].value is not None for row in self.rows for name in HEADLINES if name in row.shown)


class Notes:
    """Footnotes of one block: each reason once."""

    def __init__(self) -> None:
        self.reasons: list[str] = []

    def __call__(self, reason: str) -> int:
        """The number of the footnote with this reason, from 1."""
        if reason not in self.reasons:
            self.reasons.append(reason)
        return self.reasons.index(reason) + 1


def blocks(summary: Json) -> list[Block]:
    """The cells of a summary in print order, one block for each corpus, target and defense."""
    return [_block(summary, key, cells) for key, cells in grouped(summary).items()]


def grouped(summary: Json) -> dict[Key, list[Json]]:
    """Cells by corpus, target and defense, in the order of the summary."""
    groups: dict[Key, list[Json]] = {}
    for cell in summary["cells"]:
        groups.setdefault(key_of(cell), []).append(cell)
    return groups


def key_of(entry: Json) -> Key:
    """What a cell, a worst case or a threshold belongs to; a threshold belongs to no corpus."""
    return str(entry.get("data")), str(entry.get("target")), str(entry.get("defense"))


def worst_cases(summary: Json, key: Key) -> list[Json]:
    """The worst-case entries of a block, smallest budget first, those without a budget last."""
    found = [entry for entry in summary["worst_case"] if key_of(entry) == key]
    return sorted(found, key=lambda entry: (NORMS.get(str(entry.get("norm")), 2), str(entry.get("norm")), number(entry.get("eps")) or 0.0))


def noise_of(cell: Json, cells: Sequence[Json]) -> Json | None:
    """The noise arm that serves a cell."""
    wanted = cell.get("controls") or ()
    return next((other for other in cells if other["attack"] == "noise" and other.get("key") in wanted), None)


def identity_of(cells: Sequence[Json]) -> Json | None:
    """The cell of the unchanged images."""
    return next((cell for cell in cells if cell["attack"] == "identity"), None)


def value_of(cell: Json | None, name: str) -> float | None:
    """The value of a metric, or None where it is absent."""
    metric = ((cell or {}).get("metrics") or {}).get(name)
    return number(metric.get("value")) if isinstance(metric, Mapping) else None


def members(entry: Json, cells: Sequence[Json]) -> list[Json]:
    """The cells behind a worst case, found by their labels."""
    labels = set(entry.get("attacks") or ())
    return [cell for cell in cells if not cell.get("control") and _label(cell) in labels]


def members_in_words(entry: Json, cells: Sequence[Json]) -> list[str]:
    """The attacks behind a worst case; labels that no cell answers to stand as they are."""
    found = members(entry, cells)
    known = {_label(cell) for cell in found}
    return [*wording.attack_names(found), *(wording.plain(label) for label in entry.get("attacks") or () if label not in known)]


def undefended(summary: Json, defense: str) -> bool:
    """Whether a defense is the one that does nothing."""
    return defense == "none" or any(entry.get("id") == defense and entry.get("kind") == "none" for entry in summary["defenses"])


def shown(entry: Json, name: str, notes: Notes, *, mark: float | None = None, absent: str = NO_REASON) -> Shown:
    """One metric of a cell or a worst case in print; a dash with a footnote where it is absent."""
    value = value_of(entry, name)
    if value is None:
        reason = (entry.get("absent") or {}).get(name)
        if name == "psnr_db" and (value_of(entry, "linf_levels") == 0 or value_of(entry, "l2") == 0):
            return Shown(name, UNCHANGED, reason="no pixel of any image changed, so that no noise can be measured against it")
        said = wording.plain(reason or absent)
        return Shown(name, wording.DASH, reason=said, note=notes(said))
    metric = entry["metrics"][name]
    low, high, n = number(metric.get("low")), number(metric.get("high")), number(metric.get("n"))
    constant = low == high and wording.metric_named(name).unit != "share"  # every image has the same figure: there is nothing to be unsure of
    between = "" if low is None or high is None or constant else wording.interval(name, low, high, n)
    return Shown(name, wording.figure(name, value, n), between, value=value, low=low, high=high, n=None if n is None else int(n), mark=mark)


def _block(summary: Json, key: Key, cells: list[Json]) -> Block:
    notes = Notes()
    columns, more = _columns(cells)
    goals = {cell.get("goal") for cell in cells if not cell.get("control")}
    attacks = [_cell_row(cell, cells, (*columns, *more), notes, len(goals) > 1) for cell in cells if not cell.get("control")]
    worst = [_worst_row(entry, cells, columns, notes) for entry in worst_cases(summary, key)]
    controls = [_cell_row(cell, cells, (*columns, *more), notes, False) for cell in cells if cell.get("control")]
    return Block(*key, tuple(attacks), tuple(controls), tuple(worst), columns, more, tuple(notes.reasons))


def _columns(cells: list[Json]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The metrics of the main table, and those of the second: what the cells of this block have or miss."""
    named = {name for cell in cells for name in (*(cell.get("metrics") or {}), *(cell.get("absent") or {}))}
    unknown = tuple(sorted(named - set(METRICS)))
    main = tuple(name for name in MAIN if name in named or not unknown)
    return main + unknown, tuple(name for name in METRICS if name in named and name not in MAIN)


def _cell_row(cell: Json, cells: list[Json], names: Sequence[str], notes: Notes, with_goal: bool) -> Row:
    noise = None if cell.get("control") else noise_of(cell, cells)
    figures = {name: shown(cell, name, notes, mark=value_of(noise, name) if name in BARS else None, absent=_missing(cell, name)) for name in names}
    return Row(
        kind="control" if cell.get("control") else "attack",
        key=str(cell.get("key", "")),
        label=wording.attack_name(cell),
        detail=_detail(cell, cells, with_goal),
        n=_count(cell.get("n")),
        unscoreable=_count(cell.get("unscoreable")),
        errors=int(number(cell.get("errors")) or 0),
        shown=figures,
        verdict=str(cell.get("verdict", "unknown")),
        flags=tuple(dict.fromkeys(str(flag.get("id")) for flag in cell.get("flags") or ())),
    )


def _missing(cell: Json, name: str) -> str:
    """Why a figure is absent where the summary has no need to say it."""
    if name in BARS and cell["attack"] == "identity":
        return NOT_ATTACKED
    return ASKS_NOTHING if name == "queries" and cell.get("needs", "none") == "none" else NO_REASON


def _detail(cell: Json, cells: list[Json], with_goal: bool) -> str:
    """What a reader must know beside the name: the goal where there are several, what a control is the control of."""
    if cell["attack"] == "identity":
        return "control: images pass through the same path unchanged"
    if cell.get("control"):
        served = [other for other in cells if cell.get("key") in (other.get("controls") or ()) and not other.get("control")]
        return f"control of {wording.listed(wording.attack_names(served))}" if served else "control"
    asked = list(dict.fromkeys(_surrogates(cell.get("params"))))
    parts = [f"goal {wording.plain(cell.get('goal'))}" if with_goal else "", f"made on the surrogate {wording.listed(asked)}, then shown to the target" if asked else ""]
    return "; ".join(part for part in parts if part)


def _surrogates(params: object) -> Iterator[str]:
    """The models that an attack, or a stage of a chain, asks in place of the target."""
    if isinstance(params, Mapping):
        named = params.get("surrogates") or ()
        yield from (wording.plain(name) for name in named) if isinstance(named, list | tuple) else (wording.plain(named),)
        for value in params.values():
            yield from _surrogates(value)
    elif isinstance(params, list | tuple):
        for value in params:
            yield from _surrogates(value)


def _worst_row(entry: Json, cells: Sequence[Json], columns: Sequence[str], notes: Notes) -> Row:
    names = members_in_words(entry, cells)
    figures = {name: shown(entry, name, notes, absent=NOT_FOR_WORST) for name in columns}
    counts = [figure.n for figure in figures.values() if figure.n is not None]
    return Row(
        kind="worst",
        key="",
        label=budget(entry),
        detail=f"over {wording.listed(names, 6)}" if names else "",
        n=str(max(counts)) if counts else wording.DASH,
        unscoreable="",
        errors=0,
        shown=figures,
        verdict=worst_verdict(entry, cells),
        flags=(),
    )


def worst_verdict(entry: Json, cells: Sequence[Json]) -> str:
    """What the verdicts of its attacks leave of a worst case: one attack that failed to run properly may have done more harm."""
    verdicts = {str(cell.get("verdict")) for cell in members(entry, cells)}
    if len(verdicts) < 2:
        return next(iter(verdicts), "")
    return "upper_bound" if verdicts & {"upper_bound", "invalid"} else "unresolvable"


def budget(entry: Json) -> str:
    """The name of a worst case: its norm and radius, or that it has none."""
    eps = number(entry.get("eps"))
    if entry.get("norm") == "unbounded" or eps is None:
        return "Worst case, no budget"
    return f"Worst case, {wording.norm_name(entry.get('norm'))} ≤ {wording.radius(eps, entry.get('norm'))}".replace(" ≤ ", f"{wording.SPACE}≤{wording.SPACE}")


def _label(cell: Json) -> str:
    """The label that the engine gives to the attack of a cell, by which a worst case names it."""
    if "label" in cell:
        return str(cell["label"])
    strength = {name: value for name, value in (cell.get("strength") or {}).items() if number(value) is not None}
    return Cell(data="", target="", defense="", attack=cell["attack"], goal="", kind="", strength=strength).label


def _count(value: object) -> str:
    amount = number(value)
    return wording.DASH if amount is None else f"{amount:.0f}"
