"""What a search over chains found: as tensors that are kept, and in plain types for a report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from redteam.attack import State
from redteam.attacks.compositions import Composition, Space
from redteam.attacks.halving import Candidate, Purse
from redteam.attacks.trial import Trial
from redteam.measure.statistics import Unresolvable, clustered_rate

TOLD = 10  # chains that are kept, and the best of single operations where it is not among them
RATES = {"attack_success_rate": 1, "frame_rate": 0}  # metric -> the label that it counts
NOT_TRIED = -1  # on this image


def as_state(tried: Sequence[Candidate], trial: Trial, purse: Purse) -> State:
    """The best chains, the winner first, image by image; and what was spent."""
    alone = next((candidate for candidate in tried if len(candidate.composition) == 1), None)
    best = [*tried[:TOLD], *([alone] if alone is not None and alone not in tried[:TOLD] else [])]
    longest = max(len(candidate.composition) for candidate in best)
    codes = {group: code for code, group in enumerate(dict.fromkeys(trial.groups))}
    return {
        "chains": torch.tensor([[*candidate.composition, *[-1] * (longest - len(candidate.composition))] for candidate in best]),
        "broken": torch.stack([_filled(candidate.all("broken"), len(trial.labels)) for candidate in best]),
        "kept": torch.stack([_filled(candidate.all("kept"), len(trial.labels)) for candidate in best]),
        "labels": torch.tensor(trial.labels),
        "groups": torch.tensor([codes[group] for group in trial.groups]),
        "numbers": torch.tensor([purse.spent, len(tried), trial.asked]),
    }


def compositions(state: State) -> list[Composition]:
    """The chains of a state, the winner first."""
    return [tuple(number for number in row if number >= 0) for row in state["chains"].tolist()]


def told(state: State, space: Space) -> dict[str, Any]:
    """What the search spent, on how many images of each label it looked, and the chains that it found, the winner first, with their harm there."""
    spent, tried, asked = state["numbers"].tolist()
    found = [{"stages": space.told(chain), **_judged(state, i)} for i, chain in enumerate(compositions(state))]
    looked = {name: int((state["labels"] == label).sum()) for name, label in RATES.items()}
    return {"spent": spent, "tried": tried, "possible": space.count, "asked": asked, "images": len(state["labels"]), "looked": looked, "found": found}


def _judged(state: State, row: int) -> dict[str, Any]:
    """One chain: on how many images it was tried, on how many it kept the floor, and the shares that it broke."""
    seen = state["broken"][row] != NOT_TRIED
    metrics, absent = {}, {}
    for name, label in RATES.items():
        at = (seen & (state["labels"] == label)).nonzero().flatten()
        if not len(at):
            absent[name] = "the search looked at no such image"
            continue
        try:
            found = clustered_rate(state["broken"][row][at].double().tolist(), [str(code) for code in state["groups"][at].tolist()])
            metrics[name] = {"value": found.value, "low": found.low, "high": found.high, "n": found.n}
        except Unresolvable as error:
            absent[name] = error.reason
    return {"images": int(seen.sum()), "kept": int(state["kept"][row][seen].sum()), "metrics": metrics, "absent": absent}


def _filled(values: Tensor, length: int) -> Tensor:
    """(n,) bool -> (length,) int8, the rest marked as not tried."""
    return torch.nn.functional.pad(values.to(torch.int8), (0, length - len(values)), value=NOT_TRIED)
