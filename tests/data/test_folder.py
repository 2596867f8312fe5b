import os

import numpy as np
import pytest
from PIL import Image

from redteam.data.corpus import CorpusError, UnreadableImage
from redteam.data.folder import Folder
from redteam.data.pictures import file_sha256


def save(root, name, height=8, width=12):
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    seed = sum(name.encode())
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)).save(path)
    return path


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "data"
    for name in ("real/b.png", "real/a.png", "real/day/c.JPG", "fake/z.webp", "fake/y.bmp"):
        save(root, name)
    return root


def ids(root, **fields):
    return [sample.id for sample in Folder(path=root, **fields).samples()]


def refusal(root):
    with pytest.raises(CorpusError) as caught:
        Folder(path=root).samples()
    return str(caught.value)


def test_images_are_listed_by_path_with_label_size_and_hash(root):
    samples = list(Folder(path=root).samples())
    assert [sample.id for sample in samples] == ["fake/y.bmp", "fake/z.webp", "real/a.png", "real/b.png", "real/day/c.JPG"]
    assert [sample.label for sample in samples] == [1, 1, 0, 0, 0]
    assert {(sample.height, sample.width) for sample in samples} == {(8, 12)}
    assert all(sample.group == sample.id and sample.content == file_sha256(root / sample.id) for sample in samples)


def test_the_order_does_not_hang_on_the_order_of_the_disk(root, monkeypatch):
    before, walk = ids(root), os.walk

    def backwards(*arguments, **options):
        for here, folders, files in walk(*arguments, **options):
            folders.reverse()
            yield here, folders, files[::-1]

    monkeypatch.setattr(os, "walk", backwards)
    assert ids(root) == before


def test_a_sample_is_read_as_it_was_saved(root):
    corpus = Folder(path=root)
    read = corpus.open(lambda reference: None)
    for sample in corpus.samples():
        with Image.open(root / sample.id) as picture:
            np.testing.assert_array_equal(read(sample).pixels, np.asarray(picture))
        assert read(sample).mask is None
    assert not Folder.has_masks()


def test_hidden_files_and_other_extensions_are_skipped(root):
    save(root, "real/.hidden.png")
    save(root, "real/.cache/x.png")
    save(root, "notes/x.png")
    (root / "real" / "readme.txt").write_text("hello")
    assert ids(root) == ["fake/y.bmp", "fake/z.webp", "real/a.png", "real/b.png", "real/day/c.JPG"]


def test_a_real_and_a_fake_image_of_one_path_are_one_group(root):
    save(root, "fake/day/c.png")
    save(root, "fake/a.png")
    save(root, "fake/deep/a.png")
    groups = {sample.id: sample.group for sample in Folder(path=root).samples()}
    assert groups["fake/day/c.png"] == groups["real/day/c.JPG"] == "real/day/c.JPG"
    assert groups["fake/a.png"] == groups["real/a.png"] == "real/a.png"
    assert groups["fake/deep/a.png"] == "fake/deep/a.png"


def test_a_limit_does_not_change_a_group(root):
    save(root, "fake/b.png")
    (sample,) = (sample for sample in Folder(path=root, limit=2).samples() if sample.label)
    assert (sample.id, sample.group) == ("fake/b.png", "real/b.png")


def test_a_limit_takes_both_classes_in_turn(root):
    assert ids(root, limit=1) == ["real/a.png"]
    assert ids(root, limit=2) == ["fake/y.bmp", "real/a.png"]
    assert ids(root, limit=3) == ["fake/y.bmp", "real/a.png", "real/b.png"]
    assert ids(root, limit=5) == ids(root, limit=50) == ids(root)  # the fakes run out after two


def test_a_broken_image_is_listed_without_a_size_and_fails_alone(root):
    (root / "fake/y.bmp").write_bytes(b"junk")
    (root / "fake/empty.png").touch()
    corpus = Folder(path=root)
    read, samples = corpus.open(lambda reference: None), {sample.id: sample for sample in corpus.samples()}
    assert [(samples[name].height, samples[name].width) for name in ("fake/y.bmp", "fake/empty.png")] == [(0, 0), (0, 0)]
    with pytest.raises(UnreadableImage, match="^y.bmp: the file must be a PNG"):
        read(samples["fake/y.bmp"])
    assert read(samples["real/a.png"]).pixels.shape == (8, 12, 3)


