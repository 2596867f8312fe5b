"""What YAML itself allows and a scenario does not, and YAML that is broken: the full text of each error."""

from __future__ import annotations

from collections.abc import Callable

import pytest

CASES = [
    (
        "a tab cannot indent",
        "  - {id: mine, kind: linear}",
        "\t- {id: mine, kind: linear}",
        r"""faces.yaml:6:1: RT123 not valid YAML: found character '\t' that cannot start any token; indent with spaces
     6 |  - {id: mine, kind: linear}
       | ^
""",
    ),
    (
        "a bracket stays open",
        "{kind: shelf}",
        "{kind: shelf",
        """\
faces.yaml:5:8: RT123 not valid YAML: expected ',' or '}', but got ':'; separate values by commas, and close the bracket
     5 | targets:
       |        ^
""",
    ),
    (
        "an unquoted requirement that starts with > is a block text to YAML",
        "",
        "gates:\n  - id: g\n    metric: auc\n    require: >= 0.5\n",
        """\
faces.yaml:13:15: RT123 not valid YAML: expected chomping or indentation indicators, but found '='; a text that starts with > or | must be quoted
    13 |     require: >= 0.5
       |               ^
""",
    ),
    (
        "two documents",
        "",
        "---\nschema: redteam/v1\n",
        """\
faces.yaml:10:1: RT124 a scenario must be one YAML document, got a second one; delete the line '---' and what follows
    10 | ---
       | ^
""",
    ),
    (
        "a duplicate key",
        "name: faces\n",
        "name: faces\nname: other\n",
        """\
faces.yaml:3:1: RT129 duplicate key 'name' (first at line 2); delete one of the two
     3 | name: other
       | ^~~~
""",
    ),
    (
        "a duplicate key in a flow mapping",
        "eps: 4/255",
        "eps: 4/255, eps: 8/255",
        """\
faces.yaml:8:38: RT129 attacks.0: duplicate key 'eps' (first at line 8); delete one of the two
     8 |   - {id: pgd, kind: pgd, eps: 4/255, eps: 8/255}
       |                                      ^~~
""",
    ),
    (
        "an anchor and its alias",
        "  - {id: jpeg, kind: jpeg}",
        "  - &a {id: jpeg, kind: jpeg}\n  - *a",
        """\
faces.yaml:9:5: RT126 attacks.1: an anchor is not allowed, got '&a'; delete it and write the value out where it is needed
     9 |   - &a {id: jpeg, kind: jpeg}
       |     ^
faces.yaml:10:5: RT126 attacks.2: an alias is not allowed, got '*a'; write the value out
    10 |   - *a
       |     ^~
""",
    ),
    (
        "a merge key",
        "{id: jpeg, kind: jpeg}",
        "{id: jpeg, <<: {kind: jpeg}}",
        """\
faces.yaml:9:16: RT127 attacks.1: a merge key '<<' is not allowed; write the keys out
     9 |   - {id: jpeg, <<: {kind: jpeg}}
       |                ^~
""",
    ),
    (
        "a tag that would run code",
        "eps: 4/255",
        "eps: !!python/object/apply:os.system ['rm -rf /']",
        """\
faces.yaml:8:31: RT128 attacks.0.pgd.eps: a tag is not allowed, got '!!python/object/apply:os.system'; YAML in a scenario holds no code: delete it
     8 |   - {id: pgd, kind: pgd, eps: !!python/object/apply:os.system ['rm -rf /']}
       |                               ^
""",
    ),
    (
        "a harmless tag",
        "name: faces",
        "name: !!str faces",
        """\
faces.yaml:2:7: RT128 name: a tag is not allowed, got '!!str'; delete it, and quote the value if it is text
     2 | name: !!str faces
       |       ^~~~~~~~~~~
""",
    ),
    (
        "a tag of a stranger",
        "kind: shelf",
        "kind: !shelf shelf",
        """\
faces.yaml:4:16: RT128 data.eval.kind: a tag is not allowed, got '!shelf'; delete it, and quote the value if it is text
     4 |   eval: {kind: !shelf shelf}
       |                ^~~~~~~~~~~~
""",
    ),
    (
        "a number as a key",
        "eps: 4/255",
        "8: 4/255",
        """\
faces.yaml:8:26: RT130 attacks.0: a key must be text, got 8; quote it
     8 |   - {id: pgd, kind: pgd, 8: 4/255}
       |                          ^
""",
    ),
    (
        "a list as a key",
        "name: faces\n",
        "name: faces\n? [a, b]\n: c\n",
        """\
faces.yaml:3:3: RT130 a key must be text, got a list or a mapping; quote texts that start with [ or {
     3 | ? [a, b]
       |   ^
""",
    ),
    (
        "an integer with a leading zero",
        "name: faces\n",
        "name: faces\nseed: 010\n",
        """\
faces.yaml:3:7: RT131 seed: an integer must not start with 0, got 010; write 10, or quote it if it is text
     3 | seed: 010
       |       ^~~
""",
    ),
    (
        "a hexadecimal integer",
        "name: faces\n",
        "name: faces\nseed: 0x1F\n",
        """\
faces.yaml:3:7: RT131 seed: a number must be decimal, got 0x1F; write 31, or quote it if it is text
     3 | seed: 0x1F
       |       ^~~~
""",
    ),
    (
        "an octal integer",
        "name: faces\n",
        "name: faces\nseed: 0o17\n",
        """\
faces.yaml:3:7: RT131 seed: a number must be decimal, got 0o17; write 15, or quote it if it is text
     3 | seed: 0o17
       |       ^~~~
""",
    ),
    (
        "infinity",
        "eps: 4/255",
        "eps: .inf",
        """\
faces.yaml:8:31: RT132 attacks.0.pgd.eps: a number must be finite, got .inf; write a number, or quote it if it is text
     8 |   - {id: pgd, kind: pgd, eps: .inf}
       |                               ^~~~
""",
    ),
    (
        "not a number",
        "eps: 4/255",
        "eps: .nan",
        """\
faces.yaml:8:31: RT132 attacks.0.pgd.eps: a number must be finite, got .nan; write a number, or quote it if it is text
     8 |   - {id: pgd, kind: pgd, eps: .nan}
       |                               ^~~~
""",
    ),
    (
        "a number beyond floating point",
        "eps: 4/255",
        "eps: 1e999",
        """\
faces.yaml:8:31: RT132 attacks.0.pgd.eps: a number must be finite, got 1e999; write a smaller one, or quote it if it is text
     8 |   - {id: pgd, kind: pgd, eps: 1e999}
       |                               ^~~~~
""",
    ),
    (
        "an integer beyond 64 bits",
        "name: faces\n",
        "name: faces\nseed: 123456789012345678901234567890\n",
        """\
faces.yaml:3:7: RT132 seed: an integer must have at most 19 digits, got 30; quote it if it is text
     3 | seed: 123456789012345678901234567890
       |       ^~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
""",
    ),
    (
        "a ratio over zero",
        "eps: 4/255",
        "eps: 4/0",
        """\
faces.yaml:8:31: RT132 attacks.0.pgd.eps: a ratio must not divide by 0, got 4/0; quote it if it is text
     8 |   - {id: pgd, kind: pgd, eps: 4/0}
       |                               ^~~
""",
    ),
    (
        "a control character",
        "name: faces",
        "name: fa\x1b[31mces",
        """\
faces.yaml:2:9: RT123 a control character U+001B is not allowed; delete it
     2 | name: fa [31mces
       |         ^
""",
    ),
    (
        "half of a surrogate pair",
        "name: faces",
        'name: "fa\\ud800ces"',
        r"""faces.yaml:2:7: RT123 name: a text must be valid Unicode, got half of a surrogate pair; write the character itself
     2 | name: "fa\ud800ces"
       |       ^~~~~~~~~~~~~
""",
    ),
    (
        "one level too many",
        "kind: shelf",
        "kind: [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
        """\
faces.yaml:4:64: RT125 a scenario must nest at most 50 levels; flatten it
     4 |   eval: {kind: [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[}
       |                                                                ^
""",
    ),
]


@pytest.mark.parametrize(("old", "new", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_the_error_says_where_and_what_and_how_to_repair_it(old: str | None, new: str, expected: str, base: str, complaints: Callable[[str], str]) -> None:
    text = new if old is None else base.replace(old, new) if old else base + new
    assert complaints(text) + "\n" == expected
