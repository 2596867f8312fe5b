"""Values that YAML 1.1 turns into something else: here they are what they look like, and a wrong type says how to write it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

CASES = [
    (
        "yes is text, not true",
        "kind: linear",
        "kind: linear, mirror: yes",
        """\
faces.yaml:6:38: RT103 targets.0.mine.mirror: must be true or false, got 'yes'; write true
     6 |   - {id: mine, kind: linear, mirror: yes}
       |                                      ^~~
       = redteam show target/linear
""",
    ),
    (
        "off is text, not false",
        "kind: linear",
        "kind: linear, mirror: off",
        """\
faces.yaml:6:38: RT103 targets.0.mine.mirror: must be true or false, got 'off'; write false
     6 |   - {id: mine, kind: linear, mirror: off}
       |                                      ^~~
       = redteam show target/linear
""",
    ),
    (
        "1 is no truth value",
        "kind: linear",
        "kind: linear, mirror: 1",
        """\
faces.yaml:6:38: RT103 targets.0.mine.mirror: must be true or false, got 1; write true
     6 |   - {id: mine, kind: linear, mirror: 1}
       |                                      ^
       = redteam show target/linear
""",
    ),
    (
        "12:30 is text, not 750",
        "kind: linear",
        "kind: linear, size: 12:30",
        """\
faces.yaml:6:36: RT103 targets.0.mine.size: must be an integer, got '12:30'
     6 |   - {id: mine, kind: linear, size: 12:30}
       |                                    ^~~~~
       = redteam show target/linear
""",
    ),
    (
        "a date is text",
        "name: faces\n",
        "name: faces\nseed: 2026-11-20\n",
        """\
faces.yaml:3:7: RT103 seed: must be an integer, got '2026-11-20'
     3 | seed: 2026-11-20
       |       ^~~~~~~~~~
""",
    ),
    (
        "1_000 is text, not 1000",
        "name: faces\n",
        "name: faces\nseed: 1_000\n",
        """\
faces.yaml:3:7: RT103 seed: must be an integer, got '1_000'; write 1000
     3 | seed: 1_000
       |       ^~~~~
""",
    ),
    (
        "a quoted number is text",
        "kind: linear",
        "kind: linear, size: '8'",
        """\
faces.yaml:6:36: RT103 targets.0.mine.size: must be an integer, got '8'; write 8 without quotes
     6 |   - {id: mine, kind: linear, size: '8'}
       |                                    ^~~
       = redteam show target/linear
""",
    ),
    (
        "a float is no integer",
        "name: faces\n",
        "name: faces\nseed: 1e3\n",
        """\
faces.yaml:3:7: RT103 seed: must be an integer, got 1e3; write 1000
     3 | seed: 1e3
       |       ^~~
""",
    ),
    (
        "true is no number",
        "eps: 4/255",
        "eps: true",
        """\
faces.yaml:8:31: RT103 attacks.0.pgd.eps: must be a number, got true
     8 |   - {id: pgd, kind: pgd, eps: true}
       |                               ^~~~
       = redteam show attack/pgd
""",
    ),
    (
        "a number is no text",
        "kind: linear",
        "kind: linear, note: 1.10",
        """\
faces.yaml:6:36: RT103 targets.0.mine.note: must be text, got 1.10; quote it
     6 |   - {id: mine, kind: linear, note: 1.10}
       |                                    ^~~~
       = redteam show target/linear
""",
    ),
    (
        "an id that is a number",
        "id: jpeg,",
        "id: 12e4,",
        """\
faces.yaml:9:10: RT106 attacks.1.id: an id must be text, got 12e4; quote it
     9 |   - {id: 12e4, kind: jpeg}
       |          ^~~~
""",
    ),
    (
        "a key without a value",
        "eps: 4/255",
        "eps: ",
        """\
faces.yaml:8:30: RT103 attacks.0.pgd.eps: must be a number, got nothing
     8 |   - {id: pgd, kind: pgd, eps: }
       |                              ^
       = redteam show attack/pgd
""",
    ),
]


@pytest.mark.parametrize(("old", "new", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_the_error_says_where_and_what_and_how_to_repair_it(old: str | None, new: str, expected: str, base: str, complaints: Callable[[str], str]) -> None:
    text = new if old is None else base.replace(old, new) if old else base + new
    assert complaints(text) + "\n" == expected
