"""The findings in sentences: for each target and defense how robust it is, to what, and how sure that is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from redteam.measure.statistics import FEWEST_GROUPS
from redteam.reports import tables, wording, words
from redteam.reports.directory import RunDirectory
from redteam.reports.tables import Key, value_of
from redteam.reports.wording import counted, number, percent, plain

Json = Mapping[str, Any]
DONE_TO = {"attack_success_rate": "of the caught fakes pass", "frame_rate": "of the rightly cleared real images accused"}


@dataclass(frozen=True)
class Finding:
    """One target behind one defense on one corpus.

    figures:   the few large numbers: (value, interval, what it is)
    sentences: the same and more, in words
    """

    data: str
    target: str
    defense: str
    figures: tuple[tuple[str, str, str], ...]
    sentences: tuple[str, ...]
    reference: bool


def findings(summary: Json) -> list[Finding]:
    """One finding for each corpus, target and defense, in the order of the summary."""
    return [_finding(summary, key, cells) for key, cells in tables.grouped(summary).items()]


def gates_line(gates: Sequence[Json] | None) -> str:
    """What the gates say, in one sentence."""
    if gates is None:
        return "The gates could not be read."
    if not gates:
        return "This scenario has no gates."
    counts = Counter(str(gate.get("verdict")) for gate in gates)
    said = [f"{counts[verdict]} {verdict}" for verdict in words.GATE_VERDICTS if counts[verdict]]
    bad = [plain(gate.get("id")) for gate in gates if gate.get("verdict") != "pass"]
    return f"Gates: {', '.join(said) or 'none decided'}{' (' + wording.listed(bad, 6) + ')' if bad else ''}."


def banners(run: RunDirectory) -> list[tuple[str, str]]:
    """What a reader must know before any figure: (severity, sentence)."""
    found: list[tuple[str, str]] = []
    summary = run.summary
    if not run.complete:
        missing = number(summary.get("missing_units"))
        rest = f": {counted(int(missing), 'unit')} of the plan {'is' if missing == 1 else 'are'} missing" if missing else ""
        found.append(("invalid", f"This run is incomplete{rest}. Its figures may change; resume the run before you quote them."))
    counts = Counter(str(cell.get("verdict")) for cell in summary["cells"])
    total = len(summary["cells"])
    if counts["invalid"]:
        found.append(("invalid", f"{counts['invalid']} of {counted(total, 'cell')} invalid: the evaluation is broken there, and the figures say nothing about robustness."))
    if counts["upper_bound"]:
        found.append(("upper_bound", f"{counts['upper_bound']} of {counted(total, 'cell')} only bound the robustness from above: a better attack would probably do more harm."))
    if counts["unresolvable"]:
        found.append(("unresolvable", f"{counts['unresolvable']} of {counted(total, 'cell')} cannot be resolved: too few independent images for an interval."))
    return found


def _finding(summary: Json, key: Key, cells: list[Json]) -> Finding:
    data, target, defense = key
    worst = [entry for entry in tables.worst_cases(summary, key) if value_of(entry, "attack_success_rate") is not None or value_of(entry, "robust_accuracy") is not None]
    largest = _largest(worst)
    subject = plain(target) if tables.undefended(summary, defense) else f"{plain(target)} behind {plain(defense)}"
    apart = _per_group(summary, data, cells)
    sentences = [_clean(subject, cells), *(_attacked(entry, worst, cells) for entry in largest)]
    if not largest:
        sentences.append(_strongest(cells))
    sentences = [*((apart,) if apart and not largest else (*sentences, apart)), _sure(cells)]
    figures = [_large(tables.identity_of(cells), "robust_accuracy", "accuracy on clean images")]
    for entry in largest:
        if tables.worst_verdict(entry, cells) != "invalid":
            passing = _large(entry, "attack_success_rate", f"of caught fakes pass, {_within(entry)}")
            figures.append(passing or _large(entry, "robust_accuracy", f"accuracy, {_within(entry)}"))
    return Finding(data, target, defense, tuple(f for f in figures if f), tuple(s for s in sentences if s), _is_reference(summary, target))


def _largest(worst: list[Json]) -> list[Json]:
    """The entry of the largest budget of each norm and goal; those without a budget last."""
    return list({(entry.get("norm"), entry.get("goal")): entry for entry in worst}.values())


def _within(entry: Json) -> str:
    eps = number(entry.get("eps"))
    if eps is None or entry.get("norm") == "unbounded":
        return "worst case without a budget"
    return f"worst case, {wording.norm_name(entry.get('norm'))} ≤ {wording.radius(eps, entry.get('norm'))}"


def _large(entry: Json | None, name: str, what: str) -> tuple[str, str, str] | None:
    if entry is None or value_of(entry, name) is None:
        return None
    figure = tables.shown(entry, name, tables.Notes())
    return figure.text, figure.interval, what


def _clean(subject: str, cells: list[Json]) -> str:
    identity = tables.identity_of(cells)
    said = _share(identity, "robust_accuracy")
    if identity is None or not said:
        reason = ((identity or {}).get("absent") or {}).get("robust_accuracy", "the identity cell is missing")
        return f"How {subject} does on clean images is not known: {plain(reason)}."
    value, evidence = said
    return f"{subject} calls {value} of the clean images rightly {evidence}."


def _attacked(entry: Json, worst: list[Json], cells: list[Json]) -> str:
    done = _harm(entry)
    if tables.worst_verdict(entry, cells) == "invalid":
        return f"The {_within(entry)} is invalid, since every attack behind it is: it says nothing about robustness."
    if not done:
        return ""
    who = _adversary(entry, cells)
    said = f"{who} {done}.{_smaller(entry, worst)}{_noise(entry, cells)}"
    return said + (_alone(entry, cells) if entry.get("norm") == "unbounded" else "")


def _harm(entry: Json) -> str:
    """What an adversary achieves: one clause for each direction that was measured."""
    parts = []
    for name, verb in (("attack_success_rate", "makes"), ("frame_rate", "gets")):
        said = _share(entry, name)
        if said:
            parts.append(f"{verb} {said[0]} {DONE_TO[name]} {said[1]}")
    if not parts and (said := _share(entry, "robust_accuracy")):
        parts.append(f"leaves an accuracy of {said[0]} {said[1]}")
    return " and ".join(parts)


def _adversary(entry: Json, cells: list[Json]) -> str:
    eps, norm = number(entry.get("eps")), entry.get("norm")
    if norm == "unbounded" or eps is None:
        return f"An attacker who is bound by no budget and takes for each image the worst of {wording.listed(tables.members_in_words(entry, cells))}"
    access = _access(entry, cells)
    reach = f"change each pixel by up to {wording.radius(eps)}" if norm == "linf" else f"change an image by an {wording.norm_name(norm)} length of {wording.radius(eps, norm)}"
    return f"An attacker {access + ' and ' if access else ''}{'who ' if not access else ''}may {reach}"


def _access(entry: Json, cells: list[Json]) -> str:
    """The strongest access among the attacks of a worst case, as a clause; empty where it is not known."""
    needs = {cell.get("needs") for cell in tables.members(entry, cells)}
    return next((words.ACCESS[access] for access in words.ACCESS_ORDER if access in needs), "")


def _noise(entry: Json, cells: list[Json]) -> str:
    """What noise of the same size does, where that was measured."""
    eps = number(entry.get("eps"))
    arms = [arm for cell in tables.members(entry, cells) if number(cell.get("eps")) == eps and (arm := tables.noise_of(cell, cells))]
    shares = [value for arm in arms if (value := value_of(arm, "attack_success_rate")) is not None]
    if entry.get("norm") == "unbounded" or not shares or value_of(entry, "attack_success_rate") is None:
        return ""
    n = arms[0]["metrics"]["attack_success_rate"].get("n")
    return f" Random noise of {wording.radius(eps or 0.0, entry.get('norm'))} lets {percent(max(shares), number(n))} pass."


def _smaller(entry: Json, worst: list[Json]) -> str:
    """The same at the smallest budget, so that one sees where it begins."""
    same = [other for other in worst if (other.get("norm"), other.get("goal")) == (entry.get("norm"), entry.get("goal")) and other is not entry]
    said = _share(same[0], "attack_success_rate") if same and entry.get("norm") != "unbounded" else None
    return f" At {wording.radius(number(same[0].get('eps')) or 0.0, same[0].get('norm'))}, {said[0]} of the fakes pass." if said else ""


def _alone(entry: Json, cells: list[Json]) -> str:
    """The most harmful single attack of a worst case over several."""
    rated = [cell for cell in tables.members(entry, cells) if value_of(cell, "attack_success_rate") is not None]
    if len(rated) < 2:
        return ""
    top = max(rated, key=lambda cell: value_of(cell, "attack_success_rate") or 0.0)
    value, evidence = _share(top, "attack_success_rate") or ("", "")
    if value == (_share(entry, "attack_success_rate") or ("",))[0]:
        return f" {wording.attack_name(top)} alone does as much."
    return f" The worst single one is {wording.attack_name(top)}: {value} pass {evidence}."


def _strongest(cells: list[Json]) -> str:
    """The most harmful attack, where the summary holds no worst case."""
    rated = [cell for cell in cells if not cell.get("control") and cell.get("verdict") != "invalid" and value_of(cell, "attack_success_rate") is not None]
    if not rated:
        return "No attack has a figure that could be quoted."
    top = max(rated, key=lambda cell: value_of(cell, "attack_success_rate") or 0.0)
    return f"The most harmful attack, {wording.attack_name(top)}, {_harm(top)}."


def _per_group(summary: Json, data: str, cells: list[Json]) -> str:
    """Where figures are given group by group, and why."""
    if not any(cell.get("by_group") for cell in cells):
        return ""
    corpus = next((entry for entry in summary["data"] if entry.get("id") == data), {})
    groups = number(corpus.get("groups"))
    if groups is not None and groups >= FEWEST_GROUPS:
        return f"A figure that would rest on fewer than {FEWEST_GROUPS} groups is left out here and given group by group below."
    few = "too few groups" if groups is None else f"only {counted(int(groups), 'group')}"
    return f"{plain(data)} has {few} for an interval over all of them: each group is reported on its own below, as a check and not as the number."


def _sure(cells: list[Json]) -> str:
    """How far the figures of a block may be trusted, by the verdicts of its attacked cells."""
    verdicts = Counter(str(cell.get("verdict")) for cell in cells if not cell.get("control"))
    total = sum(verdicts.values())
    if not total:
        return "No attack was run."
    others = [f"{verdicts[name]} {words.verdict_word(name)}" for name in verdicts if name != "valid"]
    if not others:
        return f"All {counted(total, 'attacked cell')} passed every check." if total > 1 else "The attacked cell passed every check."
    return f"Of {counted(total, 'attacked cell')}, {verdicts['valid'] or 'none'} valid, {', '.join(others)}."


def _share(entry: Json | None, name: str) -> tuple[str, str] | None:
    """A share and its evidence in brackets; None where it is absent."""
    value = value_of(entry, name)
    if entry is None or value is None:
        return None
    metric = entry["metrics"][name]
    low, high, n = number(metric.get("low")), number(metric.get("high")), number(metric.get("n"))
    parts = []
    if low is not None and high is not None:
        parts.append("95 % interval {} to {} %".format(*wording.percent_bounds(low, high, n)).replace(" %", f"{wording.SPACE}%"))
    if n is not None:
        parts.append(f"n = {n:.0f}".replace(" ", wording.SPACE))
    return percent(value, n), f"({', '.join(parts) or 'no interval'})"


def _is_reference(summary: Json, target: str) -> bool:
    return any(entry.get("id") == target and entry.get("reference") for entry in summary["targets"])
