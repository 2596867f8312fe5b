"""extends and --set: what stands over and under a scenario, and whose mistake it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from redteam.scenario.errors import ScenarioError
from redteam.scenario.load import load
from redteam.scenario.model import Scenario

OVER = "extends: faces.yaml\nname: mine\n"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, base: str) -> Path:
    """A folder with faces.yaml in it, to work in."""
    monkeypatch.chdir(tmp_path)
    Path("faces.yaml").write_text(base)
    return tmp_path


@pytest.fixture
def over(home: Path) -> Callable[..., Scenario]:
    """Text of a scenario that extends faces.yaml, and what is set -> the scenario."""

    def over(text: str, *sets: str) -> Scenario:
        Path("mine.yaml").write_text(text)
        return load(Path("mine.yaml"), sets=sets)[0]

    return over


@pytest.fixture
def refused(over: Callable[..., Scenario]) -> Callable[..., str]:
    """As `over`, for what is wrong with it."""

    def refused(text: str, *sets: str) -> str:
        with pytest.raises(ScenarioError) as caught:
            over(text, *sets)
        return str(caught.value)

    return refused


def attacks(scenario: Scenario) -> dict[str, list[dict]]:
    return {entry.id: [variant.attack.params() for variant in entry.variants] for entry in scenario.attacks}


def test_a_file_that_extends_another_has_all_that_it_does_not_say_itself(over):
    found = over(OVER)
    assert (found.name, [t.id for t in found.targets], list(attacks(found))) == ("mine", ["mine"], ["pgd", "jpeg"])


def test_keys_of_a_section_and_of_an_entry_replace_those_of_the_base(over):
    text = "attacks:\n  - {id: pgd, eps: {sweep: [1/255, 2/255]}, steps: 3}\ndata: {train: {kind: shelf, seed: 9}}\nlimits: {max_error_rate: 0.5}\n"
    Path("faces.yaml").write_text(Path("faces.yaml").read_text() + "limits: {sample_timeout_s: 7}\n")
    found = over(OVER + text)
    assert [(row["eps"], row["steps"]) for row in attacks(found)["pgd"]] == [(1 / 255, 3), (2 / 255, 3)]
    assert list(found.data) == ["eval", "train"] and found.data["train"][0].corpus.seed == 9
    assert (found.limits.sample_timeout_s, found.limits.max_error_rate) == (7, 0.5)


def test_new_entries_come_after_those_of_the_base(over):
    assert list(attacks(over(OVER + "attacks: [{id: first, kind: jpeg}, {id: jpeg, quality: 10}]\n"))) == ["pgd", "jpeg", "first"]


def test_an_entry_of_another_kind_replaces_the_whole_entry(over):
    found = over(OVER + "attacks: [{id: pgd, kind: jpeg}, {id: jpeg, chain: [{kind: jpeg}]}]\n")
    assert [(entry.id, entry.kind) for entry in found.attacks] == [("pgd", "jpeg"), ("jpeg", "chain")]


def test_a_corpus_replaces_the_corpus_of_its_role(over):
    assert over(OVER + "data: {eval: {kind: bare}}\n").data["eval"][0].kind == "bare"


def test_nothing_merges_deeper_than_the_keys_of_an_entry(over):
    Path("faces.yaml").write_text(Path("faces.yaml").read_text().replace("kind: linear", "kind: linear, args: {a: 1, b: 2}"))
    assert over(OVER + "targets: [{id: mine, args: {a: 3}}]\n").targets[0].spec.args == {"a": 3}


def test_mistakes_stand_in_the_file_that_makes_them(refused, base):
    Path("faces.yaml").write_text(base.replace("eps: 4/255", "eps: -1"))
    assert refused(OVER + "attacks: [{id: pgd, stepz: 3}]\n") == (
        "mine.yaml:3:21: RT102 attacks.0.pgd: unknown key 'stepz'; did you mean 'steps'?\n"
        "     3 | attacks: [{id: pgd, stepz: 3}]\n"
        "       |                     ^~~~~\n"
        "       = redteam show attack/pgd\n"
        "faces.yaml:8:31: RT104 attacks.0.pgd.eps: must lie in [0, inf), got -1\n"
        "     8 |   - {id: pgd, kind: pgd, eps: -1}\n"
        "       |                               ^~\n"
        "       = redteam show attack/pgd"
    )


def test_what_yaml_refuses_in_the_base_is_said_there(refused, base):
    Path("faces.yaml").write_text(base.replace("kind: jpeg", "kind: jpeg, quality: 010"))
    assert refused(OVER).startswith("faces.yaml:9:37: RT131 attacks.1.jpeg.quality: an integer must not start with 0, got 010; write 10")
    Path("faces.yaml").write_text(base + "  - [")
    assert refused(OVER).startswith("faces.yaml:10:6: RT123 not valid YAML")


def test_an_id_that_comes_twice_in_one_file_is_still_a_mistake(refused):
    found = refused(OVER + "attacks: [{id: jpeg}, {id: jpeg, kind: jpeg}]\n")
    assert found.startswith("mine.yaml:3:28: RT107 attacks.2.id: an id must be unique in its list, got 'jpeg' again (first at attacks.1)")


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ({"mine.yaml": "extends: mine.yaml\n"}, "mine.yaml:1:10: RT141 extends: a scenario must not extend itself; name another file"),
        ({"mine.yaml": "extends: other.yaml\n", "other.yaml": "extends: faces.yaml\n"}, "other.yaml:1:1: RT141 extends: a file that is extended must not extend another; one level is all there is, so copy what is needed"),
        ({"mine.yaml": "extends: other.yaml\n", "other.yaml": "extends: mine.yaml\n"}, "other.yaml:1:1: RT141 extends: a file that is extended must not extend another"),
        ({"mine.yaml": "extends: absent.yaml\n"}, "mine.yaml:1:10: RT141 extends: absent.yaml cannot be read: No such file or directory; give the path of a scenario file"),
        ({"mine.yaml": "extends: other.yaml\n", "other.yaml": "[1]\n"}, "mine.yaml:1:10: RT141 extends: must name a scenario, got a file that holds a list of 1"),
        ({"mine.yaml": "extends: [faces.yaml]\n"}, "mine.yaml:1:10: RT103 extends: must be text, got a list of 1; name one scenario file"),
    ],
)
def test_one_level_is_all_there_is(home, refused, files, sentence):
    for name, text in files.items():
        (home / name).write_text(text)
    assert sentence in refused(files["mine.yaml"])


def test_paths_start_beside_the_file_that_says_them(home, base):
    (home / "below").mkdir()
    Path("below/faces.yaml").write_text(base.replace("kind: shelf", "kind: shelf, lens: {size: 3, path: c}").replace("kind: linear", "kind: linear, weights: w.bin"))
    Path("mine.yaml").write_text("extends: below/faces.yaml\ndata: {train: {kind: shelf, path: d}}\n")
    scenario, _ = load(Path("mine.yaml"), sets=("targets.mine.weights=v.bin",))
    assert scenario.data["eval"][0].corpus.lens.path == home / "below" / "c"
    assert (scenario.data["train"][0].corpus.path, scenario.targets[0].spec.weights) == (home / "d", home / "v.bin")
    assert scenario.folder == home


def test_what_is_set_stands_above_both_files(over):
    found = over(OVER + "attacks: [{id: pgd, steps: 3}]\n", "attacks.pgd.steps=50", "attacks.pgd.eps=8/255", "seed=7", "data.eval.seed=3", "name='on'", "limits.max_error_rate=0")
    assert (attacks(found)["pgd"][0]["steps"], attacks(found)["pgd"][0]["eps"]) == (50, 8 / 255)
    assert (found.seed, found.data["eval"][0].corpus.seed, found.name, found.limits.max_error_rate) == (7, 3, "on", 0)


def test_the_last_of_two_sets_holds(over):
    assert over(OVER, "seed=7", "seed=8").seed == 8


def test_entries_are_found_by_ids_that_hold_dots_and_stages_by_their_number(over):
    text = "attacks: [{id: pgd.v1, kind: pgd}, {id: both, chain: [{ref: pgd}, {kind: jpeg}]}]\n"
    found = attacks(over(OVER + text, "attacks.pgd.v1.steps=4", "attacks.both.chain.1.quality=30", "attacks.jpeg.quality={sweep: [90, 80]}"))
    assert (found["pgd"][0]["steps"], found["pgd.v1"][0]["steps"], found["both"][0]["stages"][1]["quality"]) == (20, 4, 30)
    assert [row["quality"] for row in found["jpeg"]] == [90, 80]


def test_a_corpus_of_several_is_found_by_its_id_or_its_kind(over):
    found = over(OVER + "data: {eval: [{kind: shelf}, {id: other, kind: shelf}]}\n", "data.eval.shelf.limit=2", "data.eval.other.limit=3")
    assert [entry.corpus.limit for entry in found.data["eval"]] == [2, 3]


@pytest.mark.parametrize("text", ["no", "on", "12:30", "1e3x", ">= 0.9", "a: b", "# x"])
def test_what_yaml_1_1_would_turn_into_something_else_stays_text(over, text):
    assert over(OVER, f"targets.mine.note={text}").targets[0].spec.note == text


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("attacks.pg.steps=3", "--set attacks.pg.steps=3: RT142 attacks has no entry 'pg'; did you mean 'pgd'?"),
        ("data.eval.0.limit=3", "--set data.eval.0.limit=3: RT102 data.eval: unknown key '0'; shelf takes "),
        ("attacks.9.steps=3", "--set attacks.9.steps=3: RT142 attacks has no entry '9'; there are pgd, jpeg"),
        ("atacks.pgd.steps=3", "--set atacks.pgd.steps=3: RT102 unknown key 'atacks'; did you mean 'attacks'?"),
        ("attacks.pgd.stepz=3", "--set attacks.pgd.stepz=3: RT102 attacks.0.pgd: unknown key 'stepz'; did you mean 'steps'?"),
        ("attacks.pgd.steps=0", "--set attacks.pgd.steps=0: RT104 attacks.0.pgd.steps: must lie in [1, inf), got 0"),
        ("attacks.pgd.eps.sweep=[1/255]", "--set attacks.pgd.eps.sweep=[1/255]: RT142 attacks.0.pgd.eps is 4/255 and holds nothing by name; set it as a whole"),
        ("attacks.pgd.steps=010", "--set attacks.pgd.steps=010: RT131 an integer must not start with 0, got 010; write 10, or quote it if it is text"),
        ("seed=[&a 1]", "--set seed=[&a 1]: RT126 seed: an anchor is not allowed, got '&a'"),
        ("seed", "--set seed: RT142 must be KEY=VALUE; write --set attacks.pgd.steps=50"),
        ("=3", "--set =3: RT142 must be KEY=VALUE"),
        ("extends=x.yaml", "--set extends=x.yaml: RT142 extends must be written in the scenario, since a run keeps both files"),
    ],
)
def test_a_mistake_that_was_set_names_what_was_set(refused, text, sentence):
    found = refused(OVER, text)
    assert sentence in found and "mine.yaml" not in found and "\n     3" not in found


def test_a_combination_that_what_was_set_makes_impossible_names_it_too(refused):
    text = OVER + "attacks: [{id: picky, kind: picky, high: 2}]\n"
    assert refused(text, "attacks.picky.low=3") == "--set attacks.picky.low=3: RT105 attacks.2: low must be at most high, got 3.0 > 2.0; swap them\n       = redteam show attack/picky"


def test_a_set_does_not_hide_the_mistakes_of_the_file(refused):
    found = refused(OVER + "attacks: [{id: pgd, stepz: 3}]\n", "attacks.pg.steps=3")
    assert [line.split(" RT")[0] for line in found.split("\n") if " RT" in line] == ["--set attacks.pg.steps=3:", "mine.yaml:3:21:"]


def test_a_set_does_not_bring_back_what_yaml_refused(refused):
    assert refused("name: [", "seed=3").startswith("mine.yaml:1:8: RT123")
