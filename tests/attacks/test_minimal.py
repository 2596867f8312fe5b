"""The smallest change: its length is known on a linear target, and it is a file that says so."""

from __future__ import annotations

import math

import pytest
import torch

from redteam.attack import Tier
from redteam.attacks.cw import CW
from redteam.attacks.ddn import DDN
from redteam.attacks.deepfool import DeepFool
from redteam.attacks.fab import FAB
from redteam.files import within
from redteam.images import Images
from redteam.imaging.grid import from_levels, level_l2, level_linf, to_levels
from redteam.imaging.norms import length
from redteam.objective import BOTH
from redteam.seeding import SampleRNG
from redteam.target import Access, Detector
from redteam.targets.fakes import Linear

CPU = torch.device("cpu")
L2 = [FAB(norm="l2", steps=40), FAB(norm="l2", steps=20, restarts=2), DDN(), CW(steps=50, searches=8), DeepFool()]
EVERY = [*L2, FAB(steps=40), FAB(steps=20, restarts=2)]
every_attack = pytest.mark.parametrize("attack", EVERY, ids=repr)


def run(attack, target, images, seed=1):
    objective = BOTH.on(target, images, budget=attack.budget())
    return attack.run(objective, SampleRNG.of(seed, "minimal", attack.params(), images.ids)).pixels, objective


@pytest.fixture
def attackable(make_images):
    """Random images that the linear target of scale 3000 is right about, none of them too near black or white."""

    def make(n: int = 4) -> tuple[Images, Detector]:
        images, target = make_images(4 * n, 16, 16, low=60, high=195), Linear(scale=3000, seed=3).load("t", CPU)
        right = (BOTH.on(target, images).margin(images.pixels) > 5).nonzero().flatten()[:n]
        return images.subset(right), target

    return make


