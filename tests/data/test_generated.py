"""The corpora that are made: the same twice, pairs of one scene, both classes through one pipeline."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from redteam.data import camera, generated
from redteam.data.forgery import CopyMove, Forgery, Regenerate, Splice
from redteam.data.generated import CameraCorpus, PhotosCorpus


class Halves(nn.Module):
    """Stands in for an autoencoder: it gives back the image at half contrast."""

    factor = 4

    def forward(self, pixels):
        return (pixels - 0.5) * 0.5 + 0.5


def no_model(reference: str):
    raise AssertionError(f"{reference} was asked for")


def test_each_scene_appears_as_it_is_and_forged_and_shares_a_group():
    samples = list(CameraCorpus(limit=6, size=48, forge={"splice": Splice()}).samples())
    assert [s.label for s in samples] == [0, 1, 0, 1, 0, 1]
    assert [s.group for s in samples] == ["scene-1-00000"] * 2 + ["scene-1-00001"] * 2 + ["scene-1-00002"] * 2
    assert len({s.id for s in samples}) == len({s.content for s in samples}) == 6


def test_a_corpus_without_forgeries_holds_real_images_only():
    samples = list(CameraCorpus(limit=3, size=48).samples())
    assert [(s.label, s.group) for s in samples] == [(0, "scene-1-00000"), (0, "scene-1-00001"), (0, "scene-1-00002")]


def test_the_limit_takes_a_beginning_of_the_same_sequence():
    corpus = {"size": 48, "forge": {"splice": Splice(), "copy_move": CopyMove()}}
    assert list(CameraCorpus(limit=4, **corpus).samples()) == list(CameraCorpus(limit=10, **corpus).samples())[:4]


@pytest.mark.parametrize("corpus", [CameraCorpus, PhotosCorpus])
def test_reading_twice_and_in_any_order_gives_the_same_pixels(corpus):
    made = corpus(limit=4, size=64, forge={"splice": Splice(), "copy_move": CopyMove()})
    samples = list(made.samples())
    first = [made.open(no_model)(s) for s in samples]
    again = [made.open(no_model)(s) for s in reversed(samples)][::-1]
    assert all(np.array_equal(a.pixels, b.pixels) and np.array_equal(a.mask, b.mask) for a, b in zip(first, again, strict=True))


def test_seed_size_and_forgery_change_what_fixes_the_pixels():
    contents = [next(iter(CameraCorpus(limit=1, **settings).samples())).content for settings in ({}, {"seed": 2}, {"size": 64})]
    forged = [list(CameraCorpus(limit=2, forge=forge).samples())[1].content for forge in ({"splice": Splice()}, {"copy_move": CopyMove()})]
    assert len({*contents, *forged}) == 5


def test_scenes_of_another_seed_are_other_sources():
    groups = [{s.group for s in CameraCorpus(limit=8, seed=seed).samples()} for seed in (1, 2)]
    assert not groups[0] & groups[1]


def test_a_weight_is_not_content_but_decides_how_often_a_forgery_is_chosen():
    corpus = CameraCorpus(limit=400, size=48, forge={"splice": Splice(weight=3), "copy_move": CopyMove(weight=1)})
    chosen = [s.source[1] for s in corpus.samples() if s.label]
    assert 0.65 < chosen.count("splice") / len(chosen) < 0.85  # 3/4, standard deviation 0.03
    assert Splice(weight=3).content() == Splice().content()


def test_masks_say_what_was_forged_and_are_empty_on_real_images():
    corpus = CameraCorpus(limit=4, size=64, forge={"splice": Splice()})
    read = corpus.open(no_model)
    for sample in corpus.samples():
        mask = read(sample).mask
        assert set(np.unique(mask)) <= {0, 255} and (0 < (mask > 0).mean() < 0.6 if sample.label else not mask.any())


def test_both_classes_are_saved_at_the_same_quality(monkeypatch):
    saved = []
    recorded = SimpleNamespace(render=camera.render, resave=lambda image, quality: saved.append(quality) or image)
    monkeypatch.setattr(generated, "camera", recorded)
    corpus = CameraCorpus(limit=8, size=48, forge={"splice": Splice()})
    for sample in corpus.samples():
        corpus.open(no_model)(sample)
    assert saved[::2] == saved[1::2] and len(set(saved)) > 1 and all(80 <= quality <= 98 for quality in saved)


def test_regeneration_replaces_the_whole_image_and_loads_its_model_by_reference():
    asked = []
    corpus = CameraCorpus(limit=2, size=48, forge={"regenerate": Regenerate(model="zoo/vae-tiny")})
    read = corpus.open(lambda reference: asked.append(reference) or Halves())
    real, fake = (read(sample) for sample in corpus.samples())
    assert asked == ["zoo/vae-tiny"] and (fake.mask == 255).all()
    assert fake.pixels.std() == pytest.approx(real.pixels.std() / 2, rel=0.1)


def test_a_splice_takes_its_donor_from_another_scene():
    class Whole(Forgery):
        def forge(self, host, donor, rng, resolve):
            assert not np.array_equal(host, donor())
            return Splice().forge(host, donor, rng, resolve)

    for kind in (CameraCorpus, PhotosCorpus):
        corpus = kind(limit=4, size=48, forge={"whole": Whole()})
        assert all(corpus.open(no_model)(s).pixels.shape == (48, 48, 3) for s in corpus.samples())


def test_photos_come_in_turn_and_their_group_is_the_scene():
    groups = [s.group for s in PhotosCorpus(limit=12, size=64).samples()]
    assert groups[:6] == groups[6:] and len(set(groups)) == 6


def test_reading_leaves_the_global_generators_alone():
    numpy_before, torch_before = np.random.get_state()[1].copy(), torch.get_rng_state()
    corpus = CameraCorpus(limit=2, size=48, forge={"splice": Splice()})
    [corpus.open(no_model)(s) for s in corpus.samples()]
    assert np.array_equal(numpy_before, np.random.get_state()[1]) and torch.equal(torch_before, torch.get_rng_state())
