"""One picture against several heads: targets whose answers are known, views, three optimisers, and the random picture beside them."""

from __future__ import annotations

import sys

import pytest
import torch

from redteam.attacks.heads import Heads, seen
from redteam.attacks.master_image import MasterImage
from redteam.attacks.optimisers import pictured
from redteam.imaging import codecs
from redteam.imaging.grid import round_nearest
from redteam.objective import BOTH, EVADE
from redteam.seeding import SampleRNG
from redteam.target import Access
from redteam.targets.fakes import Brightness, Linear

CPU = torch.device("cpu")
SIZE = 32


@pytest.fixture
def images(make_images):
    return make_images(8, SIZE, SIZE, low=60, high=200)


@pytest.fixture
def training(make_images):
    return make_images(8, SIZE, SIZE, low=60, high=200, seed=5)


def learned(attack, training, target, surrogates=None, goal=BOTH):
    objective = goal.on(target, training.subset(goal.concerns(training.labels)), surrogates=surrogates)
    return attack.fit([objective], SampleRNG([11]))


def shown(attack, images, target, state, surrogates=None):
    return attack.run(BOTH.on(target, images, surrogates=surrogates), SampleRNG.of(1, "m", attack.seeding(), images.ids), state).pixels


OPTIMISERS = [{"optimiser": "adam", "steps": 30}, {"optimiser": "pgd", "steps": 60}, {"optimiser": "cma", "steps": 15, "detail": 4}]


@pytest.mark.parametrize("settings", OPTIMISERS, ids=lambda settings: settings["optimiser"])
@pytest.mark.parametrize("area", [1.0, 0.3])
def test_every_optimiser_finds_a_picture_that_is_taken_for_the_other_class_where_the_random_one_is_not(images, training, settings, area):
    target = Brightness(scale=100, at=0.5).load("t", CPU)
    attack = MasterImage(area=area, views=("plain", "jpeg", "crop"), **settings)
    found, control = learned(attack, training, target), learned(attack.control(), training, target)
    after, random = shown(attack, images, target, found), shown(attack.control(), images, target, control)
    called_fake = target.respond(round_nearest(after)) > 0
    assert torch.equal(called_fake, images.labels == 0)
    assert not torch.equal(target.respond(random) > 0, images.labels == 0)


def test_with_area_1_all_images_of_a_class_are_one_picture_on_the_grid(images, training):
    target = Linear().load("t", CPU)
    attack = MasterImage(steps=3)
    after = shown(attack, images, target, learned(attack, training, target))
    assert attack.geometric and not MasterImage(area=0.5).geometric
    for label in (0, 1):
        assert (after[images.labels == label] == after[images.labels == label][0]).all()
    assert not torch.equal(after[0], after[1])
    assert torch.equal(after, round_nearest(after))


def test_a_corner_leaves_the_rest_of_the_image(images, training):
    target = Linear().load("t", CPU)
    attack = MasterImage(area=0.25, steps=3, pictures=3)
    after = shown(attack, images, target, learned(attack, training, target))
    half = SIZE // 2
    assert torch.equal(after[..., :half, :], images.pixels[..., :half, :])
    assert torch.equal(after[..., :half], images.pixels[..., :half])
    assert (after[..., half:, half:] != images.pixels[..., half:, half:]).any()


def test_a_linear_head_has_a_known_best_picture(training):
    target, spec = Linear(scale=10).load("t", CPU), Linear(scale=10)
    attack = MasterImage(optimiser="pgd", steps=40, step=1 / 16, views=("plain",))
    found = learned(attack, training, target)
    up = (spec.direction(SIZE, SIZE) + 1) / 2  # white where the direction is positive
    assert torch.equal(found["0"], up) and torch.equal(found["1"], 1 - up)


def test_steps_from_a_photograph_stay_within_eps(training):
    target = Linear().load("t", CPU)
    found = learned(MasterImage(optimiser="pgd", steps=10, eps=8 / 255, views=("plain",)), training, target)
    first = training.pixels[(training.labels == 1).nonzero()[0]]
    assert ((found["1"] - first) * 255).abs().max().round() == 8