@pytest.mark.parametrize("attack", L2, ids=repr)
def test_in_l2_the_boundary_is_met_within_three_per_cent_of_the_shortest_file(attack, attackable):
    """All weights are equal, so the shortest file spreads the least sum of whole levels that crosses as evenly as it can."""
    images, target = attackable()
    least = ((BOTH.on(target, images).margin(images.pixels) / 3000 * 768 * 255).floor() + 1).tolist()
    shortest = [math.sqrt((total // 768) ** 2 * 768 + (2 * (total // 768) + 1) * (total % 768)) for total in least]
    found, objective = run(attack, target, images)
    assert objective.succeeded(found).all()
    ratio = level_l2(found, images.pixels) / torch.tensor(shortest)
    assert (ratio > 0.995).all() and (ratio < 1.03).all(), ratio  # the margin is known to float32 only


@pytest.mark.parametrize("attack", EVERY[-2:], ids=repr)
def test_in_linf_no_file_with_fewer_levels_would_do(attack, attackable):
    images, target = attackable()
    least = (BOTH.on(target, images).margin(images.pixels) / 3000 * 255).floor() + 1
    found, objective = run(attack, target, images)
    assert objective.succeeded(found).all()
    assert level_linf(found, images.pixels).tolist() == least.tolist()


def test_where_the_box_stands_in_the_way_others_go_further(make_images):
    """Half of the pixels are at the border that they would have to cross, so the other half does all: the way is longer by the root of two."""
    images, spec = make_images(1, 16, 16, labels=[1]), Linear(scale=3000)
    direction = spec.direction(16, 16)
    stuck = torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(1)) < 0.5
    pixels = from_levels(torch.where(stuck, torch.where(direction > 0, 0, 255), 128).long())[None]
    score = spec.load("t", CPU).respond
    target = Detector("t", lambda x: score(x) - score(pixels) + 40, Access.GRADIENTS)
    nearest = 40 / 3000 * 768 / math.sqrt(float((~stuck).sum()))
    for attack in L2:
        found, objective = run(attack, target, images.with_pixels(pixels))
        assert objective.succeeded(found).all(), attack
        assert 1 <= float(level_l2(found, pixels)) / 255 / nearest < 1.08, attack
    found, objective = run(FAB(), target, images.with_pixels(pixels))
    assert int(level_linf(found, pixels)) == math.floor(40 / 3000 * 768 / int((~stuck).sum()) * 255) + 1


@every_attack
def test_the_distance_that_is_noted_is_that_of_the_file(attack, attackable):
    images, target = attackable(3)
    found, objective = run(attack, target, images)
    measured = length(found - images.pixels, attack.norm)
    assert [objective.notes[name]["distance"] for name in images.ids] == pytest.approx(measured.tolist(), rel=1e-5)


@every_attack
def test_what_is_misjudged_already_is_left_as_it_is(attack, make_images):
    images, target = make_images(6, 16, 16), Linear(scale=3000, seed=3).load("t", CPU)
    wrong = images.subset(BOTH.on(target, images).margin(images.pixels) < 0)
    assert len(wrong) and torch.equal(run(attack, target, wrong)[0], wrong.pixels)


@every_attack
def test_a_ball_is_kept_and_whoever_is_farther_is_brought_to_its_border(attack, attackable):
    images, target = attackable()
    away = BOTH.on(target, images).margin(images.pixels) / 3000 * (math.sqrt(768) if attack.norm == "l2" else 1)
    eps = float(away.median()) * 1.1
    eps = eps if attack.norm == "l2" else math.ceil(eps * 255) / 255
    for stop in (True, False):
        bounded = type(attack)(**{**attack.params(), "eps": eps, "stop": stop})
        found, objective = run(bounded, target, images)
        fell = objective.succeeded(found)
        assert within(found, images.pixels, bounded.budget()).all()
        assert fell[away < eps * 0.9].all() and not fell[away > eps].any()
        assert (length(found - images.pixels, attack.norm)[~fell] > 0.8 * (eps if attack.norm == "l2" else math.floor(eps * 255) / 255)).all()


def test_with_a_ball_who_is_inside_asks_no_more(attackable):
    images, target = attackable()
    run(DDN(eps=10.0), target, images)
    resting = [cost.backwards for cost in target.ledger.take(images.ids)]
    run(DDN(eps=10.0, stop=False), target, images)
    going = [cost.backwards for cost in target.ledger.take(images.ids)]
    assert max(resting) < 20 and going == [100] * 4


def test_the_tier_follows_from_whether_anybody_may_leave():
    assert (DDN().tier, DDN(eps=0.5).tier, DDN(eps=0.5, stop=False).tier, CW(eps=0.5, surrogates=("s",)).tier) == (Tier.SAMPLE, Tier.MICROBATCH, Tier.SAMPLE, Tier.SAMPLE)
    assert DeepFool().tier is Tier.MICROBATCH and DeepFool(stop=False).tier is Tier.MICROBATCH


def test_deepfool_asks_no_more_about_who_has_crossed(attackable):
    images, target = attackable()
    run(DeepFool(), target, images)
    assert {cost.backwards for cost in target.ledger.take(images.ids)} == {2}  # a linear boundary is crossed at the first step, and seen at the second


def test_a_curved_boundary_is_met_as_near_as_a_sphere_allows(make_images):
    """Fake inside a sphere around grey: the shortest way out is the rest of the radius."""
    images = make_images(3, 8, 8, labels=[1] * 3, low=118, high=138)
    radius = 2.0
    target = Detector("sphere", lambda x: 50 * (radius - (x - 0.5).flatten(1).norm(dim=1)), Access.GRADIENTS)
    rest = radius - (images.pixels - 0.5).flatten(1).norm(dim=1)
    for attack in L2:
        found, objective = run(attack, target, images)
        assert objective.succeeded(found).all(), attack
        ratio = level_l2(found, images.pixels) / 255 / rest
        assert (ratio > 0.99).all() and (ratio < 1.1).all(), (attack, ratio)


def test_more_restarts_are_never_farther(attackable):
    images, target = attackable()
    lengths = [level_l2(run(FAB(norm="l2", steps=15, restarts=n), target, images)[0], images.pixels) for n in (1, 3)]
    assert (lengths[1] <= lengths[0] * 1.01).all()


def test_without_a_gradient_the_image_stays_where_it_is(make_images):
    images = make_images(2)
    flat = Detector("flat", lambda x: x.flatten(1).sum(1) * 0 + (2.0 * images.labels - 1), Access.GRADIENTS)
    for attack in EVERY:
        found, objective = run(attack, flat, images)
        assert not objective.succeeded(found).any()
        assert (to_levels(found) - to_levels(images.pixels)).abs().max() <= 1
        assert "distance" not in objective.notes.get("image0", {})
