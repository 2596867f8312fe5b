import json

import numpy as np
import pytest
from PIL import Image

from redteam.data.corpus import CorpusError, UnreadableImage
from redteam.data.manifest import Manifest
from redteam.data.pictures import file_sha256

MAPPED = "write one of these, or say what it means with labels: {real: [...], fake: [...]}"
QUOTED = "put the value in quotes or leave the key out"
UNDER = "put the file under that folder and write its path from there"


def save(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)
    return path


@pytest.fixture
def home(tmp_path):
    home, rng = tmp_path / "home", np.random.default_rng(0)
    for name in ("a.png", "b.png", "sub/c.png"):
        save(home / name, rng.integers(0, 256, (8, 12, 3), dtype=np.uint8))
    mask = np.zeros((8, 12), np.uint8)
    mask[2:4, 5:9] = 255
    save(home / "m.png", mask)
    return home


def manifest(home, *rows, **fields):
    path = home / "test.jsonl"
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows), encoding="utf-8")
    return Manifest(path=path, **fields)


def refusal(home, *rows, **fields):
    with pytest.raises(CorpusError) as caught:
        manifest(home, *rows, **fields).samples()
    return str(caught.value)


def test_rows_come_in_order_with_defaults_filled_in(home):
    rows = [
        {"image": "sub/c.png", "label": "fake", "id": "third", "group": "g", "mask": "m.png", "x_note": {"any": [1]}},
        {"image": "a.png", "label": 0, "id": None, "mask": None, "group": None, "split": None},
        {"image": "b.png", "label": "real", "id": "second"},
        {"image": "b.png", "label": 1, "id": "again"},
    ]
    samples = list(manifest(home, *rows).samples())
    assert [(s.id, s.label, s.group) for s in samples] == [("third", 1, "g"), ("a.png", 0, "a.png"), ("second", 0, "second"), ("again", 1, "again")]
    assert {(s.height, s.width) for s in samples} == {(8, 12)}
    assert samples[1].content == file_sha256(home / "a.png")
    assert samples[0].content == f"{file_sha256(home / 'sub/c.png')}+{file_sha256(home / 'm.png')}"


def test_a_sample_is_read_with_its_mask(home):
    corpus = manifest(home, {"image": "a.png", "label": 1, "mask": "m.png"}, {"image": "b.png", "label": 1})
    read = corpus.open(lambda reference: None)
    with_mask, without = (read(sample) for sample in corpus.samples())
    assert with_mask.pixels.shape == (8, 12, 3) and without.mask is None
    assert (with_mask.mask == 255).sum() == 8 and (with_mask.mask[2:4, 5:9] == 255).all()
    assert Manifest.has_masks()


def test_a_sample_that_went_through_json_is_read_too(home):
    corpus = manifest(home, {"image": "a.png", "label": 1, "mask": "m.png"})
    (sample,) = corpus.samples()
    object.__setattr__(sample, "source", json.loads(json.dumps(sample.source)))
    assert corpus.open(lambda reference: None)(sample).mask.any()


def test_a_split_takes_its_rows_and_a_limit_the_first_of_them(home):
    rows = [{"image": "a.png", "label": i % 2, "id": f"{i}", "split": "test" if i % 3 else "train"} for i in range(9)]
    assert [s.id for s in manifest(home, *rows, split="test").samples()] == ["1", "2", "4", "5", "7", "8"]
    assert [s.id for s in manifest(home, *rows, split="test", limit=4).samples()] == ["1", "2", "4", "5"]
    assert len(list(manifest(home, *rows).samples())) == 9


def test_a_split_without_rows_names_those_that_there_are(home):
    row = {"image": "a.png", "label": 1}
    assert refusal(home, {**row, "split": "test"}, {**row, "id": "2", "split": "dev"}, split="tset") == 'test.jsonl: no row has split "tset"; the splits are "dev", "test"'
    assert refusal(home, row, split="test") == 'test.jsonl: no row has split "test"; the splits are none, no row has the key'


def test_a_byte_order_mark_blank_lines_and_carriage_returns_are_let_pass(home):
    path = home / "dos.jsonl"
    path.write_bytes(b'\xef\xbb\xbf\r\n{"image": "a.png", "label": 1}\r\n  \r\n\r\n{"image": "b.png", "label": "oops"}')
    with pytest.raises(CorpusError, match="^dos.jsonl:5: label must be"):
        Manifest(path=path).samples()
    path.write_bytes(b'\xef\xbb\xbf{"image": "a.png", "label": 1}\r\n\r\n')
    assert [s.id for s in Manifest(path=path).samples()] == ["a.png"]


