"""Red flags of a whole run, each once, with the cells that it was raised in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from redteam.reports import wording, words

RANK = ("invalid", "upper_bound", "note")

Json = Mapping[str, Any]


@dataclass(frozen=True)
class Flag:
    """One red flag.

    severity: the gravest in which it was raised
    findings: (what was found, the cells where), in the order of the summary
    """

    id: str
    title: str
    severity: str
    cells: int
    findings: tuple[tuple[str, tuple[str, ...]], ...]


def flags(summary: Json) -> list[Flag]:
    """The flags of all cells, the gravest first."""
    raised: dict[str, list[tuple[Json, Json]]] = {}
    for cell in summary["cells"]:
        for flag in cell.get("flags") or ():
            raised.setdefault(str(flag.get("id")), []).append((flag, cell))
    found = [_flag(name, pairs) for name, pairs in raised.items()]
    return sorted(found, key=lambda flag: (_rank(flag.severity), _order(flag.id)))


def _flag(name: str, pairs: list[tuple[Json, Json]]) -> Flag:
    findings: dict[str, list[str]] = {}
    for flag, cell in pairs:
        findings.setdefault(wording.plain(flag.get("detail", "")), []).append(wording.cell_name(cell))
    severity = min((str(flag.get("severity")) for flag, _ in pairs), key=_rank)
    return Flag(name, words.flag_title(name), severity, len(pairs), tuple((detail, tuple(dict.fromkeys(cells))) for detail, cells in findings.items()))


def _rank(severity: str) -> int:
    return RANK.index(severity) if severity in RANK else len(RANK)


def _order(name: str) -> tuple[int, str]:
    digits = name[1:] if name[:1] == "R" and name[1:].isdecimal() else ""
    return (int(digits) if digits else 1_000, name)
