"""How problems look to a person and to a program."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import redteam.scenario
from redteam.scenario.errors import CODES, Mark, Problem, ScenarioError

PROBLEM = Problem("RT102", "attacks.2.pgd", Mark(14, 7, 7), "unknown key 'epsilon'; did you mean 'eps'?", "redteam show attack/pgd", file="faces.yaml", source="      epsilon: 8/255")


def test_a_problem_shows_the_line_a_caret_and_where_to_read_on() -> None:
    assert str(PROBLEM) == (
        "faces.yaml:14:7: RT102 attacks.2.pgd: unknown key 'epsilon'; did you mean 'eps'?\n"
        "    14 |       epsilon: 8/255\n"
        "       |       ^~~~~~~\n"
        "       = redteam show attack/pgd"
    )


def test_a_warning_says_that_it_is_one() -> None:
    assert str(replace(PROBLEM, severity="warning")).startswith("faces.yaml:14:7: warning RT102 attacks.2.pgd: ")


def test_a_long_line_is_cut_around_the_caret() -> None:
    long = replace(PROBLEM, source="x" * 300 + "epsilon" + "y" * 300, mark=Mark(14, 301, 7))
    line, caret = str(long).split("\n")[1:3]
    assert max(len(line), len(caret)) <= 120 and line[caret.index("^") :].startswith("epsilony") and line.endswith("...") and "| ..." in line


def test_control_characters_of_the_file_do_not_reach_the_terminal() -> None:
    assert str(replace(PROBLEM, source="a\x1b[31m\tb")).split("\n")[1] == "    14 | a [31m b"


def test_problems_are_sorted_by_line() -> None:
    error = ScenarioError([PROBLEM, replace(PROBLEM, mark=Mark(3, 9)), replace(PROBLEM, mark=None), replace(PROBLEM, mark=Mark(3, 2))])
    assert [problem.mark and (problem.mark.line, problem.mark.column) for problem in error.problems] == [None, (3, 2), (3, 9), (14, 7)]


def test_a_program_reads_the_same_as_strict_json() -> None:
    assert json.loads(ScenarioError([PROBLEM]).to_json()) == {
        "schema": "redteam.problems/1",
        "problems": [
            {
                "code": "RT102", "severity": "error", "file": "faces.yaml", "line": 14, "column": 7, "path": "attacks.2.pgd",
                "message": "unknown key 'epsilon'; did you mean 'eps'?", "hint": "redteam show attack/pgd",
            }
        ],
    }  # fmt: skip


def test_every_code_that_is_used_is_documented_and_every_documented_one_used() -> None:
    folder = Path(redteam.scenario.__file__).parent
    sources = [path.read_text() for path in (*folder.glob("*.py"), folder.parent / "validity" / "readiness.py") if path.name != "errors.py"]
    assert set(re.findall(r'"(RT\d{3})"', "".join(sources))) == set(CODES)


def test_all_errors_come_in_one_pass_in_the_order_of_the_file(complaints: Callable[[str], str], base: str) -> None:
    text = base.replace("name: faces", "name: my faces").replace("eps: 4/255", "epsilon: 010").replace("kind: jpeg", "kind: jpeg, quality: 0").replace("{kind: shelf}", "{kind: shelf, lens: &a {size: big}}")
    lines = [line for line in complaints(text).split("\n") if line.startswith("faces.yaml")]
    assert [line.split(" ")[1] for line in lines] == ["RT106", "RT126", "RT103", "RT102", "RT131", "RT104"]
    assert [int(line.split(":")[1]) for line in lines] == [2, 4, 4, 8, 8, 9]


def test_a_value_that_yaml_refuses_is_not_complained_about_twice(complaints: Callable[[str], str], base: str) -> None:
    assert complaints(base.replace("eps: 4/255", "eps: .nan")).count("faces.yaml:") == 1
