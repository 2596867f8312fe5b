"""Keys, types, ranges, ids and kinds: the full text of each error."""

from __future__ import annotations

from collections.abc import Callable

import pytest

CASES = [
    (
        "an empty file",
        None,
        "",
        """\
faces.yaml:1:1: RT100 a scenario must be a mapping with schema, name, data, targets, attacks, got nothing; begin with schema: redteam/v1
     1 |
       | ^
""",
    ),
    (
        "a list at the top",
        None,
        "- a\n",
        """\
faces.yaml:1:1: RT100 a scenario must be a mapping with schema, name, data, targets, attacks, got a list of 1; begin with schema: redteam/v1
     1 | - a
       | ^
""",
    ),
    (
        "nothing but a name",
        None,
        "name: faces\n",
        """\
faces.yaml:1:1: RT101 missing key 'attacks'; a scenario has schema, name, data, targets, attacks
     1 | name: faces
       | ^
faces.yaml:1:1: RT101 missing key 'data'; a scenario has schema, name, data, targets, attacks
     1 | name: faces
       | ^
faces.yaml:1:1: RT101 missing key 'schema'; a scenario has schema, name, data, targets, attacks
     1 | name: faces
       | ^
faces.yaml:1:1: RT101 missing key 'targets'; a scenario has schema, name, data, targets, attacks
     1 | name: faces
       | ^
""",
    ),
    (
        "another version",
        "redteam/v1",
        "redteam/v2",
        """\
faces.yaml:1:9: RT104 schema: must be 'redteam/v1', got 'redteam/v2'; did you mean 'redteam/v1'?
     1 | schema: redteam/v2
       |         ^~~~~~~~~~
""",
    ),
    (
        "an unknown key at the top",
        "attacks:",
        "atacks:",
        """\
faces.yaml:7:1: RT102 unknown key 'atacks'; did you mean 'attacks'?
     7 | atacks:
       | ^~~~~~
""",
    ),
    (
        "a name that is no folder",
        "name: faces",
        "name: my faces/1",
        """\
faces.yaml:2:7: RT106 name: a name must be at most 80 letters, digits, '.', '_' or '-' and start with a letter or digit, since folders are named after it, got 'my faces/1'; rename it
     2 | name: my faces/1
       |       ^~~~~~~~~~
""",
    ),
    (
        "a negative seed",
        "name: faces\n",
        "name: faces\nseed: -1\n",
        """\
faces.yaml:3:7: RT104 seed: must lie in [0, 9223372036854775808), got -1
     3 | seed: -1
       |       ^~
""",
    ),
    (
        "an unknown role",
        "eval:",
        "evall:",
        """\
faces.yaml:4:3: RT102 data: unknown role 'evall'; did you mean 'eval'?
     4 |   evall: {kind: shelf}
       |   ^~~~~
""",
    ),
    (
        "a section that is no list",
        "targets:\n  - {id: mine, kind: linear}",
        "targets: {id: mine, kind: linear}",
        """\
faces.yaml:5:10: RT103 targets: must be a list, got a mapping; start each entry with '- '
     5 | targets: {id: mine, kind: linear}
       |          ^
""",
    ),
    (
        "an empty list of targets",
        "targets:\n  - {id: mine, kind: linear}",
        "targets: []",
        """\
faces.yaml:5:10: RT103 targets: must hold at least one target, got an empty list; write - {id: ..., kind: ...}
     5 | targets: []
       |          ^
""",
    ),
    (
        "an entry that is no mapping",
        "  - {id: jpeg, kind: jpeg}",
        "  - jpeg",
        """\
faces.yaml:9:5: RT103 attacks.1: must be a mapping, got 'jpeg'; write {key: value}
     9 |   - jpeg
       |     ^~~~
""",
    ),
    (
        "an entry without an id",
        "{id: jpeg, kind: jpeg}",
        "{kind: jpeg}",
        """\
faces.yaml:9:5: RT101 attacks.1: missing key 'id'; every entry needs one, such as id: a1
     9 |   - {kind: jpeg}
       |     ^
""",
    ),
    (
        "an entry without a kind",
        "{id: jpeg, kind: jpeg}",
        "{id: jpeg}",
        """\
faces.yaml:9:5: RT101 attacks.1: missing key 'kind'; there are identity, jpeg, learned, noise, pgd, picky, region, square, transfer
     9 |   - {id: jpeg}
       |     ^
       = redteam list
""",
    ),
    (
        "an id that is no file name",
        "id: jpeg,",
        "id: ../jpeg,",
        """\
faces.yaml:9:10: RT106 attacks.1.id: an id must be at most 80 letters, digits, '.', '_' or '-' and start with a letter or digit, got '../jpeg'; rename it
     9 |   - {id: ../jpeg, kind: jpeg}
       |          ^~~~~~~
""",
    ),
    (
        "an id twice",
        "id: jpeg,",
        "id: pgd,",
        """\
faces.yaml:9:10: RT107 attacks.1.id: an id must be unique in its list, got 'pgd' again (first at attacks.0); give each an id of its own
     9 |   - {id: pgd, kind: jpeg}
       |          ^~~
""",
    ),
    (
        "an id of a control arm",
        "id: jpeg,",
        "id: noise,",
        """\
faces.yaml:9:10: RT108 attacks.1.id: an id must not be identity or noise, which are the control arms and always run; rename it
     9 |   - {id: noise, kind: jpeg}
       |          ^~~~~
""",
    ),
    (
        "two corpora with one id",
        "eval: {kind: shelf}",
        "eval: [{kind: shelf}, {kind: shelf, seed: 2}]",
        """\
faces.yaml:4:25: RT107 data.eval.1.id: an id must be unique in its list, got 'shelf' again (first at data.eval.0); give each an id of its own
     4 |   eval: [{kind: shelf}, {kind: shelf, seed: 2}]
       |                         ^
""",
    ),
    (
        "an unknown kind",
        "kind: jpeg",
        "kind: jpg",
        """\
faces.yaml:9:22: RT109 attacks.1.jpeg.kind: unknown attack 'jpg'; did you mean 'jpeg'?
     9 |   - {id: jpeg, kind: jpg}
       |                      ^~~
       = redteam list
""",
    ),
    (
        "a kind that cannot be imported",
        "kind: linear",
        "kind: timm",
        """\
faces.yaml:6:22: RT110 targets.0.mine.kind: timm cannot be imported: No module named 'timm'
     6 |   - {id: mine, kind: timm}
       |                      ^~~~
       = redteam list
""",
    ),
    (
        "a zoo model that does not exist",
        "kind: linear",
        "kind: zoo/npr",
        """\
faces.yaml:6:22: RT109 targets.0.mine.kind: unknown target 'zoo/npr'; did you mean 'zoo/npr-tiny'?
     6 |   - {id: mine, kind: zoo/npr}
       |                      ^~~~~~~
       = redteam list
""",
    ),
    (
        "a zoo model that is no detector",
        "kind: linear",
        "kind: zoo/vae-tiny",
        """\
faces.yaml:6:22: RT109 targets.0.mine.kind: a target must be a detector, got zoo/vae-tiny with the role autoencoder; name another model
     6 |   - {id: mine, kind: zoo/vae-tiny}
       |                      ^~~~~~~~~~~~
       = redteam list
""",
    ),
    (
        "an unknown key of an attack, on a line of its own",
        "  - {id: pgd, kind: pgd, eps: 4/255}",
        "  - id: pgd\n    kind: pgd\n    epsilon: 8/255",
        """\
faces.yaml:10:5: RT102 attacks.0.pgd: unknown key 'epsilon'; did you mean 'eps'?
    10 |     epsilon: 8/255
       |     ^~~~~~~
       = redteam show attack/pgd
""",
    ),
    (
        "an unknown key that resembles nothing",
        "eps: 4/255",
        "zzz: 1",
        """\
faces.yaml:8:26: RT102 attacks.0.pgd: unknown key 'zzz'; pgd takes goal, surrogates, norm, eps, steps
     8 |   - {id: pgd, kind: pgd, zzz: 1}
       |                          ^~~
       = redteam show attack/pgd
""",
    ),
    (
        "an internal field",
        "kind: linear",
        "kind: linear, folder: /tmp",
        """\
faces.yaml:6:30: RT102 targets.0.mine: unknown key 'folder'; linear takes threshold, access, size, crop, mean, mirror, note, args, weights
     6 |   - {id: mine, kind: linear, folder: /tmp}
       |                              ^~~~~~
       = redteam show target/linear
""",
    ),
    (
        "a value out of range",
        "kind: jpeg}",
        "kind: jpeg, quality: 101}",
        """\
faces.yaml:9:37: RT104 attacks.1.jpeg.quality: must lie in [1, 100], got 101
     9 |   - {id: jpeg, kind: jpeg, quality: 101}
       |                                     ^~~
       = redteam show attack/jpeg
""",
    ),
    (
        "a value that is no choice",
        "eps: 4/255",
        "norm: l3",
        """\
faces.yaml:8:32: RT104 attacks.0.pgd.norm: must be 'linf' or 'l2', got 'l3'
     8 |   - {id: pgd, kind: pgd, norm: l3}
       |                                ^~
       = redteam show attack/pgd
""",
    ),
    (
        "a missing key inside a value",
        "kind: shelf",
        "kind: shelf, lens: {sharp: true}",
        """\
faces.yaml:4:29: RT101 data.eval.lens: missing key 'size'; lens needs it
     4 |   eval: {kind: shelf, lens: {sharp: true}}
       |                             ^
       = redteam show data/shelf
""",
    ),
    (
        "an unknown key inside a value",
        "kind: shelf",
        "kind: shelf, lens: {size: 3, shrp: true}",
        """\
faces.yaml:4:39: RT102 data.eval.lens: unknown key 'shrp'; did you mean 'sharp'?
     4 |   eval: {kind: shelf, lens: {size: 3, shrp: true}}
       |                                       ^~~~
       = redteam show data/shelf
""",
    ),
    (
        "a list of the wrong length",
        "kind: linear",
        "kind: linear, mean: [0, 0]",
        """\
faces.yaml:6:36: RT103 targets.0.mine.mean: must be a list of 3, got a list of 2
     6 |   - {id: mine, kind: linear, mean: [0, 0]}
       |                                    ^
       = redteam show target/linear
""",
    ),
    (
        "a wrong value inside a list",
        "kind: linear",
        "kind: linear, mean: [0, red, 0]",
        """\
faces.yaml:6:40: RT103 targets.0.mine.mean.1: must be a number, got 'red'
     6 |   - {id: mine, kind: linear, mean: [0, red, 0]}
       |                                        ^~~
       = redteam show target/linear
""",
    ),
    (
        "neither of two types",
        "kind: linear",
        "kind: linear, crop: wide",
        """\
faces.yaml:6:36: RT103 targets.0.mine.crop: must be an integer or a list, got 'wide'
     6 |   - {id: mine, kind: linear, crop: wide}
       |                                    ^~~~
       = redteam show target/linear
""",
    ),
    (
        "a threshold that says two things",
        "kind: linear",
        "kind: linear, threshold: {fixed: 0.5, at_fpr: 0.01}",
        """\
faces.yaml:6:41: RT105 targets.0.mine.threshold: threshold must be {fixed: VALUE} or {at_fpr: RATE, on: calib}, one of the two
     6 |   - {id: mine, kind: linear, threshold: {fixed: 0.5, at_fpr: 0.01}}
       |                                         ^
       = redteam show target/linear
""",
    ),
    (
        "a combination that the component refuses",
        "{id: jpeg, kind: jpeg}",
        "{id: low, kind: picky, low: 2}",
        """\
faces.yaml:9:5: RT105 attacks.1: low must be at most high, got 2.0 > 1; swap them
     9 |   - {id: low, kind: picky, low: 2}
       |     ^
       = redteam show attack/picky
""",
    ),
    (
        "an unknown forgery",
        "kind: shelf",
        "kind: shelf, forge: {pasta: 1}",
        """\
faces.yaml:4:31: RT109 data.eval.forge: unknown forgery 'pasta'; did you mean 'paste'?
     4 |   eval: {kind: shelf, forge: {pasta: 1}}
       |                               ^~~~~
       = redteam list
""",
    ),
    (
        "a forgery whose weight is text",
        "kind: shelf",
        "kind: shelf, forge: {paste: often}",
        """\
faces.yaml:4:38: RT103 data.eval.forge.paste: must be a weight or a mapping, got 'often'; write paste: 1
     4 |   eval: {kind: shelf, forge: {paste: often}}
       |                                      ^~~~~
""",
    ),
    (
        "a forgery whose weight is not positive",
        "kind: shelf",
        "kind: shelf, forge: {paste: 0}",
        """\
faces.yaml:4:38: RT104 data.eval.forge.paste: must lie in (0, inf), got 0
     4 |   eval: {kind: shelf, forge: {paste: 0}}
       |                                      ^
       = redteam show forge/paste
""",
    ),
    (
        "a forgery with a model that does not exist",
        "kind: shelf",
        "kind: shelf, forge: {redraw: {model: zoo/vae}}",
        """\
faces.yaml:4:47: RT221 data.eval.forge.redraw.model: no zoo name or file 'zoo/vae'; did you mean 'zoo/vae-tiny'?
     4 |   eval: {kind: shelf, forge: {redraw: {model: zoo/vae}}}
       |                                               ^~~~~~~
""",
    ),
    (
        "a file format that nobody reads",
        "",
        "file: {format: gif}\n",
        """\
faces.yaml:10:16: RT104 file.format: must be 'png', 'jpeg' or 'webp', got 'gif'
    10 | file: {format: gif}
       |                ^~~
""",
    ),
    (
        "a limit out of range",
        "",
        "limits: {max_error_rate: 2}\n",
        """\
faces.yaml:10:26: RT104 limits.max_error_rate: must lie in [0, 1], got 2
    10 | limits: {max_error_rate: 2}
       |                          ^
""",
    ),
    (
        "a reference to a target that does not exist",
        "{id: jpeg, kind: jpeg}",
        "{id: t, kind: transfer, surrogates: [zoo/npr-tiny, min]}",
        """\
faces.yaml:9:56: RT221 attacks.1.t.surrogates.1: no target id or zoo name 'min'; did you mean 'mine'?
     9 |   - {id: t, kind: transfer, surrogates: [zoo/npr-tiny, min]}
       |                                                        ^~~
""",
    ),
]


@pytest.mark.parametrize(("old", "new", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_the_error_says_where_and_what_and_how_to_repair_it(old: str | None, new: str, expected: str, base: str, complaints: Callable[[str], str]) -> None:
    text = new if old is None else base.replace(old, new) if old else base + new
    assert complaints(text) + "\n" == expected
