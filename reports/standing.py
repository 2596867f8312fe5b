"""Against what, with which access, and whether anybody tried by hand: the sentence without which no report may speak of robustness."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from redteam.reports import wording, words

MOST = 6  # attacks that the sentence names
NOT_ADAPTIVE = "No adaptive attack was supplied: each attack sees the defended target, but none was made against it by hand."
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
    seen = f", at most by an adversary {strongest}" if strongest else ""
    return f"All that is said of robustness here is against {wording.counted(len(names), 'attack')} ({wording.listed(names, MOST)}){seen}. {adaptive(attacked)}"


def adaptive(attacked: Sequence[Json]) -> str:
    """Whether an attack was made for the target by somebody who knows it."""
    supplied = list(dict.fromkeys(wording.plain(cell["attack"]) for cell in attacked if cell.get("adaptive")))
    return f"Declared as adaptive, made against this target by hand: {wording.listed(supplied, MOST)}." if supplied else NOT_ADAPTIVE


def limits(summary: Json) -> list[str]:
    """What a report cannot conclude, adaptive attacks among it."""
    declared = any(cell.get("adaptive") for cell in summary["cells"])
    by_hand = "An attack is adaptive where the scenario declares it: whether it is a good one cannot be seen from here." if declared else NOT_ADAPTIVE
    return [words.LIMITS[0], by_hand, *words.LIMITS[1:]]
