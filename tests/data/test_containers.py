"""What files give away about their class: the survey of formats, JPEG tables and sizes."""

import io

import numpy as np
import pytest
from PIL import Image

from redteam.data.containers import beyond_chance, container, jpeg_quality, survey, survey_of
from redteam.data.corpus import Container, Sample
from redteam.data.folder import Folder
from redteam.data.generated import CameraCorpus

PIXELS = np.random.default_rng(0).integers(0, 256, (24, 40, 3), dtype=np.uint8)


def opened(mode="RGB", **options):
    held = io.BytesIO()
    Image.fromarray(PIXELS).convert(mode).save(held, **options)
    return Image.open(held)


def listed(label, number=1, *, size=(64, 64), **fields):
    held = Container(**{"format": "PNG", "mode": "RGB", **fields})
    return [Sample(id=f"{label}-{i}-{size}-{fields}", label=label, group="g", height=size[0], width=size[1], content="c", container=held) for i in range(number)]


@pytest.mark.parametrize("quality", range(1, 101))
def test_the_quality_that_pillow_saved_with_is_read_back_from_the_tables(quality):
    found = container(opened(format="JPEG", quality=quality))
    assert (found.format, found.quality, found.standard) == ("JPEG", quality, True)


@pytest.mark.parametrize("subsampling, chroma", [(0, "4:4:4"), (1, "4:2:2"), (2, "4:2:0")])
def test_chroma_subsampling_is_read(subsampling, chroma):
    assert container(opened(format="JPEG", subsampling=subsampling)).chroma == chroma


def test_tables_of_another_maker_are_told_from_the_standards():
    found = container(opened(format="JPEG", qtables="web_high"))
    assert not found.standard and 80 <= found.quality <= 95


def test_grey_jpegs_and_other_formats_have_no_chroma_or_no_quality():
    assert container(opened("L", format="JPEG", quality=90)) == Container(format="JPEG", mode="L", quality=90, standard=True)
    assert container(opened(format="PNG")) == Container(format="PNG", mode="RGB")
    assert container(opened("P", format="PNG")).mode == "P"


def test_a_table_of_ones_is_quality_100():
    assert jpeg_quality([1] * 64) == (100, True)


def test_png_fakes_and_jpeg_photographs_are_noticed_with_figures():
    found = survey_of([*listed(0, 49, format="JPEG", quality=90, standard=True, chroma="4:2:0"), *listed(0, 1), *listed(1, 50)])
    assert found.real == {"JPEG": 49, "PNG": 1} and found.fake == {"PNG": 50}
    assert found.sentence() == (
        "file format alone tells real from fake images with balanced accuracy 0.99: real ones are JPEG (98 %), PNG (2 %), fake ones PNG. "
        "A detector may have learned that instead of forgeries; save both classes in one format, quality and size"
    )


def test_several_findings_come_with_the_strongest_first():
    real = [*listed(0, 40, format="JPEG", quality=96, standard=True, chroma="4:2:0"), *listed(0, 10, format="JPEG", quality=75, standard=True, chroma="4:2:0")]
    fake = listed(1, 50, format="JPEG", quality=75, standard=True, chroma="4:4:4")
    found = survey_of(real + fake)
    assert [(f.name, round(f.accuracy, 2)) for f in found.findings] == [("JPEG chroma subsampling", 1.0), ("JPEG quality", 0.9)]
    assert "JPEG chroma subsampling alone tells real from fake images with balanced accuracy 1.00 (JPEG quality 0.90): real ones are 4:2:0, fake ones 4:4:4." in found.sentence()


def test_tables_of_a_camera_count_as_another_quality():
    real = listed(0, 30, format="JPEG", quality=90, standard=False, chroma="4:2:0")
    fake = listed(1, 30, format="JPEG", quality=90, standard=True, chroma="4:2:0")
    assert "real ones are about 90, fake ones 90" in survey_of(real + fake).sentence()


def test_generated_images_of_one_size_beside_photographs_of_many_are_noticed():
    real = [sample for i in range(60) for sample in listed(0, size=(400 + 7 * i, 600 + 3 * i))]
    assert survey_of(real + listed(1, 60, size=(512, 512))).findings[0].name == "image size"


def test_sizes_that_never_repeat_are_told_apart_by_their_magnitude_or_not_at_all():
    large = [sample for i in range(40) for sample in listed(0, size=(2000 + i, 3000))]
    small = [sample for i in range(40) for sample in listed(1, size=(250 + i, 300))]
    alike = [sample for i in range(40) for sample in listed(1, size=(2000 + i, 3001))]
    assert survey_of(large + small).findings[0].accuracy == 1.0
    assert survey_of(large + alike).findings == ()


def test_balanced_corpora_of_one_class_and_tiny_ones_say_nothing():
    assert survey_of(listed(0, 50) + listed(1, 50)).sentence() is None
    assert survey_of(listed(1, 50)).sentence() is None and survey_of([]).sentence() is None
    assert survey_of(listed(0, 3, format="JPEG", quality=90, standard=True, chroma="4:2:0") + listed(1, 3)).sentence() is None  # three against three may be chance


def test_properties_that_have_nothing_to_do_with_the_class_rarely_raise_an_alarm():
    rng, alarms = np.random.default_rng(0), 0
    for _ in range(400):
        values = int(rng.integers(2, 30))
        sides = [dict(enumerate(np.bincount(rng.integers(0, values, rng.integers(5, 80))))) for _ in range(2)]
        alarms += beyond_chance(*sides) is not None
    assert alarms <= 8  # 2 %


def test_the_held_out_accuracy_is_that_of_a_rule_fitted_without_each_image():
    rng = np.random.default_rng(1)
    for _ in range(50):
        real, fake = rng.integers(0, 4, 30), np.minimum(rng.integers(0, 6, 40), 3)
        rights = []
        for own, other in ((real, fake), (fake, real)):
            right = 0.0
            for i, value in enumerate(own):
                mine, theirs = (np.delete(own, i) == value).mean(), (other == value).mean()
                right += 1.0 if mine > theirs else 0.5 if mine == theirs else 0.0
            rights.append(right / len(own))
        found = beyond_chance(dict(enumerate(np.bincount(real))), dict(enumerate(np.bincount(fake))))
        assert found is None or found == pytest.approx(np.mean(rights))
        assert found is not None or np.mean(rights) < 0.72  # 30 and 40 images carry anything above


def test_a_folder_is_surveyed_by_its_headers_and_broken_files_are_counted(tmp_path):
    for label, suffix in (("real", "jpg"), ("fake", "png")):
        (tmp_path / label).mkdir()
        for i in range(12):
            Image.fromarray(PIXELS).save(tmp_path / label / f"{i}.{suffix}")
    (tmp_path / "fake" / "x.png").write_bytes(b"junk")
    found = survey(Folder(path=tmp_path))
    assert (found.real, found.fake, found.unread) == ({"JPEG": 12}, {"PNG": 12}, 1)
    assert found.sentence().startswith("file format alone tells real from fake images with balanced accuracy 1.00")


def test_corpora_that_are_made_have_no_files_to_give_them_away():
    found = survey(CameraCorpus(limit=4, size=48))
    assert (found.real, found.fake, found.unread, found.sentence()) == ({}, {}, 0, None)
