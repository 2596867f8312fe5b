"""Corpora and forgeries as a scenario writes them."""

import numpy as np
import pytest
from PIL import Image

from redteam.data.labels import Labels
from redteam.data.rows import Columns
from redteam.scenario.errors import ScenarioError
from redteam.scenario.load import load

TEXT = """\
schema: redteam/v1
name: data
data:
  eval: {DATA}
targets:
  - {id: mine, kind: linear}
attacks:
  - {id: jpeg, kind: jpeg}
"""


@pytest.fixture
def scenario(tmp_path):
    def read(data, **options):
        (tmp_path / "data.yaml").write_text(TEXT.replace("{DATA}", data), encoding="utf-8")
        return load(tmp_path / "data.yaml", **options)

    return read


def corpus(found):
    return found[0].data["eval"][0].corpus


def problems(scenario, data):
    with pytest.raises(ScenarioError) as caught:
        scenario(data)
    return [problem.message for problem in caught.value.problems]


def save(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 12, 3), dtype=np.uint8)).save(path)


@pytest.mark.parametrize("kind", ["camera", "photos"])
@pytest.mark.parametrize("size", [64, 128])
def test_generated_corpora_take_removal_and_resampling(scenario, kind, size):
    made = corpus(scenario(f"{{kind: {kind}, size: {size}, limit: 12, forge: {{removal: 1, resample: {{weight: 2, kernel: bilinear, whole: 0}}}}}}"))
    samples = list(made.samples())
    assert {s.id[6:] for s in samples} == {"real", "removal", "resample"}
    for sample in samples:
        picture = made.open(lambda reference: None)(sample)
        assert picture.pixels.shape == (size, size, 3) and picture.mask.any() == sample.label and not (picture.mask > 0).all()


def test_a_foreign_table_is_described_in_yaml(scenario, tmp_path):
    save(tmp_path / "lists/x/a.png")
    (tmp_path / "lists/set.csv").write_text("file,class\nx/a.png,2\n")
    data = "{kind: manifest, path: lists/set.csv, columns: {image: file, label: class}, labels: {real: [0, real], fake: [1, 2]}, mask_white: authentic}"
    made = corpus(scenario(data))
    assert (made.columns, made.labels) == (Columns(image="file", label="class"), Labels(real=(0, "real"), fake=(1, 2)))
    assert [(s.id, s.label, s.height) for s in made.samples()] == [("x/a.png", 1, 8)]


def test_pairs_and_voc_are_described_in_yaml(scenario, tmp_path):
    found = corpus(scenario("{kind: pairs, path: casia.json, root: casia, prefix: /data/}"))
    assert (found.path, found.root, found.prefix) == (tmp_path / "casia.json", tmp_path / "casia", "/data/")
    found = corpus(scenario("{kind: voc, path: rtm, split: test, classes: [1, 2]}"))
    assert (found.path, found.split, found.classes) == (tmp_path / "rtm", "test", (1, 2))


@pytest.mark.parametrize(
    "data, message",
    [
        ("{kind: manifest, path: a.csv, columns: {imgae: x}}", "unknown key 'imgae'; did you mean 'image'?"),
        ("{kind: manifest, path: a.csv, labels: {real: [0], fake: [0]}}", "labels: each value must be named once, got 0 twice; leave one out"),
        ("{kind: manifest, path: a.csv, mask_white: black}", "must be 'forged' or 'authentic', got 'black'"),
        ("{kind: voc, path: a, classes: [0]}", "must lie in [1, 255], got 0"),
        ("{kind: voc, path: a, split: ../other}", "must be text like ^[\\w.-]+$, got '../other'"),
        ("{kind: camera, forge: {resample: {whole: 2}}}", "must lie in [0, 1], got 2"),
    ],
)
def test_mistakes_in_the_description_are_named(scenario, data, message):
    assert problems(scenario, data) == [message]


def test_labels_that_mean_nothing_stop_a_scenario_whose_data_are_read(scenario, tmp_path):
    save(tmp_path / "a.png")
    (tmp_path / "set.csv").write_text("image,label\na.png,tampered\n")
    with pytest.raises(ScenarioError, match=r'RT332 data.eval: set.csv:2: label must be 0, 1, "real" or "fake", got "tampered"; '):
        scenario("{kind: manifest, path: set.csv}", read_data=True)


def test_png_fakes_beside_jpeg_photographs_are_a_warning_when_data_are_read(scenario, tmp_path):
    for i in range(10):
        save(tmp_path / f"set/real/{i}.jpg")
        save(tmp_path / f"set/fake/{i}.png")
    assert scenario("{kind: folder, path: set}")[1] == []
    (warning,) = scenario("{kind: folder, path: set}", read_data=True)[1]
    assert str(warning).split("\n")[0] == (
        f"{tmp_path}/data.yaml:4:3: warning RT333 data.eval: folder: file format alone tells real from fake images with balanced accuracy 1.00: real ones are JPEG, fake ones PNG. "
        "A detector may have learned that instead of forgeries; save both classes in one format, quality and size"
    )


def test_files_that_are_missing_in_two_roles_are_not_one_image(scenario, tmp_path):
    (tmp_path / "a.jsonl").write_text('{"image": "gone.png", "label": 1}\n')
    (tmp_path / "b.jsonl").write_text('{"image": "lost.png", "label": 0}\n')
    scenario("{kind: manifest, path: a.jsonl}\n  calib: {kind: manifest, path: b.jsonl}", read_data=True)