@pytest.mark.parametrize("label, shown", [(2, "2"), (-1, "-1"), (1.0, "1.0"), (True, "true"), ("1", '"1"'), ("Fake", '"Fake"'), ([1], "[1]"), ("", '""')])
def test_other_labels_are_refused(home, label, shown):
    assert refusal(home, {"image": "a.png", "label": label}) == (
        f'test.jsonl:1: label must be 0, 1, "real" or "fake", got {shown}; {MAPPED}\ntest.jsonl: the labels are {shown} (1 row)'
    )


def test_missing_and_unknown_keys_are_refused(home):
    assert refusal(home, {"label": 1}) == "test.jsonl:1: a row must have the key image, got none; add it"
    assert refusal(home, {"image": "a.png", "label": None}) == "test.jsonl:1: a row must have the key label, got none; add it"
    assert refusal(home, {"image": "a.png", "label": 1, "maks": "m.png"}) == (
        'test.jsonl:1: unknown key "maks"; the keys are image, label, id, mask, group, split, and keys that start with x_ are ignored'
    )


def test_one_id_twice_is_refused_with_both_lines(home):
    row = {"image": "a.png", "label": 1}
    assert refusal(home, row, "", {"image": "b.png", "label": 0, "id": "a.png", "split": "other"}) == (
        'test.jsonl:3: id "a.png" stands on line 1 already; ids must be unique, so give one of the rows another'
    )


@pytest.mark.parametrize(
    "line, what",
    [
        ('{"image": "a.png", "label": NaN}', "NaN is no JSON value; write null or leave the key out"),
        ('{"image": "a.png", "label": 1, "x_score": -Infinity}', "-Infinity is no JSON value; write null or leave the key out"),
        ('{"image": "a.png", "label": 0, "label": 1}', 'key "label" stands twice in one row; leave one out'),
        ('{"image": "a.png", "label": 1', "a row must be one JSON object, got a mistake at column 30 (Expecting ',' delimiter); write one object a line"),
        ('{"image": "a.png"} {}', "a row must be one JSON object, got a mistake at column 20 (Extra data); write one object a line"),
        ('["a.png", 1]', 'a row must be a JSON object, got ["a.png", 1]; write {"image": ..., "label": ...}'),
        ("null", 'a row must be a JSON object, got null; write {"image": ..., "label": ...}'),
        ("[" * 100_000, "a row must be a flat JSON object, got one that cannot be read; write one object a line"),
        ('{"label": ' + "1" * 5000 + "}", "a row must be a flat JSON object, got one that cannot be read; write one object a line"),
        ('{"image": "a.png", "label": 1, "id": 17}', f"id must be quoted text, not empty, got 17; {QUOTED}"),
        ('{"image": "", "label": 1}', f'image must be quoted text, not empty, got ""; {QUOTED}'),
        ('{"image": "a\\u0000.png", "label": 1}', 'image must be free of NUL and of half characters, got "a\\u0000.png"; correct the name'),
        ('{"image": "\\ud800.png", "label": 1}', 'image must be free of NUL and of half characters, got "\\ud800.png"; correct the name'),
    ],
)
def test_what_is_no_row_is_refused(home, line, what):
    assert refusal(home, line) == f"test.jsonl:1: {what}"


def test_text_that_is_not_utf8_is_refused(home):
    path = home / "test.jsonl"
    path.write_bytes(b'{"image": "a.png", "label": 1}\n{"image": "caf\xe9.png", "label": 1}\n')
    with pytest.raises(CorpusError) as caught:
        Manifest(path=path).samples()
    assert str(caught.value) == "test.jsonl:2: the text must be UTF-8, got byte 0xe9 at column 15; save the list as UTF-8"


@pytest.mark.parametrize("key", ["image", "mask"])
def test_paths_that_leave_the_folder_are_refused(home, key):
    row = {"image": "a.png", "label": 1, "id": "1"}
    for path in ("/etc/passwd", r"C:\secret.png"):
        assert refusal(home, {**row, key: path}) == f"test.jsonl:1: {key} must be relative to the manifest's folder, got {json.dumps(path)}; {UNDER}"
    for path in ("../x.png", "sub/../../x.png", ".."):
        assert refusal(home, {**row, key: path}) == f'test.jsonl:1: {key} must stay in the manifest\'s folder, got "{path}"; {UNDER}'


@pytest.mark.parametrize("key", ["image", "mask"])
def test_links_that_leave_the_folder_are_refused(home, tmp_path, key):
    save(tmp_path / "outside/secret.png", np.zeros((8, 12), np.uint8))
    (home / "link.png").symlink_to(tmp_path / "outside/secret.png")
    (home / "linked").symlink_to(tmp_path / "outside")
    for path in ("link.png", "linked/secret.png"):
        assert refusal(home, {"image": "a.png", "label": 1, key: path}) == (
            f'test.jsonl:1: {key} "{path}" is a link that leaves the manifest\'s folder; copy the file into the folder'
        )