def test_the_worst_head_is_the_one_that_is_lowered(training):
    """Two linear heads: following their mean may leave one of them standing, the worst of both does not."""
    one, two = Linear(scale=40, seed=1).load("one", CPU), Linear(scale=10, seed=2, bias=2.0).load("two", CPU)
    surrogates = {"one": one, "two": two}
    target = Linear(seed=3).load("t", CPU).with_access(Access.NONE)
    attack = MasterImage(surrogates=("one", "two"), views=("plain",), steps=40)
    assert attack.access() is Access.NONE and attack.needs is Access.GRADIENTS
    found = learned(attack, training, target, surrogates, EVADE)
    assert set(found) == {"1"}
    margins = [head.respond(found["1"][None]).item() for head in (one, two)]
    assert max(margins) < 0
    fakes = training.subset(training.labels == 1)
    heads = Heads([EVADE.on(head, fakes) for head in (one, two)], ("plain", "crop"))
    worst, gradient = heads.worst_and_gradient(fakes.pixels[:1])
    separate = [EVADE.on(head, fakes).margin(seen(fakes.pixels[:1].expand(len(fakes), -1, -1, -1), view)).mean() for head in (one, two) for view in ("plain", "crop")]
    assert worst == pytest.approx(max(separate).item(), rel=1e-5)
    assert worst == pytest.approx(heads.worst(fakes.pixels[:1]), rel=1e-5)
    assert gradient.shape == (1, 3, SIZE, SIZE)


@pytest.mark.parametrize("view", ["plain", "crop", "resize"])
def test_the_gradient_of_a_view_is_that_of_finite_differences(training, view):
    target = Linear(scale=50).load("t", CPU)
    heads = Heads([BOTH.on(target, training.subset([0]))], (view,))
    picture = training.pixels[:1].clone()
    _, gradient = heads.worst_and_gradient(picture)
    step = torch.zeros_like(picture)
    step[0, 1, 9, 13] = 0.02
    change = heads.worst(picture + step) - heads.worst(picture - step)
    assert gradient[0, 1, 9, 13].item() == pytest.approx(change / 0.04, rel=0.02, abs=1e-3)


def test_a_jpeg_view_shows_what_a_file_holds(training):
    assert torch.equal(seen(training.pixels, "jpeg"), codecs.jpeg(training.pixels, 75))


def test_evolution_asks_for_scores_alone_and_the_ledger_says_how_often(training):
    target = Brightness().load("t", CPU).with_access(Access.SCORES)
    learned(MasterImage(optimiser="cma", steps=2, detail=2, views=("plain", "resize")), training, target)
    costs = target.ledger.take(training.ids)
    population = 4 + 7  # 4 + floor(3 log 12)
    assert [(cost.queries, cost.backwards) for cost in costs if cost.queries] == [(2 * 2 * population, 0)] * 2


def test_evolution_is_repeatable(training):
    target = Brightness().load("t", CPU)
    first, second = (learned(MasterImage(optimiser="cma", steps=2, detail=2), training, target) for _ in range(2))
    assert all(torch.equal(first[label], second[label]) for label in first)


def test_without_the_library_it_says_what_to_install(training, monkeypatch):
    monkeypatch.setitem(sys.modules, "cmaes", None)
    with pytest.raises(ValueError, match=r"^optimiser cma needs the package cmaes; pip install 'redteam\[cma\]', or use another optimiser$"):
        learned(MasterImage(optimiser="cma", steps=1), training, Brightness().load("t", CPU))


def test_coefficients_are_the_lowest_cosines_about_grey():
    numbers = torch.zeros(3 * 4)
    numbers[3 * 0] = 1.0  # constant term of red
    picture = pictured(numbers, torch.zeros(1, 3, 8, 8))
    assert picture[0, 0].unique().numel() == 1 and picture[0, 0, 0, 0] > 0.5
    assert (picture[0, 1:] == 0.5).all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"eps": 8 / 255}, "eps is a bound of pgd, got optimiser adam; leave it out, or write optimiser: pgd"),
        ({"views": ()}, r"views must name at least one view and each once, got \[\]"),
        ({"views": ("jpeg", "jpeg")}, r"views must name at least one view and each once, got \['jpeg', 'jpeg'\]"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        MasterImage(**settings)


def test_images_of_another_size_get_the_picture_resampled(make_images, training):
    target = Brightness().load("t", CPU)
    attack = MasterImage(steps=3, area=0.25)
    state = learned(attack, training, target)
    large = make_images(2, 64, 48)
    after = shown(attack, large, target, state)
    assert torch.equal(after[..., :32, :], large.pixels[..., :32, :])
    assert after[:, :, 32:, 24:].shape[2:] == (32, 24)
