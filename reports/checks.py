"""How the evaluation was checked: the sentinels, what each did beside the attack that it checks, and what they cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from redteam.reports import tables, wording
from redteam.reports.wording import counted, number, plain

SHOULD = {  # check: its name, and what it does where the evaluation is sound
    "longer": ("Twice the steps", "breaks no more"),
    "unbounded": ("No budget", "breaks every image"),
    "scores": ("Scores alone, no gradients", "breaks nothing that gradients do not"),
    "draws": ("Noise, drawn again and again", "breaks nothing that gradients do not"),
    "twin": ("Made on the undefended target", "breaks nothing that gradients through the defense do not"),
}
FLAGS = {"longer": ("R8", "R12"), "unbounded": ("R10",), "scores": ("R11",), "draws": ("R11",), "twin": ("R11",)}
NONE = (
    "No sentinel ran: the scenario turned them off, no gradient attack within a budget ran, or the plan was too small to pay for them. "
    "The red flags that look at the cells alone were looked for all the same."
)

Json = Mapping[str, Any]


@dataclass(frozen=True)
class CheckRow:
    """One sentinel.

    should: what it does where nothing is wrong
    fell:   images that it broke, of those on which there was something to win
    beside: the same of the attack that it checks, on the same images
    cost:   gradients and queries
    said:   the flags that speak of it, or that nothing does
    """

    key: str
    name: str
    should: str
    fell: str
    beside: str
    cost: str
    said: str


@dataclass(frozen=True)
class Checks:
    """The sentinels of one corpus, target and defense.

    checked: the attack that they check
    images:  how many they ran on
    """

    data: str
    target: str
    defense: str
    checked: str
    images: str
    rows: tuple[CheckRow, ...]


def checks(summary: Json) -> list[Checks]:
    """A block for each corpus, target and defense that has sentinels, in the order of the summary."""
    placed: dict[tables.Key, list[Json]] = {}
    for entry in summary.get("sentinels") or ():
        placed.setdefault(tables.key_of(entry), []).append(entry)
    return [_block(summary, key, entries) for key, entries in placed.items()]


def cost_in_words(summary: Json) -> str:
    """What all sentinels together cost, beside everything that was asked."""
    spent = summary.get("spent") or {}
    parts = [_share(spent, what, nouns) for what, nouns in (("gradients", "gradients"), ("queries", "queries")) if number(spent.get(f"sentinel_{what}"))]
    return f"Together they cost {' and '.join(parts)} of this run." if parts else ""


def _share(spent: Json, what: str, nouns: str) -> str:
    own, total = int(spent[f"sentinel_{what}"]), int(spent[what])
    return f"{own:,} of {total:,} {nouns} ({wording.percent(own / total)})"


def _block(summary: Json, key: tables.Key, entries: Sequence[Json]) -> Checks:
    checked = next((cell for cell in summary["cells"] if cell.get("key") == entries[0].get("of")), None)
    name = wording.attack_name(checked) if checked else plain(entries[0].get("of_label", ""))
    most = max(int(number(entry.get("n")) or 0) for entry in entries)
    return Checks(*key, name, counted(most, "image"), tuple(_row(entry, checked) for entry in entries))


def _row(entry: Json, checked: Json | None) -> CheckRow:
    name, should = SHOULD.get(str(entry.get("check")), (plain(entry.get("check")), ""))
    tried = int(number(entry.get("tried")) or 0)
    return CheckRow(str(entry.get("key", "")), name, should, _of(entry.get("fell"), tried), _of(entry.get("of_fell"), tried), _cost(entry.get("spent") or {}), _said(entry, checked, tried))


def _of(part: object, whole: int) -> str:
    amount = number(part)
    return wording.DASH if amount is None or not whole else f"{amount:.0f} of {whole}"


def _cost(spent: Json) -> str:
    parts = [f"{int(amount):,} {what}" for what in ("gradients", "queries") if (amount := number(spent.get(what)))]
    return ", ".join(parts) or wording.DASH


def _said(entry: Json, checked: Json | None, tried: int) -> str:
    """What the check came to, and the flag that it raised."""
    if not tried:
        return "nothing to check: no image of the sample could be attacked"
    if broken := [str(flag.get("id")) for flag in entry.get("flags") or ()]:
        return f"the check itself is invalid ({', '.join(broken)})"
    check, beyond = str(entry.get("check")), int(number(entry.get("beyond")) or 0)
    stand = tried - int(number(entry.get("fell")) or 0)
    found = {"unbounded": f"{counted(stand, 'image')} withstood" if stand else "", "longer": f"{counted(beyond, 'image')} more fell" if beyond else ""}
    said = found.get(check, f"{counted(beyond, 'image')} fell that gradients did not break" if beyond else "")
    own = {str(flag.get("id")) for flag in (checked or {}).get("flags") or ()}
    raised = ", ".join(flag for flag in FLAGS.get(check, ()) if flag in own)
    said = f"{said} ({raised})" if said and raised else said or "as it should be"
    return f"{said}; the undefended target itself fell on {_of(entry.get('fooled'), tried)}" if check == "twin" else said