def test_dots_and_links_that_stay_in_the_folder_are_let_pass(home):
    (home / "link.png").symlink_to(home / "a.png")
    samples = manifest(home, {"image": "sub/../a.png", "label": 1}, {"image": "link.png", "label": 1}).samples()
    assert len({sample.content for sample in samples}) == 1


def test_a_missing_mask_is_refused_but_only_in_the_split_that_is_read(home):
    rows = [{"image": "a.png", "label": 1, "mask": "gone.png", "split": "train"}, {"image": "b.png", "label": 1, "split": "test"}]
    assert refusal(home, *rows) == 'test.jsonl:1: there is no mask "gone.png"; put the file there, or name no mask'
    assert [s.id for s in manifest(home, *rows, split="test").samples()] == ["b.png"]


def test_a_missing_or_broken_image_is_listed_and_fails_alone(home):
    (home / "junk.png").write_bytes(b"junk")
    (home / "folder.png").mkdir()
    rows = [{"image": name, "label": 1} for name in ("gone.png", "junk.png", "folder.png", "a.png")]
    corpus = manifest(home, *rows)
    samples, read = list(corpus.samples()), corpus.open(lambda reference: None)
    assert [(s.height, s.width) for s in samples] == [(0, 0), (0, 0), (0, 0), (8, 12)]
    assert [s.content for s in samples] == ["missing", file_sha256(home / "junk.png"), "unreadable", file_sha256(home / "a.png")]
    for sample in samples[:3]:
        with pytest.raises(UnreadableImage):
            read(sample)
    assert read(samples[3]).pixels.shape == (8, 12, 3)


def test_a_mask_of_another_size_fails_that_image_alone(home):
    save(home / "small.png", np.full((4, 6), 255, np.uint8))
    corpus = manifest(home, {"image": "a.png", "label": 1, "mask": "small.png"})
    (sample,) = corpus.samples()
    with pytest.raises(UnreadableImage) as caught:
        corpus.open(lambda reference: None)(sample)
    assert str(caught.value) == "small.png: a mask must be as large as its image, 8 high and 12 wide, got 4 high and 6 wide; make the mask from this image"


def test_a_real_image_with_a_forged_region_fails(home):
    save(home / "black.png", np.zeros((8, 12), np.uint8))
    corpus = manifest(home, {"image": "a.png", "label": "real", "mask": "m.png"}, {"image": "b.png", "label": "real", "mask": "black.png"})
    read, (wrong, right) = corpus.open(lambda reference: None), corpus.samples()
    with pytest.raises(UnreadableImage) as caught:
        read(wrong)
    assert str(caught.value) == "a.png: the mask of a real image must be black, m.png is not; correct the label or the mask"
    assert not read(right).mask.any()


def test_all_defects_come_in_one_message_ten_spelled_out(home):
    rows = [{"image": "a.png", "label": 1}, {"label": 3, "foo": 1}, *({"image": "../x.png", "label": 1} for _ in range(12))]
    lines = refusal(home, *rows).split("\n")
    assert len(lines) == 12 and lines[10:] == ["and 5 more", "test.jsonl: the labels are 1 (13 rows), 3 (1 row)"]
    assert [line.split(" ")[0] for line in lines[:4]] == ["test.jsonl:2:", "test.jsonl:2:", "test.jsonl:2:", "test.jsonl:3:"]


def test_long_values_are_cut_in_messages(home):
    message = refusal(home, {"image": "a.png", "label": "x" * 10_000})
    assert message == f'test.jsonl:1: label must be 0, 1, "real" or "fake", got "{"x" * 76}...; {MAPPED}\ntest.jsonl: the labels are "{"x" * 76}... (1 row)'


def test_names_with_markup_are_untouched(home):
    name = '<img src=x onerror="alert(1)">.png'
    (home / "a.png").rename(home / name)
    (sample,) = manifest(home, {"image": name, "label": 1, "group": "<b>"}).samples()
    assert (sample.id, sample.group, sample.height) == (name, "<b>", 8)


def test_an_empty_or_missing_manifest_is_refused(home):
    assert refusal(home, "", "") == 'test.jsonl: a manifest must have rows, got none; write one {"image": ..., "label": ...} a line'
    with pytest.raises(CorpusError) as caught:
        Manifest(path=home / "gone.jsonl").samples()
    assert str(caught.value) == f"{home}/gone.jsonl: the list cannot be opened (No such file or directory); give a JSON Lines or CSV file that exists"
    with pytest.raises(CorpusError, match="Is a directory"):
        Manifest(path=home).samples()


def test_the_parameters_say_what_they_are():
    documented = {parameter.name: (parameter.required, parameter.doc) for parameter in Manifest.parameters()}
    assert documented["path"] == (True, "the manifest, in UTF-8: CSV where its name ends in .csv, else JSON Lines")
    assert documented["split"] == (False, "only the rows of this split; all rows when not given")
