"""Gates: a requirement on a figure, judged pass, fail, inconclusive or invalid; a gate passes only if every cell that it selects does."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from redteam.record import Cell
from redteam.run.errors import Exit
from redteam.scenario.gates import strength_matches
from redteam.scenario.model import Gate
from redteam.scenario.plan import Plan

COMPARE: dict[str, Callable[[float, float], bool]] = {"<=": operator.le, "<": operator.lt, ">=": operator.ge, ">": operator.gt}
BOUND = {"value": "value", "ci_lower": "low", "ci_upper": "high"}
OTHER = {"ci_lower": "high", "ci_upper": "low"}
WORST_FIRST = ("fail", "invalid", "inconclusive", "pass")


def judge(plan: Plan, summary: dict[str, Any]) -> list[dict[str, Any]]:
    """Every gate of the scenario against the summary's cells."""
    planned = {item.cell.key: item.cell for item in plan.cells}
    return [_gate(gate, [cell for cell in summary["cells"] if strength_matches(gate.where, planned[cell["key"]])]) for gate in plan.scenario.gates]


def _gate(gate: Gate, cells: list[dict[str, Any]]) -> dict[str, Any]:
    sign, limit = gate.require
    judged = [_judge(gate, cell) for cell in cells]
    verdict = next((word for word in WORST_FIRST if any(cell["verdict"] == word for cell in judged)), "inconclusive")
    counted = ", ".join(f"{sum(cell['verdict'] == word for cell in judged)} {word}" for word in WORST_FIRST if any(cell["verdict"] == word for cell in judged))
    detail = f"{gate.metric} {sign} {limit:g} on {gate.on}: {counted or 'selects no cell of this run (was --only given?)'}"
    return {"id": gate.id, "metric": gate.metric, "where": gate.where, "require": f"{sign} {limit:g}", "on": gate.on, "min_n": gate.min_n, "verdict": verdict, "detail": detail, "cells": judged}


def _judge(gate: Gate, cell: dict[str, Any]) -> dict[str, Any]:
    figure = cell["metrics"].get(gate.metric)
    verdict, detail = _verdict(gate, cell, figure)
    shown = figure or {"value": None, "low": None, "high": None, "n": 0}
    return {"key": cell["key"], "label": f"{cell['data']} {cell['target']} {cell['defense']}: {cell['label']}", **shown, "verdict": verdict, "detail": detail}


def _verdict(gate: Gate, cell: dict[str, Any], figure: dict[str, Any] | None) -> tuple[str, str]:
    sign, limit = gate.require
    if cell["verdict"] == "invalid":
        return "invalid", "the cell is invalid: " + "; ".join(flag["id"] for flag in cell["flags"] if flag["severity"] == "invalid")
    if cell["missing"]:
        return "inconclusive", f"{cell['missing']} images of the cell are missing; resume the run"
    if figure is None:
        return "inconclusive", cell["absent"].get(gate.metric, "there is no such figure in this cell")
    if figure["n"] < gate.min_n:
        return "inconclusive", f"n = {figure['n']}, the gate asks for {gate.min_n}"
    if gate.metric == "fpr" and sign in ("<", "<=") and figure["n"] * limit < 3:
        return "inconclusive", f"a false-positive rate of {limit:g} is not resolvable from {figure['n']} images of label 0"
    holds = COMPARE[sign]
    if holds(figure[BOUND[gate.on]], limit):
        weak = cell["verdict"] == "upper_bound"
        return ("inconclusive", "it holds, but the cell is an upper bound: the target may be weaker than it looks") if weak else ("pass", "it holds")
    if gate.on != "value" and holds(figure[OTHER[gate.on]], limit):
        return "inconclusive", "the interval straddles the limit; more images would tell"
    return "fail", "it does not hold"


def exit_code(gates: list[dict[str, Any]]) -> Exit:
    """0 when all pass, 3 when one failed, 7 when none failed but one could not be judged."""
    verdicts = {gate["verdict"] for gate in gates}
    if "fail" in verdicts:
        return Exit.GATE_FAILED
    return Exit.INCONCLUSIVE if verdicts - {"pass"} else Exit.COMPLETE
