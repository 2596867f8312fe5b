"""A document: values as YAML 1.2 reads them, and where each stands."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redteam.scenario.document import LARGEST, Document
from redteam.scenario.errors import Mark, ScenarioError
from redteam.scenario.scalars import Ratio, Unfit, plain


def data(text: str) -> object:
    document = Document.parse(text, "faces.yaml")
    assert document.problems == () and document.complete
    return document.data


@pytest.mark.parametrize("text", "no yes on off NO y n 12:30 1:30:00 2026-11-20 1_000 0b1_0 1.2.3 = 1e e3 +.e3 nul trUE 8/255/2 -1/2".split())
def test_what_yaml_1_1_would_turn_into_something_else_stays_text(text: str) -> None:
    assert data(f"key: {text}") == {"key": text}


NUMBERS = [("12", 12), ("-3", -3), ("+4", 4), ("0", 0), ("1e-3", 0.001), (".5", 0.5), ("1.", 1.0), ("010.5", 10.5), ("1E+2", 100.0)]
OTHERS = [("true", True), ("FALSE", False), ("~", None), ("Null", None), ("", None), ("'12'", "12"), ('"no"', "no")]


@pytest.mark.parametrize(("text", "value"), NUMBERS + OTHERS)
def test_core_scalars_have_their_values_and_types(text: str, value: object) -> None:
    found = data(f"key: {text}")["key"]
    assert found == value and isinstance(found, type(value))


def test_a_ratio_is_a_number_that_remembers_its_text() -> None:
    ratio = data("eps: 8/255")["eps"]
    assert isinstance(ratio, Ratio) and ratio == 8 / 255 and ratio.text == "8/255"
    assert [copy.deepcopy(ratio).text, pickle.loads(pickle.dumps(ratio)).text] == ["8/255", "8/255"]
    assert data("eps: 0.5 / 255") == {"eps": 0.5 / 255}


def test_block_and_multi_line_texts_are_texts() -> None:
    assert data("a: |\n  12\n  no\nb: >-\n  1\n  2\n") == {"a": "12\nno\n", "b": "1 2"}


def test_an_empty_document_holds_nothing() -> None:
    assert data("# only a comment\n") is None


DOCUMENT = Document.parse("a: 1\nlist:\n  - {id: x, eps: 8/255}\n  - y: [10, 20]\n", "faces.yaml")


@pytest.mark.parametrize(
    ("path", "key", "mark"),
    [
        ((), False, Mark(1, 1)),
        (("a",), False, Mark(1, 4)),
        (("a",), True, Mark(1, 1)),
        (("list",), True, Mark(2, 1, 4)),
        (("list", 0), False, Mark(3, 5)),
        (("list", 0, "eps"), True, Mark(3, 13, 3)),
        (("list", 0, "eps"), False, Mark(3, 18, 5)),
        (("list", 1, "y", 1), False, Mark(4, 13, 2)),
        (("list", 1, "absent"), False, Mark(4, 5)),
        (("nowhere", 3), True, Mark(1, 1)),
    ],
)
def test_every_value_and_key_has_its_place_and_what_is_absent_that_of_its_holder(path: tuple[str | int, ...], key: bool, mark: Mark) -> None:
    assert DOCUMENT.mark(path, key) == mark


def test_lines_are_given_back_as_they_stand() -> None:
    document = Document.parse("a: 1\r\n  # é\r\nb: 2", "faces.yaml")
    assert [document.line_text(i) for i in range(5)] == ["", "a: 1", "  # é", "b: 2", ""]


def test_aliases_that_would_multiply_are_refused_without_being_followed() -> None:
    rows = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"] + [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12)]
    document = Document.parse("\n".join(rows), "faces.yaml")
    assert {problem.code for problem in document.problems} == {"RT126"} and len(document.problems) == 12 + 11 * 9
    assert document.data["a11"] == [None] * 9


def test_what_yaml_refuses_is_found_all_at_once_in_the_order_of_the_file() -> None:
    document = Document.parse("a: &x 1\nb: *x\nc: 010\nc: 2\n<<: {d: 1}\n7: e\nf: !!set {g}\n", "faces.yaml")
    assert [(problem.code, problem.mark.line) for problem in document.problems] == [("RT126", 1), ("RT126", 2), ("RT131", 3), ("RT129", 4), ("RT127", 5), ("RT130", 6), ("RT128", 7)]
    assert document.data == {"a": 1, "b": None, "c": None, "f": {"g": None}}


@pytest.mark.parametrize("text", ["[" * 100_000, "- " * 5_000, "a: " + "{a: " * 1_000, "? " * 1_000, "a: 1\na: " + "[" * 500])
def test_deep_nesting_is_refused_and_not_followed(text: str) -> None:
    document = Document.parse(text, "faces.yaml")
    assert not document.complete and document.problems[-1].code == "RT125"


def test_a_file_larger_than_a_megabyte_is_refused(tmp_path: Path) -> None:
    (tmp_path / "big.yaml").write_bytes(b"#" * (LARGEST + 1))
    with pytest.raises(ScenarioError, match="big.yaml: RT121 must be at most 1 MB; a scenario names data and does not hold it$"):
        Document.read(tmp_path / "big.yaml")


def test_a_file_that_is_not_utf_8_is_refused_at_the_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("faces.yaml").write_bytes("a: 1\nname: Gesichter für\n".encode("latin-1"))
    with pytest.raises(ScenarioError) as caught:
        Document.read(Path("faces.yaml"))
    assert str(caught.value) == "faces.yaml:2:18: RT122 must be UTF-8 text, got byte 0xfc; save it as UTF-8\n     2 | name: Gesichter f\ufffdr\n       |                  ^"


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path) -> None:
    (tmp_path / "bom.yaml").write_bytes(b"\xef\xbb\xbfname: faces\n")
    document = Document.read(tmp_path / "bom.yaml")
    assert document.data == {"name": "faces"} and document.mark(("name",)) == Mark(1, 7, 5)


def test_a_file_that_does_not_exist_is_said_to_be_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ScenarioError, match="^absent.yaml: RT120 cannot be read: No such file or directory; give the path of a scenario file$"):
        Document.read(Path("absent.yaml"))
    with pytest.raises(ScenarioError, match="RT120 cannot be read: Is a directory"):
        Document.read(tmp_path)


@given(st.text(alphabet="abc019:-?[]{}&*!|>'\"%@`#,\n \t~<.eE/\\xu_=+\x00\x85é\U0001f600", max_size=60))
def test_no_text_breaks_the_reader(text: str) -> None:
    document = Document.parse(text, "faces.yaml")
    assert document.complete or document.problems
    assert all(str(problem).startswith("faces.yaml:") for problem in document.problems)


@given(st.text(max_size=30))
def test_every_unquoted_scalar_has_a_value_or_a_refusal(text: str) -> None:
    try:
        assert plain(text) is None or isinstance(plain(text), (str, int, float))
    except Unfit as unfit:
        assert unfit.code in ("RT131", "RT132")
