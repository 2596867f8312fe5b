"""Foreign lists: CSV tables, columns of other names, labels of other meanings, masks of the other polarity."""

import csv
import json

import numpy as np
import pytest
from PIL import Image

from redteam.data.corpus import CorpusError, UnreadableImage
from redteam.data.labels import Labels
from redteam.data.manifest import Manifest
from redteam.data.rows import Columns


@pytest.fixture
def home(tmp_path):
    for name in ("a.png", "b.png", "c, d.png", 'e "f".png'):
        Image.fromarray(np.full((4, 6, 3), 7, np.uint8)).save(tmp_path / name)
    mask = np.zeros((4, 6), np.uint8)
    mask[1] = 255
    Image.fromarray(mask).save(tmp_path / "m.png")
    return tmp_path


def table(home, text, **fields):
    path = home / "test.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return Manifest(path=path, **fields)


def listed(home, text, **fields):
    return [(s.id, s.label, s.group) for s in table(home, text, **fields).samples()]


def refusal(home, text, **fields):
    with pytest.raises(CorpusError) as caught:
        table(home, text, **fields).samples()
    return str(caught.value)


def test_a_table_gives_what_json_lines_give(home):
    rows = [
        {"image": "c, d.png", "label": "fake", "id": "one", "mask": "m.png", "group": "g", "split": "test"},
        {"image": 'e "f".png', "label": "0", "id": "two\nlines", "mask": "", "group": "", "split": "test"},
        {"image": "a.png", "label": "1", "id": "", "mask": "", "group": "", "split": "train"},
    ]
    with open(home / "test.csv", "w", newline="", encoding="utf-8-sig") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    lines = [{key: value or None for key, value in row.items()} | {"label": {"0": 0, "1": 1}.get(row["label"], row["label"])} for row in rows]
    (home / "test.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    for split in (None, "test"):
        samples = [list(Manifest(path=home / name, split=split).samples()) for name in ("test.csv", "test.jsonl")]
        assert samples[0] == samples[1] and len(samples[0]) == (2 if split else 3)


def test_blank_lines_line_ends_and_other_columns_do_not_matter(home):
    text = "\r\nx_note,label,image\r\n,,\r\n \r\nhello,1,a.png\r\n,real,b.png"
    assert listed(home, text) == [("a.png", 1, "a.png"), ("b.png", 0, "b.png")]
    assert listed(home, text.replace("\r\n", "\n")) == listed(home, text) == listed(home, "\ufeff" + text.lstrip())


def test_defects_stand_at_the_line_where_their_row_starts(home):
    text = 'image,label,id\n"a.png",2,"first\nof two"\na.png,1\n"b.png",1,x\n../x.png,1,x\n'
    assert refusal(home, text).split("\n") == [
        'test.csv:2: label must be 0, 1, "real" or "fake", got "2"; write one of these, or say what it means with labels: {real: [...], fake: [...]}',
        "test.csv:4: a row must have as many fields as the header, 3, got 2; put a field that holds a comma in quotes",
        'test.csv:6: image must stay in the manifest\'s folder, got "../x.png"; put the file under that folder and write its path from there',
        'test.csv: the labels are 1 (2 rows), "2" (1 row)',
    ]


@pytest.mark.parametrize(
    "text, what",
    [
        ("image,lable\na.png,1\n", ['1: the header must have the column label, got "image", "lable"; name the right one with columns: {label: ...}',
                                   '1: unknown column "lable"; the columns are image, label, id, mask, group, split, those that start with x_ are ignored, and columns: {image: ...} reads foreign lists']),
        ("image,label,label\na.png,1,0\n", ['1: column "label" stands 2 times in the header; rename all but one']),
        ('image,label\n"a.png,1\n', ["2: a row must be separated by commas, its quotes closed, got a mistake (unexpected end of data); write a quote inside a quoted field twice"]),
        ('image,label\n"a"b.png,1\n', ["2: a row must be separated by commas, its quotes closed, got a mistake (',' expected after '\"'); write a quote inside a quoted field twice"]),
        ("image,label\n,1\n", ["2: a row must have the key image, got none; add it"]),
        ("image,label\n/etc/passwd,1\n", ['2: image must be relative to the manifest\'s folder, got "/etc/passwd"; put the file under that folder and write its path from there']),
    ],
)  # fmt: skip
def test_what_is_no_table_is_refused(home, text, what):
    assert refusal(home, text).split("\n") == [f"test.csv:{line}" for line in what]


def test_another_separator_is_named(home):
    assert refusal(home, "image;label\na.png;1\n").startswith('test.csv:1: columns must be separated by commas, got ";"; save the table with commas\n')
    assert 'got "\\t"' in refusal(home, "image\tlabel\na.png\t1\n")


def test_a_table_that_is_not_utf8_or_empty_is_refused(home):
    assert refusal(home, b"image,label\ncaf\xe9.png,1\n") == "test.csv:2: the text must be UTF-8, got byte 0xe9 at column 4; save the list as UTF-8"
    assert refusal(home, "image,label\n") == refusal(home, "") == 'test.csv: a manifest must have rows, got none; write one {"image": ..., "label": ...} a line'


def test_columns_say_what_a_foreign_table_calls_them_and_the_rest_is_ignored(home):
    text = ",file,is_fake,width,source\n0,a.png,1,640,s\n1,b.png,0,480,s\n"
    columns = Columns(image="file", label="is_fake", group="source")
    assert listed(home, text, columns=columns) == [("a.png", 1, "s"), ("b.png", 0, "s")]
    assert refusal(home, text, columns=Columns(image="path", label="is_fake")) == (
        'test.csv:1: the header must have the column path (for image), got "", "file", "is_fake", "width", "source"; name the right one with columns: {image: ...}'
    )


def test_columns_rename_the_keys_of_json_lines_too(home):
    path = home / "foreign.jsonl"
    path.write_text('{"path": "a.png", "y": 1, "extra": [1]}\n{"path": "b.png"}\n')
    with pytest.raises(CorpusError) as caught:
        Manifest(path=path, columns=Columns(image="path", label="y")).samples()
    assert str(caught.value) == "foreign.jsonl:2: a row must have the key y, got none; add it"
    path.write_text('{"path": "a.png", "y": 1, "extra": [1]}\n')
    assert [s.id for s in Manifest(path=path, columns=Columns(image="path", label="y")).samples()] == ["a.png"]


def test_labels_of_three_classes_are_refused_with_what_was_found_until_each_is_named(home):
    rows = "".join(f"{name},{label}\n" for name, label in (("a.png", 0), ("b.png", 2), ("m.png", 2)))
    text = f"image,label\n{rows}"
    assert refusal(home, text).split("\n")[-1] == 'test.csv: the labels are "2" (2 rows), 0 (1 row)'
    assert listed(home, text, labels=Labels(real=(0,), fake=(1, 2))) == [("a.png", 0, "a.png"), ("b.png", 1, "b.png"), ("m.png", 1, "m.png")]
    assert listed(home, text, labels=Labels(real=("0",), fake=("1",), skip=(2,))) == [("a.png", 0, "a.png")]
    assert refusal(home, text, labels=Labels(real=(0,), fake=(1,))).split("\n") == [
        *(f'test.csv:{line}: label must be one that labels names, 0, 1, got "2"; add it to real, fake or skip' for line in (3, 4)),
        'test.csv: the labels are "2" (2 rows), "0" (1 row)',
    ]
    assert refusal(home, text, labels=Labels(skip=(0, 2))) == 'test.csv: labels.skip must leave some rows, got none; the labels are "2" (2 rows), "0" (1 row)'


def test_true_and_fractions_are_no_labels_even_where_labels_are_given(home):
    path = home / "odd.jsonl"
    path.write_text('{"image": "a.png", "label": true}\n{"image": "b.png", "label": 1.0}\n')
    with pytest.raises(CorpusError, match="got true; .*\n.*got 1.0; "):
        Manifest(path=path, labels=Labels(fake=(1, "true", "1.0"))).samples()


def test_a_label_value_that_is_named_twice_is_refused():
    with pytest.raises(ValueError, match="^labels: each value must be named once, got 1 twice; leave one out$"):
        Labels(real=(0, 1), fake=("1",))


def test_masks_may_be_white_where_the_image_is_authentic(home):
    text = "image,label,mask\na.png,1,m.png\n"
    usual, turned = (table(home, text, mask_white=white) for white in ("forged", "authentic"))
    masks = [corpus.open(lambda reference: None)(next(corpus.samples())).mask for corpus in (usual, turned)]
    assert masks[0].dtype == masks[1].dtype == np.uint8
    np.testing.assert_array_equal(masks[0], 255 - masks[1])
    assert (masks[0][1] == 255).all() and not masks[0][0].any()


def test_a_real_image_without_a_mask_has_a_black_one_and_a_fake_one_has_none(home):
    corpus = table(home, "image,label\na.png,0\nb.png,1\n")
    real, fake = map(corpus.open(lambda reference: None), corpus.samples())
    assert real.mask.shape == (4, 6) and not real.mask.any() and fake.mask is None


def test_paths_may_start_at_another_folder_which_they_must_not_leave(home, tmp_path):
    lists = tmp_path / "lists"
    lists.mkdir()
    (lists / "test.csv").write_text("image,label,mask\na.png,1,m.png\n")
    corpus = Manifest(path=lists / "test.csv", root=home)
    (sample,) = corpus.samples()
    assert sample.height == 4 and corpus.open(lambda reference: None)(sample).mask.any()
    (lists / "test.csv").write_text("image,label\n../a.png,1\n")
    with pytest.raises(CorpusError) as caught:
        corpus.samples()
    assert str(caught.value) == f'test.csv:2: image must stay in root ({home}), got "../a.png"; put the file under that folder and write its path from there'


def test_a_mask_beside_a_picture_that_exif_turns_must_be_turned_too(home):
    pixels = np.random.default_rng(0).integers(0, 256, (8, 12, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6  # stored lying, shown standing: 12 high, 8 wide
    Image.fromarray(pixels).save(home / "phone.jpg", exif=exif, quality=95)
    mask = np.zeros((12, 8), np.uint8)
    mask[:3] = 255
    Image.fromarray(mask).save(home / "standing.png")
    Image.fromarray(mask.T).save(home / "lying.png")
    corpus = table(home, "image,label,mask,id\nphone.jpg,1,standing.png,1\nphone.jpg,1,lying.png,2\n")
    read, (good, bad) = corpus.open(lambda reference: None), corpus.samples()
    assert (good.height, good.width) == (12, 8)
    np.testing.assert_array_equal(read(good).mask, mask)
    with pytest.raises(UnreadableImage) as caught:
        read(bad)
    assert str(caught.value) == "lying.png: a mask must be as large as its image, 12 high and 8 wide, got 8 high and 12 wide; if EXIF turns the image, turn the mask too"
