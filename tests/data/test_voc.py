"""PASCAL VOC's layout: the mask of the same name, the label from the mask, lists in either place."""

import numpy as np
import pytest
from PIL import Image

from redteam.data.corpus import CorpusError
from redteam.data.voc import VOC


def mask(value, rows=1):
    array = np.zeros((4, 6), np.uint8)
    array[:rows] = value
    return array


def put(root, name, levels, suffix=".jpg", *, palette=False):
    for folder, array, ending in (("JPEGImages", np.full((4, 6, 3), 9, np.uint8), suffix), ("SegmentationClass", levels, ".png")):
        path = (root / folder / name).with_suffix(ending)
        path.parent.mkdir(parents=True, exist_ok=True)
        picture = Image.fromarray(array)
        if palette and folder == "SegmentationClass":
            picture = picture.copy()
            picture.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0])  # class 1 is dark red, as VOC paints it
        picture.save(path)


@pytest.fixture
def root(tmp_path):
    put(tmp_path, "b", mask(1))
    put(tmp_path, "a", mask(0), ".png")
    put(tmp_path, "day/c", mask(1, rows=2), palette=True)
    (tmp_path / "test.txt").write_text("day/c\nb\n")
    (tmp_path / "ImageSets" / "Segmentation").mkdir(parents=True)
    (tmp_path / "ImageSets" / "Segmentation" / "train.txt").write_text("\ufeffa\r\n\r\n", encoding="utf-8")
    return tmp_path


def listed(root, **fields):
    return [(s.id, s.label) for s in VOC(path=root, **fields).samples()]


def refusal(root, **fields):
    with pytest.raises(CorpusError) as caught:
        VOC(path=root, **fields).samples()
    return str(caught.value)


def test_an_image_is_real_where_its_mask_is_0_everywhere(root):
    assert listed(root) == [("JPEGImages/a.png", 0), ("JPEGImages/b.jpg", 1), ("JPEGImages/day/c.jpg", 1)]


def test_lists_are_read_in_their_order_from_either_place(root):
    assert listed(root, split="test") == [("JPEGImages/day/c.jpg", 1), ("JPEGImages/b.jpg", 1)]
    assert listed(root, split="test", limit=1) == [("JPEGImages/day/c.jpg", 1)]
    assert listed(root, split="train") == [("JPEGImages/a.png", 0)]


def test_names_may_carry_their_extension(root):
    (root / "test.txt").write_text("b.jpg\n")
    assert listed(root, split="test") == [("JPEGImages/b.jpg", 1)]
    (root / "test.txt").write_text("b.png\n")
    assert "there must be one image \"b.png\" in JPEGImages/, got none" in refusal(root, split="test")


def test_class_numbers_become_black_and_white_whatever_their_palette(root):
    corpus = VOC(path=root)
    masks = [corpus.open(lambda reference: None)(s).mask for s in corpus.samples()]
    assert [set(np.unique(m)) for m in masks] == [{0}, {0, 255}, {0, 255}] and [int((m > 0).sum()) for m in masks] == [0, 6, 12]


def test_classes_say_which_numbers_mean_forged_and_255_alone_does_too(root):
    put(root, "b", mask(255))
    assert dict(listed(root))["JPEGImages/b.jpg"] == 1
    levels = mask(1)
    levels[3] = 255
    put(root, "b", levels)
    where = "the mask must be readable, since it holds the label: b.png: class 255 is the border in VOC but may also mean forged, got it beside 1"
    assert refusal(root) == f"{root}: {where}; name the forged classes with classes: [...]"
    corpus = VOC(path=root, classes=(1,), split="test")
    (_, sample) = corpus.samples()
    assert (corpus.open(lambda reference: None)(sample).mask > 0).sum() == 6
    assert dict(listed(root, classes=(2,)))["JPEGImages/b.jpg"] == 0


def test_defects_name_the_list_and_the_line(root):
    (root / "SegmentationClass/b.png").unlink()
    put(root, "a", mask(0), ".jpg")
    (root / "SegmentationClass/day/c.png").write_bytes(b"junk")
    (root / "test.txt").write_text("b\n\ngone\na\nday/c\n../b\n")
    assert refusal(root, split="test").split("\n") == [
        'test.txt:1: there is no mask "SegmentationClass/b.png"; put the file there, or name no mask',
        'test.txt:3: there must be one image "gone" in JPEGImages/, got none; correct the name or the files',
        'test.txt:4: there must be one image "a" in JPEGImages/, got JPEGImages/a.jpg, JPEGImages/a.png; correct the name or the files',
        "test.txt:5: the mask must be readable, since it holds the label: c.png: the file must be a PNG, JPEG, WebP, BMP or TIFF image, got something else; convert it to PNG",
        'test.txt:6: there must be one image "../b" in JPEGImages/, got none; correct the name or the files',
    ]


def test_one_name_twice_is_refused(root):
    (root / "test.txt").write_text("b\nday/c\nb\n")
    assert refusal(root, split="test") == 'test.txt: "JPEGImages/b" is listed 2 times; list each image once'


def test_links_that_leave_the_folder_are_refused(root, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside") / "m.png"
    Image.fromarray(mask(1)).save(outside)
    (root / "SegmentationClass/b.png").unlink()
    (root / "SegmentationClass/b.png").symlink_to(outside)
    assert 'mask "SegmentationClass/b.png" is a link that leaves the folder;' in refusal(root)


def test_a_split_in_both_places_or_in_none_is_refused(root):
    both = "split {} must be one file, {}.txt or ImageSets/Segmentation/{}.txt, got {}; {}"
    assert refusal(root, split="val") == f"{root}: {both.format(chr(34) + 'val' + chr(34), 'val', 'val', 'neither', 'put it there')}"
    (root / "train.txt").write_text("a\n")
    assert refusal(root, split="train").endswith("got both; take one away")


def test_another_layout_is_refused(tmp_path):
    assert refusal(tmp_path) == f"{tmp_path}: the folder must hold JPEGImages/ and SegmentationClass/, got no JPEGImages/ and no SegmentationClass/; give the folder above them"
    for name in ("JPEGImages", "SegmentationClass"):
        (tmp_path / name).mkdir()
    assert refusal(tmp_path) == f"{tmp_path}: JPEGImages/ and the list must hold images, got none; name some"


def test_a_mask_of_another_size_fails_that_image_alone(root):
    Image.fromarray(np.ones((2, 2), np.uint8)).save(root / "SegmentationClass/b.png")
    corpus = VOC(path=root, split="test")
    read, (good, bad) = corpus.open(lambda reference: None), corpus.samples()
    assert read(good).mask.any()
    with pytest.raises(Exception, match="^b.png: a mask must be as large as its image, 4 high and 6 wide, got 2 high and 2 wide; make the mask from this image$"):
        read(bad)
