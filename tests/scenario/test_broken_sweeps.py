"""Sweeps and chains that cannot be read: the full text of each error."""

from __future__ import annotations

from collections.abc import Callable

import pytest

CASES = [
    (
        "a sweep value out of range",
        "eps: 4/255",
        "eps: {sweep: [1/255, -2/255, -1]}",
        """\
faces.yaml:8:47: RT103 attacks.0.pgd.eps.sweep.1: must be a number, got '-2/255'
     8 |   - {id: pgd, kind: pgd, eps: {sweep: [1/255, -2/255, -1]}}
       |                                               ^~~~~~
       = redteam show attack/pgd
faces.yaml:8:55: RT104 attacks.0.pgd.eps.sweep.2: must lie in [0, inf), got -1
     8 |   - {id: pgd, kind: pgd, eps: {sweep: [1/255, -2/255, -1]}}
       |                                                       ^~
       = redteam show attack/pgd
""",
    ),
    (
        "an empty sweep",
        "eps: 4/255",
        "eps: {sweep: []}",
        """\
faces.yaml:8:39: RT201 attacks.0.pgd.eps.sweep: a sweep must be a list of at least one value, got an empty list; write {sweep: [1, 2]}
     8 |   - {id: pgd, kind: pgd, eps: {sweep: []}}
       |                                       ^
""",
    ),
    (
        "a sweep of one number",
        "eps: 4/255",
        "eps: {sweep: 4/255}",
        """\
faces.yaml:8:39: RT201 attacks.0.pgd.eps.sweep: a sweep must be a list of at least one value, got 4/255; write {sweep: [1, 2]}
     8 |   - {id: pgd, kind: pgd, eps: {sweep: 4/255}}
       |                                       ^~~~~
""",
    ),
    (
        "a sweep with one value twice",
        "eps: 4/255",
        "eps: {sweep: [1/255, 2/255, '1/255']}",
        """\
faces.yaml:8:54: RT202 attacks.0.pgd.eps.sweep.2: a sweep must not have a value twice, got '1/255' as number 1 and number 3; delete one
     8 |   - {id: pgd, kind: pgd, eps: {sweep: [1/255, 2/255, '1/255']}}
       |                                                      ^~~~~~~
""",
    ),
    (
        "a sweep with a key beside it",
        "eps: 4/255",
        "eps: {sweep: [1/255], log: true}",
        """\
faces.yaml:8:31: RT201 attacks.0.pgd.eps: a sweep must stand alone, got 'log' beside it; write {sweep: [...]}
     8 |   - {id: pgd, kind: pgd, eps: {sweep: [1/255], log: true}}
       |                               ^
""",
    ),
    (
        "a sweep in a defense",
        "attacks:",
        "defenses:\n  - {id: d, kind: jpeg, quality: {sweep: [75, 80]}}\nattacks:",
        """\
faces.yaml:8:34: RT203 defenses.0.d.quality: a sweep must be the whole value of one parameter of an attack; write one value here, or several entries
     8 |   - {id: d, kind: jpeg, quality: {sweep: [75, 80]}}
       |                                  ^
       = redteam show defense/jpeg
""",
    ),
    (
        "a sweep in data",
        "kind: shelf",
        "kind: shelf, lens: {sweep: [1, 2]}",
        """\
faces.yaml:4:29: RT203 data.eval.lens: a sweep must be the whole value of one parameter of an attack; write one value here, or several entries
     4 |   eval: {kind: shelf, lens: {sweep: [1, 2]}}
       |                             ^
       = redteam show data/shelf
""",
    ),
    (
        "a chain as a kind",
        "{id: jpeg, kind: jpeg}",
        "{id: both, kind: chain}",
        """\
faces.yaml:9:22: RT211 attacks.1.both.kind: a chain is not written as a kind; write {id: ..., chain: [{ref: pgd}, {kind: jpeg, quality: 85}]}
     9 |   - {id: both, kind: chain}
       |                      ^~~~~
""",
    ),
    (
        "a chain without stages",
        "{id: jpeg, kind: jpeg}",
        "{id: both, chain: []}",
        """\
faces.yaml:9:23: RT211 attacks.1.both.chain: a chain must have at least one stage, got an empty list; write {ref: pgd} or {kind: jpeg, quality: 85}
     9 |   - {id: both, chain: []}
       |                       ^
""",
    ),
    (
        "a stage that is only a name",
        "{id: jpeg, kind: jpeg}",
        "{id: both, chain: [pgd]}",
        """\
faces.yaml:9:24: RT211 attacks.1.both.chain.0: a stage must be a mapping, got 'pgd'; write {ref: pgd} or {kind: jpeg, quality: 85}
     9 |   - {id: both, chain: [pgd]}
       |                        ^~~
""",
    ),
    (
        "a stage of nothing",
        "{id: jpeg, kind: jpeg}",
        "{id: both, chain: [{eps: 4/255}]}",
        """\
faces.yaml:9:24: RT211 attacks.1.both.chain.0: a stage must have one of ref and kind, got neither; write {ref: pgd} or {kind: jpeg, quality: 85}
     9 |   - {id: both, chain: [{eps: 4/255}]}
       |                        ^
""",
    ),
    (
        "a stage that does not exist",
        "{id: jpeg, kind: jpeg}",
        "{id: both, chain: [{ref: pdg}]}",
        """\
faces.yaml:9:30: RT213 attacks.1.both.chain.0.ref: no attack 'pdg'; did you mean 'pgd'?
     9 |   - {id: both, chain: [{ref: pdg}]}
       |                              ^~~
""",
    ),
    (
        "a stage that is a chain",
        "{id: jpeg, kind: jpeg}",
        "{id: both, chain: [{ref: pgd}, {ref: both}]}",
        """\
faces.yaml:9:42: RT212 attacks.1.both.chain.1.ref: a stage must not be another chain, got 'both'; write its stages here
     9 |   - {id: both, chain: [{ref: pgd}, {ref: both}]}
       |                                          ^~~~
""",
    ),
    (
        "a stage that holds a chain",
        "{id: jpeg, kind: jpeg}",
        "{id: both, chain: [{chain: [{ref: pgd}]}]}",
        """\
faces.yaml:9:24: RT212 attacks.1.both.chain.0: a stage must not be another chain; write its stages here
     9 |   - {id: both, chain: [{chain: [{ref: pgd}]}]}
       |                        ^
""",
    ),
    (
        "a stage with a goal",
        "{id: jpeg, kind: jpeg}",
        "{id: both, chain: [{ref: pgd, goal: evade}]}",
        """\
faces.yaml:9:35: RT211 attacks.1.both.chain.0: a stage has no goal of its own; write goal beside chain
     9 |   - {id: both, chain: [{ref: pgd, goal: evade}]}
       |                                   ^~~~
""",
    ),
    (
        "a stage with a wrong value",
        "{id: jpeg, kind: jpeg}",
        "{id: both, chain: [{ref: pgd, eps: -1}, {kind: jpeg, quality: 0}]}",
        """\
faces.yaml:9:40: RT104 attacks.1.both.chain.0.eps: must lie in [0, inf), got -1
     9 |   - {id: both, chain: [{ref: pgd, eps: -1}, {kind: jpeg, quality: 0}]}
       |                                        ^~
       = redteam show attack/pgd
faces.yaml:9:67: RT104 attacks.1.both.chain.1.quality: must lie in [1, 100], got 0
     9 |   - {id: both, chain: [{ref: pgd, eps: -1}, {kind: jpeg, quality: 0}]}
       |                                                                   ^
       = redteam show attack/jpeg
""",
    ),
    (
        "a stage with an unknown key",
        "{id: jpeg, kind: jpeg}",
        "{id: both, chain: [{ref: pgd, stepz: 3}]}",
        """\
faces.yaml:9:35: RT102 attacks.1.both.chain.0: unknown key 'stepz'; did you mean 'steps'?
     9 |   - {id: both, chain: [{ref: pgd, stepz: 3}]}
       |                                   ^~~~~
       = redteam show attack/pgd
""",
    ),
    (
        "a chain with an unknown key",
        "{id: jpeg, kind: jpeg}",
        "{id: both, chain: [{ref: pgd}], eps: 3}",
        """\
faces.yaml:9:37: RT102 attacks.1.both: unknown key 'eps'; a chain takes id, chain, goal, and its stages take the rest
     9 |   - {id: both, chain: [{ref: pgd}], eps: 3}
       |                                     ^~~
""",
    ),
]


@pytest.mark.parametrize(("old", "new", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_the_error_says_where_and_what_and_how_to_repair_it(old: str | None, new: str, expected: str, base: str, complaints: Callable[[str], str]) -> None:
    text = new if old is None else base.replace(old, new) if old else base + new
    assert complaints(text) + "\n" == expected
