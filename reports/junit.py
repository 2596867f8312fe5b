"""junit.xml: one test case for each gate, so that a CI server shows gates as tests."""

from __future__ import annotations

import unicodedata
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path

from redteam.reports.directory import RunDirectory, read_run
from redteam.reports.gates import GateRow, gate_rows
from redteam.reports.wording import plain

OUTCOMES = {"pass": "", "fail": "failure", "inconclusive": "skipped"}  # anything else is an error


def render_junit(run_dir: Path) -> str:
    """The gates of a run directory as one test suite."""
    return suites(read_run(run_dir))


def suites(run: RunDirectory) -> str:
    """fail -> failure, inconclusive -> skipped with its reason, invalid -> error. Gates that cannot be read are an error too."""
    unreadable = [GateRow("gates", "gates.json can be read", "", "invalid", "gates.json is missing or broken, so that no gate was judged", ())]
    rows = unreadable if run.gates is None else gate_rows(run.gates, run.summary)
    root = ET.Element("testsuites")
    root.append(_suite(str(run.summary["scenario"]), rows))
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _suite(scenario: str, rows: Sequence[GateRow]) -> ET.Element:
    outcomes = [_outcome(row) for row in rows]
    counts = {"tests": len(rows), "failures": outcomes.count("failure"), "errors": outcomes.count("error"), "skipped": outcomes.count("skipped")}
    suite = ET.Element("testsuite", {"name": _legal(scenario), **{name: str(count) for name, count in counts.items()}})
    for row, outcome in zip(rows, outcomes, strict=True):
        case = ET.SubElement(suite, "testcase", {"classname": f"redteam.gates.{_legal(scenario)}", "name": _legal(row.id)})
        if outcome:
            message = row.detail or f"the gate is {row.verdict}"
            verdict = ET.SubElement(case, outcome, {"message": _legal(message), **({} if outcome == "skipped" else {"type": _legal(row.verdict)})})
            verdict.text = _legal(_body(row))
    return suite


def _outcome(row: GateRow) -> str:
    return OUTCOMES.get(row.verdict, "error")


def _body(row: GateRow) -> str:
    """What the gate demands, and each of its cells."""
    return "\n".join([f"{row.demand}; where {row.where or 'anywhere'}", *(f"{label}: {figure} ({verdict}) {detail}".rstrip() for label, figure, verdict, detail in row.cells)])


def _legal(text: str) -> str:
    """Text without the characters that XML 1.0 forbids even when escaped."""
    lines = (plain(line) for line in text.split("\n"))
    return "\n".join("".join(char for char in line if unicodedata.category(char) != "Cn" and char not in "\ufffe\uffff") for line in lines)