def test_names_with_markup_are_untouched(root):
    name = 'real/<img src=x onerror="alert(1)">&amp;.png'
    save(root, name)
    assert name in ids(root)


def test_a_folder_named_like_an_image_is_a_folder(root):
    save(root, "real/x.png/inside.png")
    assert "real/x.png/inside.png" in ids(root) and "real/x.png" not in ids(root)


def test_a_missing_folder_is_refused(tmp_path):
    assert refusal(tmp_path / "gone") == f"{tmp_path}/gone: there is no such folder; give the folder that holds real/ and fake/"


def test_a_folder_without_the_two_classes_is_refused(tmp_path):
    repair = "sort the images into real/ and fake/"
    assert refusal(tmp_path) == f"{tmp_path}: the folder must hold real/ and fake/ (or 0_real/ and 1_fake/, or folders with such pairs), got none of them; {repair}"
    (tmp_path / "real").mkdir()
    assert refusal(tmp_path) == f"{tmp_path}: the folder must hold real/ and fake/, got no fake/; {repair}"


def test_a_folder_without_images_is_refused_but_one_class_may_be_empty(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "fake").mkdir()
    assert refusal(tmp_path) == (
        f"{tmp_path}: real/ and fake/ must hold images, got none; put in files that end in .png, .jpg, .jpeg, .webp, .bmp, .tif, .tiff"
    )
    save(tmp_path, "real/a.png")
    assert ids(tmp_path, limit=7) == ["real/a.png"]


def test_links_that_leave_the_folder_are_refused(root, tmp_path):
    outside = save(tmp_path, "outside/secret.png")
    for link, target in ((root / "real/link.png", outside), (root / "fake/linked", outside.parent), (root / "real/gone.png", tmp_path / "gone.png")):
        link.symlink_to(target)
        name = link.relative_to(root).as_posix()
        assert refusal(root) == f"{root}: {name} is a link that leaves the folder; copy what it points to into its place"
        link.unlink()


def test_a_class_that_is_a_link_out_of_the_folder_is_refused(tmp_path):
    save(tmp_path, "outside/a.png")
    save(tmp_path, "data/fake/b.png")
    (tmp_path / "data/real").symlink_to(tmp_path / "outside")
    assert "real is a link that leaves the folder;" in refusal(tmp_path / "data")


def test_links_inside_the_folder_may_name_files_but_not_folders(root):
    (root / "fake/same.png").symlink_to(root / "real/a.png")
    assert "fake/same.png" in ids(root)
    (root / "real/day/up").symlink_to(root / "real")
    assert refusal(root) == f"{root}: real/day/up is a link to a folder; replace it by the folder itself"


def test_the_folder_itself_may_be_a_link(root, tmp_path):
    (tmp_path / "alias").symlink_to(root)
    assert ids(tmp_path / "alias") == ids(root)


def test_a_file_name_that_is_not_utf8_is_refused(root):
    os.rename(root / "real/a.png", os.fsencode(root) + b"/real/\xff.png")
    assert refusal(root) == rf"{root}: the file name real/\udcff.png must be UTF-8; rename the file"


@pytest.fixture
def benchmark(tmp_path):
    root = tmp_path / "benchmark"
    for name in ("progan/cat/0_real/1.png", "progan/cat/1_fake/1.png", "progan/car/0_real/1.png", "progan/car/1_fake/2.png", "sd/0_real/1.png", "sd/1_fake/1.jpg", "sd/1_fake/7.png"):
        save(root, name)
    return root


def test_a_pair_may_be_called_0_real_and_1_fake(tmp_path):
    for name in ("0_real/a.png", "1_fake/a.jpg", "1_fake/deep/b.png"):
        save(tmp_path, name)
    assert [(s.id, s.label, s.group) for s in Folder(path=tmp_path).samples()] == [
        ("0_real/a.png", 0, "0_real/a.png"), ("1_fake/a.jpg", 1, "0_real/a.png"), ("1_fake/deep/b.png", 1, "1_fake/deep/b.png"),
    ]  # fmt: skip


