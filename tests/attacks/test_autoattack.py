"""The ensemble: the worst case over its parts for each image, each part on what the ones before left."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from redteam.attacks.apgd import APGD
from redteam.attacks.autoattack import AutoAttack
from redteam.attacks.fab import FAB
from redteam.attacks.square import Square
from redteam.files import within
from redteam.images import Images
from redteam.imaging.filters import gaussian_blur
from redteam.imaging.grid import round_nearest
from redteam.objective import BOTH
from redteam.seeding import SampleRNG
from redteam.target import Access, Detector
from redteam.targets.fakes import Linear

CPU = torch.device("cpu")
SMALL = {"steps": 10, "queries": 25}


def run(attack, target, images, seed=1, **given):
    objective = BOTH.on(target, images, budget=attack.budget(), **given)
    return attack.run(objective, SampleRNG.of(seed, "ensemble", {}, images.ids)).pixels, objective


@pytest.fixture(scope="module")
def network():
    with torch.random.fork_rng():
        torch.manual_seed(5)
        model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, stride=2, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 1)).requires_grad_(False)
    z = model(pixels())[:, 0]
    return lambda x: 4 * (model(x)[:, 0] - z.median()) / z.std()


def pixels() -> torch.Tensor:
    return round_nearest(gaussian_blur(torch.rand(32, 3, 12, 12, generator=torch.Generator().manual_seed(6)), 1.0))


@pytest.fixture(scope="module")
def images(network) -> Images:
    names = tuple(f"i{i}" for i in range(32))
    return Images(pixels(), names, (network(pixels()) > 0).long(), names)


@pytest.mark.parametrize(("norm", "eps"), [("linf", 2 / 255), ("l2", 0.15)])
def test_it_is_never_weaker_than_any_of_its_parts(norm, eps, network, images):
    """Whoever falls to a part falls to the ensemble; parts draw in it as they do by themselves under its forked names."""
    attack = AutoAttack(norm=norm, eps=eps, **SMALL)
    target = Detector("net", network, Access.GRADIENTS)
    found, objective = run(attack, target, images)
    fell = objective.succeeded(found)
    assert 0.1 < fell.double().mean() < 0.95 and within(found, images.pixels, attack.budget()).all()
    for name, part in attack.parts().items():
        rng = SampleRNG.of(1, "ensemble", {}, images.ids).fork(name)
        alone = objective.succeeded(part.run(objective, rng).pixels)
        assert (fell >= alone).all(), name


def test_a_record_can_say_which_part_broke_an_image(network, images):
    found, objective = run(AutoAttack(eps=2 / 255, **SMALL), Detector("net", network, Access.GRADIENTS), images)
    named = [name in objective.notes and "broken_by" in objective.notes[name] for name in images.ids]
    assert named == objective.succeeded(found).tolist()
    assert {notes["broken_by"] for notes in objective.notes.values()} <= {"apgd-ce", "apgd-margin", "fab", "square"}


def test_where_gradients_lie_the_square_still_finds_the_way(make_images):
    """A target whose gradient points the wrong way: three parts walk away from the boundary, and the one that looks at scores does not."""
    images = make_images(6, 12, 12, labels=[1] * 6, low=120, high=135)
    score = Linear(scale=400).load("t", CPU).respond

    def lying(x):
        honest = score(x)
        return (2 * honest.detach() - honest) + 3.0

    found, objective = run(AutoAttack(eps=8 / 255, steps=10, queries=400), Detector("lying", lying, Access.GRADIENTS), images)
    assert objective.succeeded(found).all()
    assert {notes["broken_by"] for notes in objective.notes.values()} == {"square"}


def test_the_parts_have_the_settings_of_the_ensemble():
    attack = AutoAttack(norm="l2", eps=0.5, steps=7, restarts=2, queries=30, stop=False)
    shared = {"norm": "l2", "eps": 0.5, "stop": False}
    assert attack.parts() == {
        "apgd-ce": APGD(loss="ce", steps=7, restarts=2, **shared),
        "apgd-margin": APGD(loss="margin", steps=7, restarts=2, **shared),
        "fab": FAB(steps=7, restarts=2, **shared),
        "square": Square(queries=30, **shared),
    }
    assert attack.gradients() == 3 * 7 * 2 and AutoAttack().gradients() == 300


def test_the_version_for_random_targets_averages_twenty_answers_and_leaves_out_what_cannot(make_images):
    images, target = make_images(3, low=110, high=145), Linear(bias=500.0).load("t", CPU)
    fakes = images.subset([0, 2])
    attack = AutoAttack(version="rand", steps=3)
    assert list(attack.parts()) == ["apgd-ce", "apgd-margin"] and attack.gradients() == 120
    run(attack, target, fakes)
    assert [cost.backwards for cost in target.ledger.take(fakes.ids)] == [120, 120]
    assert AutoAttack(version="rand", steps=3, eot=5).gradients() == 30


def test_a_lucky_draw_is_no_success_against_a_random_target(make_images):
    """One answer in eight says real, whatever the image: twenty answers in the mean do not."""
    images = make_images(4, labels=[1] * 4)
    turn = torch.Generator().manual_seed(3)

    def moody(x):
        return x.flatten(1).mean(1) * 0.01 + torch.where(torch.rand(len(x), generator=turn) < 1 / 8, -1.0, 1.0)

    target = Detector("moody", moody, Access.GRADIENTS)
    _, lucky = run(AutoAttack(steps=10, queries=60), target, images)
    _, sober = run(AutoAttack(steps=10, version="rand"), target, images)
    assert len(lucky.notes) == 4 and not sober.notes


def test_on_a_surrogate_it_never_asks_the_target(make_images):
    images, target, other = make_images(4), Linear().load("t", CPU), Linear(seed=2).load("s", CPU)
    found, _ = run(AutoAttack(surrogates=("s",), **SMALL), target.with_access(Access.NONE), images, surrogates={"s": other})
    assert not torch.equal(found, images.pixels)
    assert all(cost.queries == 0 for cost in target.ledger.take(images.ids))
