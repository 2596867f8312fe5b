"""Scenarios whose parts are right and whose whole is not: the full text of each error."""

from __future__ import annotations

from collections.abc import Callable

import pytest

CASES = [
    (
        "an attack that needs more than the target gives",
        "kind: linear",
        "kind: linear, access: decisions",
        """\
faces.yaml:8:5: RT301 attacks.0: pgd needs gradients but target 'mine' gives decisions; use jpeg, learned, picky, region or transfer, or a target with more access
     8 |   - {id: pgd, kind: pgd, eps: 4/255}
       |     ^
""",
    ),
    (
        "an attack that needs gradients of scores",
        "kind: linear",
        "kind: linear, access: scores",
        """\
faces.yaml:8:5: RT301 attacks.0: pgd needs gradients but target 'mine' gives scores; use square, jpeg, learned, picky, region or transfer, or a target with more access
     8 |   - {id: pgd, kind: pgd, eps: 4/255}
       |     ^
""",
    ),
    (
        "a surrogate that gives less than the attack asks of it",
        "  - {id: mine, kind: linear}\nattacks:\n  - {id: pgd, kind: pgd, eps: 4/255}",
        "  - {id: mine, kind: linear, access: decisions}\nattacks:\n  - {id: pgd, kind: pgd, eps: 4/255, surrogates: [mine]}",
        """\
faces.yaml:8:50: RT308 attacks.0.pgd.surrogates: pgd needs gradients of its surrogate but 'mine' gives decisions; name one that gives more
     8 |   - {id: pgd, kind: pgd, eps: 4/255, surrogates: [mine]}
       |                                                  ^
""",
    ),
    (
        "a surrogate that is an autoencoder",
        "eps: 4/255",
        "eps: 4/255, surrogates: [zoo/vae-tiny]",
        """\
faces.yaml:8:50: RT308 attacks.0.pgd.surrogates: a surrogate must be a target, got zoo/vae-tiny, which is an autoencoder; name a detector
     8 |   - {id: pgd, kind: pgd, eps: 4/255, surrogates: [zoo/vae-tiny]}
       |                                                  ^
""",
    ),
    (
        "a goal that detectors do not have",
        "eps: 4/255",
        "eps: 4/255, goal: evad",
        """\
faces.yaml:8:44: RT302 attacks.0.pgd.goal: goal must be one of evade+frame, evade, frame for a detector, got 'evad'; did you mean 'evade'?
     8 |   - {id: pgd, kind: pgd, eps: 4/255, goal: evad}
       |                                            ^~~~
""",
    ),
    (
        "a goal on an attack that asks nothing",
        "kind: jpeg}",
        "kind: jpeg, goal: evade}",
        """\
faces.yaml:9:34: RT303 attacks.1.jpeg.goal: jpeg asks the target nothing, treats both classes alike and takes no goal, got 'evade'; delete it
     9 |   - {id: jpeg, kind: jpeg, goal: evade}
       |                                  ^~~~~
""",
    ),
    (
        "masks that the data does not have",
        "  eval: {kind: shelf}\ntargets:\n  - {id: mine, kind: linear}\nattacks:\n",
        "  eval: {kind: bare}\ntargets:\n  - {id: mine, kind: linear}\nattacks:\n  - {id: local, kind: region}\n",
        """\
faces.yaml:8:5: RT304 attacks.0: local needs masks but data 'bare' (bare) has none; use a manifest that names masks, or exclude the two from each other
     8 |   - {id: local, kind: region}
       |     ^
""",
    ),
    (
        "a threshold without calibration data",
        "kind: linear",
        "kind: linear, threshold: {at_fpr: 0.01}",
        """\
faces.yaml:6:41: RT305 targets.0.mine.threshold: a threshold at a false-positive rate needs calibration data, got no data.calib; add it, or write {fixed: 0.5}
     6 |   - {id: mine, kind: linear, threshold: {at_fpr: 0.01}}
       |                                         ^
""",
    ),
    (
        "an exclusion of an unknown id",
        "",
        "matrix: {exclude: [{attack: jpg}]}\n",
        """\
faces.yaml:10:29: RT311 matrix.exclude.0.attack: no attack 'jpg'; did you mean 'jpeg'?
    10 | matrix: {exclude: [{attack: jpg}]}
       |                             ^~~
""",
    ),
    (
        "an exclusion by an unknown coordinate",
        "",
        "matrix: {exclude: [{atack: jpeg}]}\n",
        """\
faces.yaml:10:21: RT102 matrix.exclude.0: unknown key 'atack'; did you mean 'attack'?
    10 | matrix: {exclude: [{atack: jpeg}]}
       |                     ^~~~~
""",
    ),
    (
        "an exclusion of a control arm",
        "",
        "matrix: {exclude: [{attack: noise}]}\n",
        """\
faces.yaml:10:29: RT312 matrix.exclude.0.attack: a control arm cannot be excluded, got 'noise'; leave attack out to exclude all that runs there
    10 | matrix: {exclude: [{attack: noise}]}
       |                             ^~~~~
""",
    ),
    (
        "an exclusion of everything by saying nothing",
        "",
        "matrix: {exclude: [{}]}\n",
        """\
faces.yaml:10:20: RT311 matrix.exclude.0: an exclusion must name at least one of data, target, defense, attack, got none; write {defense: ..., attack: ...}
    10 | matrix: {exclude: [{}]}
       |                    ^
""",
    ),
    (
        "exclusions that leave nothing",
        "",
        "matrix: {exclude: [{attack: jpeg}, {attack: pgd}]}\n",
        """\
faces.yaml:10:19: RT314 matrix.exclude: exclusions must leave at least one cell, got none left; delete one
    10 | matrix: {exclude: [{attack: jpeg}, {attack: pgd}]}
       |                   ^
""",
    ),
    (
        "a gate on an unknown metric",
        "",
        'gates:\n  - {id: g, metric: attack_succes_rate, require: "<= 0.4"}\n',
        """\
faces.yaml:11:21: RT321 gates.0.g.metric: unknown metric 'attack_succes_rate'; did you mean 'attack_success_rate'?
    11 |   - {id: g, metric: attack_succes_rate, require: "<= 0.4"}
       |                     ^~~~~~~~~~~~~~~~~~
""",
    ),
    (
        "a requirement without an operator",
        "",
        "gates:\n  - {id: g, metric: auc, require: 0.4}\n",
        """\
faces.yaml:11:35: RT322 gates.0.g.require: must be an operator (<=, <, >=, >) and a number, got 0.4; write "<= 0.40"
    11 |   - {id: g, metric: auc, require: 0.4}
       |                                   ^~~
""",
    ),
    (
        "a requirement in percent",
        "",
        'gates:\n  - {id: g, metric: auc, require: ">= 90"}\n',
        """\
faces.yaml:11:35: RT322 gates.0.g.require: auc is a share in [0, 1], got 90; write 40% as 0.40
    11 |   - {id: g, metric: auc, require: ">= 90"}
       |                                   ^~~~~~~
""",
    ),
    (
        "a gate on an unknown attack",
        "",
        'gates:\n  - {id: g, metric: auc, where: {attack: pdg}, require: ">= 0.9"}\n',
        """\
faces.yaml:11:42: RT323 gates.0.g.where.attack: no attack 'pdg'; did you mean 'pgd'?
    11 |   - {id: g, metric: auc, where: {attack: pdg}, require: ">= 0.9"}
       |                                          ^~~
""",
    ),
    (
        "a gate by an unknown strength",
        "",
        'gates:\n  - {id: g, metric: auc, where: {attack: pgd, epsilon: 4/255}, require: ">= 0.9"}\n',
        """\
faces.yaml:11:47: RT323 gates.0.g.where: no cell has 'epsilon'; did you mean 'eps'?
    11 |   - {id: g, metric: auc, where: {attack: pgd, epsilon: 4/255}, require: ">= 0.9"}
       |                                               ^~~~~~~
""",
    ),
    (
        "a gate that selects no cell",
        "",
        'gates:\n  - {id: g, metric: auc, where: {attack: pgd, eps: 8/255}, require: ">= 0.9"}\n',
        """\
faces.yaml:11:33: RT324 gates.0.g.where: a gate must select at least one cell, got none; with the rest as it is, eps can be 4/255
    11 |   - {id: g, metric: auc, where: {attack: pgd, eps: 8/255}, require: ">= 0.9"}
       |                                 ^
""",
    ),
    (
        "a gate on several attacks at once",
        "",
        'gates:\n  - {id: g, metric: auc, where: {attack: [pgd, jpeg]}, require: ">= 0.9"}\n',
        """\
faces.yaml:11:42: RT323 gates.0.g.where.attack: must be one text or one number, got a list of 2; write a gate for each
    11 |   - {id: g, metric: auc, where: {attack: [pgd, jpeg]}, require: ">= 0.9"}
       |                                          ^
""",
    ),
    (
        "a gate on what is excluded",
        "",
        'matrix: {exclude: [{attack: jpeg}]}\ngates:\n  - {id: g, metric: auc, where: {attack: jpeg}, require: ">= 0.9"}\n',
        """\
faces.yaml:12:33: RT324 gates.0.g.where: a gate must select at least one cell, got none; with the rest as it is, attack can be pgd
    12 |   - {id: g, metric: auc, where: {attack: jpeg}, require: ">= 0.9"}
       |                                 ^
""",
    ),
]


@pytest.mark.parametrize(("old", "new", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_the_error_says_where_and_what_and_how_to_repair_it(old: str | None, new: str, expected: str, base: str, complaints: Callable[[str], str]) -> None:
    text = new if old is None else base.replace(old, new) if old else base + new
    assert complaints(text) + "\n" == expected
