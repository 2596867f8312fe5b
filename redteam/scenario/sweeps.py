"""`{sweep: [v1, v2]}` as the value of an attack's parameter: one variant for each value, in written order."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any

from redteam.scenario.components import Placed
from redteam.scenario.reading import Reading
from redteam.scenario.scalars import plain, shown

MOST = 1000  # variants of one attack; more is a slip


@dataclass(frozen=True)
class Choice:
    """One way to choose: every parameter with one value, and which of them were swept."""

    params: dict[str, Placed]
    swept: tuple[str, ...]


def choices(reading: Reading, params: dict[str, Placed]) -> list[Choice]:
    """The product of all sweeps, the last one turning fastest; nothing where a sweep is malformed, which is noted."""
    swept = {name: _values(reading, param) for name, param in params.items() if _is_sweep(param.value)}
    if any(values is None for values in swept.values()):
        return []
    if (total := math.prod(map(len, swept.values()))) > MOST:
        first = params[next(iter(swept))].path
        reading.error("RT204", first[:2], f"sweeps must multiply to at most {MOST} variants, got {total}; split the attack or sweep less")
        return []
    return [Choice(params | dict(zip(swept, combination, strict=True)), tuple(swept)) for combination in itertools.product(*swept.values())]


def swept_numbers(component: Any, choice: Choice) -> dict[str, float]:
    """The swept parameters that are numbers, as the component has them."""
    values = {name: getattr(component, name) for name in choice.swept}
    return {name: value for name, value in values.items() if isinstance(value, (int, float)) and not isinstance(value, bool)}


def _is_sweep(value: Any) -> bool:
    return isinstance(value, dict) and "sweep" in value


def _values(reading: Reading, param: Placed) -> list[Placed] | None:
    path, sweep = (*param.path, "sweep"), param.value["sweep"]
    if len(param.value) > 1:
        reading.error("RT201", param.path, f"a sweep must stand alone, got {shown(next(k for k in param.value if k != 'sweep'))} beside it; write {{sweep: [...]}}")
        return None
    if not isinstance(sweep, list) or not sweep:
        reading.error("RT201", path, f"a sweep must be a list of at least one value, got {shown(sweep)}; write {{sweep: [1, 2]}}")
        return None
    repeated = [(i, first) for i, value in enumerate(sweep) if (first := [_comparable(v) for v in sweep].index(_comparable(value))) < i]
    for i, first in repeated:
        reading.error("RT202", (*path, i), f"a sweep must not have a value twice, got {shown(sweep[i])} as number {first + 1} and number {i + 1}; delete one")
    return None if repeated else [Placed(value, (*path, i)) for i, value in enumerate(sweep)]


def _comparable(value: Any) -> Any:
    """1/255 and '1/255' are one value; 1 and true are two."""
    if isinstance(value, str):
        try:
            value = plain(value)
        except ValueError:
            return value
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else (type(value).__name__, repr(value))
