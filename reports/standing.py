"""Against what, with which access, and whether anybody tried by hand: the sentence without which no report may speak of robustness."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from redteam.reports import wording, words

MOST = 6  # attacks that the sentence names
UNATTACKED = "No attack was run here: nothing is known about robustness."

Json = Mapping[str, Any]


def standing(cells: Sequence[Json]) -> str:
    """The sentence for the cells of one corpus, target and defense."""
    attacked = [cell for cell in cells if not cell.get("control")]
    if not attacked:
        return UNATTACKED
    names = list(dict.fromkeys(wording.plain(cell["attack"]) for cell in attacked))
    needs = {cell.get("needs") for cell in attacked}
    strongest = next((words.ACCESS[access] for access in words.ACCESS_ORDER if access in needs), "")
    seen = f", the strongest of them by an adversary {strongest}" if strongest else ""
    return f"Robustness is stated here against {wording.counted(len(names), 'attack')} only ({wording.listed(names, MOST)}){seen}. {adaptive(attacked)}"


def adaptive(attacked: Sequence[Json]) -> str:
    """Whether an attack was made for the target by somebody who knows it."""
    supplied = list(dict.fromkeys(wording.plain(cell["attack"]) for cell in attacked if cell.get("adaptive")))
    if supplied:
        return f"Supplied as adaptive, made against this target by hand: {wording.listed(supplied, MOST)}."
    return "No adaptive attack was supplied: each sees the defended target, but none was made against it by hand."


def limit(summary: Json) -> str:
    """The same for a whole report, among what it cannot conclude."""
    attacked = [cell for cell in summary["cells"] if not cell.get("control")]
    if any(cell.get("adaptive") for cell in attacked):
        return "What was supplied as adaptive is what the scenario declares to be: whether it is a good attack cannot be seen from here."
    return "No adaptive attack was supplied beyond the attacks listed here: each sees the defended target, but none was designed against this target by hand."