def test_pairs_below_the_folder_are_found_and_groups_stay_within_a_generator(benchmark):
    samples = list(Folder(path=benchmark).samples())
    assert [(s.id, s.label) for s in samples] == [
        ("progan/car/0_real/1.png", 0), ("progan/car/1_fake/2.png", 1), ("progan/cat/0_real/1.png", 0), ("progan/cat/1_fake/1.png", 1),
        ("sd/0_real/1.png", 0), ("sd/1_fake/1.jpg", 1), ("sd/1_fake/7.png", 1),
    ]  # fmt: skip
    groups = {s.id: s.group for s in samples}
    assert groups["progan/cat/1_fake/1.png"] == "progan/cat/0_real/1.png" and groups["sd/1_fake/1.jpg"] == "sd/0_real/1.png"
    assert len(set(groups.values())) == 5
    assert Folder(path=benchmark).open(lambda reference: None)(samples[0]).pixels.shape == (8, 12, 3)


def test_real_and_fake_are_found_below_the_folder_too(tmp_path):
    for name in ("test/people/real/a.png", "test/people/fake/b.png"):
        save(tmp_path, name)
    assert ids(tmp_path) == ["test/people/fake/b.png", "test/people/real/a.png"]


def test_a_limit_takes_from_each_generator_in_turn(benchmark):
    assert ids(benchmark, limit=2) == ["progan/car/0_real/1.png", "progan/car/1_fake/2.png"]
    assert ids(benchmark, limit=6) == [name for name in ids(benchmark) if name != "sd/1_fake/7.png"]


def test_a_class_folder_inside_a_class_folder_is_no_class_folder(tmp_path):
    for name in ("g/0_real/a.png", "g/1_fake/0_real/b.png"):
        save(tmp_path, name)
    assert [(s.id, s.label) for s in Folder(path=tmp_path).samples()] == [("g/0_real/a.png", 0), ("g/1_fake/0_real/b.png", 1)]


def test_both_pairs_in_one_place_are_refused(root):
    save(root, "0_real/a.png")
    assert refusal(root) == f"{root}: the folder must hold one pair, got real/, fake/, 0_real/; leave real/ and fake/ or 0_real/ and 1_fake/"


def test_both_kinds_of_pairs_below_one_folder_are_refused(benchmark):
    save(benchmark, "own/real/a.png")
    save(benchmark, "own/fake/a.png")
    assert refusal(benchmark) == f"{benchmark}: all pairs must have the same names, got real/ and fake/ beside 0_real/ and 1_fake/; rename one kind"


def test_half_a_pair_below_the_folder_is_refused(benchmark):
    save(benchmark, "dalle/1_fake/a.png")
    assert refusal(benchmark) == f"{benchmark}: dalle/ must hold 0_real/ and 1_fake/, got no 0_real/; sort the images into 0_real/ and 1_fake/"


def test_an_image_outside_of_all_pairs_is_refused(benchmark):
    save(benchmark, "progan/dog/1.png")
    assert refusal(benchmark) == f"{benchmark}: an image must lie in a folder of a pair, got progan/dog/1.png outside; move it or take it out"
    save(benchmark, "overview.png")
    assert "got overview.png and 1 more outside;" in refusal(benchmark)


def test_pairs_without_images_are_refused(tmp_path):
    for name in ("g/0_real", "g/1_fake"):
        (tmp_path / name).mkdir(parents=True)
    assert refusal(tmp_path).startswith(f"{tmp_path}: 0_real/ and 1_fake/ must hold images, got none;")


def test_links_below_the_folder_are_refused_while_pairs_are_looked_for(benchmark, tmp_path):
    (benchmark / "more").symlink_to(tmp_path)
    assert refusal(benchmark) == f"{benchmark}: more is a link that leaves the folder; copy what it points to into its place"
