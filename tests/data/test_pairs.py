"""Lists of image and mask: JSON as IMDLBenCo writes it, text as TruFor, CAT-Net and MVSS-Net do."""

import json

import numpy as np
import pytest
from PIL import Image

from redteam.data.corpus import CorpusError
from redteam.data.pairs import Pairs


@pytest.fixture
def home(tmp_path):
    for name in ("Tp/a.png", "Tp/b c.png", "Au/x.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(np.full((4, 6, 3), 9, np.uint8)).save(tmp_path / name)
    (tmp_path / "Gt").mkdir()
    for row, name in enumerate(("b c", "a")):  # sorted, they would be paired the other way round
        mask = np.zeros((4, 6), np.uint8)
        mask[row] = 255
        Image.fromarray(mask).save(tmp_path / f"Gt/{name}.png")
    return tmp_path


def pairs(home, content, name="list.txt", **fields):
    (home / name).write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return Pairs(path=home / name, **fields)


def refusal(home, content, name="list.txt", **fields):
    with pytest.raises(CorpusError) as caught:
        pairs(home, content, name, **fields).samples()
    return str(caught.value)


FORMS = [
    ("list.json", [["Tp/a.png", "Gt/a.png"], ["Tp/b c.png", "Gt/b c.png"], ["Au/x.png", "Negative"]]),
    ("list.txt", "Tp/a.png,Gt/a.png\nTp/b c.png, Gt/b c.png ,jpg/b c.jpg\n\nAu/x.png,None,jpg/x.jpg\n"),
]


@pytest.mark.parametrize("name, content", FORMS)
def test_each_image_has_the_mask_that_stands_beside_it(home, name, content):
    corpus = pairs(home, content, name)
    samples = list(corpus.samples())
    assert [(s.id, s.label, s.group) for s in samples] == [("Tp/a.png", 1, "Tp/a.png"), ("Tp/b c.png", 1, "Tp/b c.png"), ("Au/x.png", 0, "Au/x.png")]
    forged_rows = [np.flatnonzero(corpus.open(lambda reference: None)(s).mask.any(1)).tolist() for s in samples]
    assert forged_rows == [[1], [0], []] and Pairs.has_masks()


def test_a_limit_takes_the_first(home):
    assert [s.id for s in pairs(home, FORMS[1][1], limit=2).samples()] == ["Tp/a.png", "Tp/b c.png"]


def test_blanks_separate_where_there_is_no_comma_and_a_label_may_follow(home):
    corpus = pairs(home, "Tp/a.png Gt/a.png 1\nAu/x.png\tNone  0\n")
    assert [(s.id, s.label) for s in corpus.samples()] == [("Tp/a.png", 1), ("Au/x.png", 0)]
    assert [(s.id, s.label) for s in pairs(home, "Tp/a.png None 1\nAu/x.png None\n").samples()] == [("Tp/a.png", 1), ("Au/x.png", 0)]


def test_a_forged_image_without_a_mask_has_none(home):
    corpus = pairs(home, "Tp/a.png None 1\n")
    assert corpus.open(lambda reference: None)(next(corpus.samples())).mask is None


def test_a_prefix_of_another_machine_is_taken_off_and_root_put_before(home, tmp_path):
    content = [["/data/CASIA/Tp/a.png", "/data/CASIA/Gt/a.png"], ["Au/x.png", "Negative"]]
    (tmp_path / "lists").mkdir()
    corpus = pairs(tmp_path / "lists", content, "list.json", root=home, prefix="/data/CASIA/")
    assert [(s.id, s.height) for s in corpus.samples()] == [("Tp/a.png", 4), ("Au/x.png", 4)]
    under = "put the file under that folder and write its path from there"
    assert refusal(home, content, "list.json").split("\n") == [
        f'list.json:1: image must be relative to the list\'s folder, got "/data/CASIA/Tp/a.png"; {under}',
        f'list.json:1: mask must be relative to the list\'s folder, got "/data/CASIA/Gt/a.png"; {under}',
    ]


@pytest.mark.parametrize(
    "line, what",
    [
        ("Tp/a.png", 'a line must be image,mask or image mask label, got "Tp/a.png"; put a comma between names that hold blanks'),
        ("Tp/b c.png Gt/b c.png", 'a line must be image,mask or image mask label, got "Tp/b c.png Gt/b c.png"; put a comma between names that hold blanks'),
        ("Tp/a.png Gt/a.png 2", 'label must be 0 or 1, got "2"; write one of these'),
        ("Tp/a.png Gt/a.png 0", 'label must be 1 where there is a mask, got 0 beside "Gt/a.png"; write None for the mask of a real image'),
        ("Tp/a.png,Gt/gone.png", 'there is no mask "Gt/gone.png"; put the file there, or name no mask'),
        ("Tp/a.png,", 'mask must be quoted text, not empty, got ""; put the value in quotes or leave the key out'),
        ("../a.png,None", 'image must stay in the list\'s folder, got "../a.png"; put the file under that folder and write its path from there'),
        ("Tp/a.png,None\nTp/a.png,None", 'image "Tp/a.png" stands on line 2 already; list each image once'),
    ],
)
def test_a_line_that_is_no_pair_is_refused(home, line, what):
    assert refusal(home, f"\n{line}\n") == f"list.txt:{2 + line.count(chr(10))}: {what}"


@pytest.mark.parametrize(
    "content, what",
    [
        ([["Tp/a.png"]], ':1: a pair must be [image, mask], got ["Tp/a.png"]; write "Negative" for the mask of a real image'),
        ([["Tp/a.png", "Gt/a.png"], [0, "Negative"]], ':2: image must be quoted text, not empty, got 0; put the value in quotes or leave the key out'),
        ([["Tp/a.png", None]], ":1: mask must be quoted text, not empty, got null; put the value in quotes or leave the key out"),
        ({"a": 1}, ': the list must be [[image, mask], ...], got {"a": 1}; write one pair for each image'),
        ("[[", ": the list must be JSON in UTF-8, got a mistake (Expecting value: line 1 column 3 (char 2)); write [[image, mask], ...]"),
        ([], ": a list must hold pairs, got none; write one image and its mask a line"),
    ],
)
def test_json_that_is_no_list_of_pairs_is_refused(home, content, what):
    assert refusal(home, content, "list.json") == f"list.json{what}"


def test_masks_of_the_other_polarity_are_turned(home):
    corpus = pairs(home, "Tp/a.png,Gt/a.png\n", mask_white="authentic")
    assert np.flatnonzero(corpus.open(lambda reference: None)(next(corpus.samples())).mask.all(1)).tolist() == [0, 2, 3]


def test_a_missing_list_is_refused(home):
    with pytest.raises(CorpusError) as caught:
        Pairs(path=home / "gone.txt").samples()
    assert str(caught.value) == f"{home}/gone.txt: the list cannot be opened (No such file or directory); give a list of pairs that exists"
