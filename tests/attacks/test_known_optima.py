"""Targets whose best attack is known: the attack must reach it, and chance must not."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from redteam.attacks.fgsm import FGSM
from redteam.attacks.noise import Noise
from redteam.attacks.pgd import PGD
from redteam.images import Images
from redteam.imaging.grid import from_levels, to_levels
from redteam.objective import BOTH, FRAME
from redteam.seeding import SampleRNG
from redteam.target import Detector
from redteam.targets.fakes import Brightness, Linear

CPU = torch.device("cpu")
SIGNED = [PGD(steps=20), PGD(steps=20, random_start=False), PGD(steps=1), PGD(steps=3, random_start=False), PGD(eps=2.7 / 255, steps=10), FGSM(), FGSM(eps=2.7 / 255)]


def run(attack, target, images, seed=1):
    objective = BOTH.on(target, images, budget=attack.budget())
    return attack.perturb(objective, SampleRNG.of(seed, "optima", attack.params(), images.ids)).pixels


def against(images, direction):
    """(n, 3, h, w) of -1 and +1: where each pixel must go, down the direction for a fake and up for a real image."""
    return -direction * (2 * images.labels - 1).view(-1, 1, 1, 1)


def best_l2_sum(entries: int, eps: float) -> int:
    """The most that whole levels of equal weight can add up to inside an L2 ball: a everywhere, and a + 1 where it still fits."""
    square = (255 * eps) ** 2 * (1 + 1e-9)
    a = math.isqrt(int(square / entries))
    return a * entries + min(entries, int((square - a * a * entries) / (2 * a + 1)))


@pytest.mark.parametrize("attack", SIGNED, ids=repr)
def test_on_a_linear_score_every_pixel_goes_to_the_border_against_its_weight(attack, make_images):
    images, spec = make_images(4, 9, 7), Linear(seed=3)
    levels = int(255 * attack.eps + 1e-3)
    best = (to_levels(images.pixels) + levels * against(images, spec.direction(9, 7))).clamp(0, 255)
    assert torch.equal(to_levels(run(attack, spec.load("t", CPU), images)), best.to(torch.int16))


@pytest.mark.parametrize("attack", SIGNED, ids=repr)
def test_brightness_falls_to_a_constant_shift(attack, make_images):
    images = make_images(4, low=20, high=235)
    levels = int(255 * attack.eps + 1e-3)
    shift = to_levels(run(attack, Brightness().load("t", CPU), images)) - to_levels(images.pixels)
    assert [row.unique().tolist() for row in shift] == [[-levels], [levels], [-levels], [levels]]


@pytest.mark.parametrize("eps", [0.02, 0.1, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("start", [True, False])
def test_l2_reaches_the_best_margin_that_a_file_can_hold(eps, start, make_images):
    """For equal weights the optimum is the largest sum of whole levels whose squares fit into the ball."""
    images, spec = make_images(4, 16, 16, low=40, high=215), Linear(seed=3)
    target = spec.load("t", CPU)
    adversarial = run(PGD(norm="l2", eps=eps, steps=30, random_start=start), target, images)
    moved = (to_levels(adversarial) - to_levels(images.pixels)).long()
    entries = images.pixels[0].numel()
    assert (moved * against(images, spec.direction(16, 16))).flatten(1).sum(1).tolist() == [best_l2_sum(entries, eps)] * 4
    objective = BOTH.on(target, images)
    gained = objective.margin(images.pixels) - objective.margin(adversarial)
    assert gained.tolist() == pytest.approx([spec.scale * best_l2_sum(entries, eps) / 255 / entries] * 4, rel=1e-4)


def test_at_a_large_radius_the_file_costs_almost_nothing(make_images):
    images, spec = make_images(2, 16, 16, low=100, high=155), Linear()
    entries, eps = images.pixels[0].numel(), 2.0
    assert best_l2_sum(entries, eps) / 255 == pytest.approx(eps * math.sqrt(entries), rel=0.01)  # the optimum of real numbers
    assert (run(PGD(norm="l2", eps=eps, steps=30), spec.load("t", CPU), images) - images.pixels).flatten(1).norm(dim=1).max() <= eps


@pytest.mark.parametrize("size", [1e-30, 1e-12, 1.0, 1e12])
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_the_size_of_the_gradient_does_not_matter(norm, size, make_images):
    images, spec = make_images(2, low=40, high=215), Linear()
    attack = PGD(norm=norm, eps=0.1, steps=10)
    score = spec.load("t", CPU).respond
    scaled = Detector("t", lambda pixels: score(pixels.double()).double() * size, spec.gives())
    assert torch.equal(run(attack, scaled, images), run(attack, spec.load("t", CPU), images))


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_noise_moves_a_linear_score_no_more_than_chance_does(norm, make_images):
    images, spec, eps = make_images(64, 16, 16, low=40, high=215), Linear(), 4 / 255
    entries = images.pixels[0].numel()
    attack = Noise(norm=norm, eps=eps if norm == "linf" else eps * math.sqrt(entries))
    target = spec.load("t", CPU)
    moved = target.respond(run(attack, target, images)) - target.respond(images.pixels)
    sigma = spec.scale * eps / math.sqrt(entries)  # of the mean of independent signs
    assert moved.abs().max() < 4.5 * sigma
    assert abs(moved.mean()) < 4 * sigma / math.sqrt(64)
    assert 0.6 * sigma < moved.std() < 1.4 * sigma


def test_noise_fills_the_ball_that_it_is_compared_with(make_images):
    images = make_images(3, 16, 16, low=40, high=215)
    target = Linear().load("t", CPU)
    for eps in (0.1, 0.5, 2.0):
        length = (run(Noise(norm="l2", eps=eps), target, images) - images.pixels).flatten(1).double().norm(dim=1)
        assert ((0.99 * eps - 0.002 <= length) & (length <= eps + 1e-6)).all()
    levels = to_levels(run(Noise(eps=5 / 255), target, images)) - to_levels(images.pixels)
    assert levels.unique().tolist() == [-5, 5]


def successes(attack, target, images):
    return BOTH.on(target, images, budget=attack.budget()).succeeded(run(attack, target, images))


@settings(deadline=None, max_examples=25)
@given(
    seed=st.integers(0, 1000),
    small=st.floats(0, 8),
    large=st.floats(0, 8),
    make=st.sampled_from([lambda e: PGD(eps=e, steps=4), lambda e: FGSM(eps=e), lambda e: PGD(norm="l2", eps=10 * e, steps=8)]),
)
def test_success_grows_with_eps(seed, small, large, make):
    generator = torch.Generator().manual_seed(seed)
    pixels = from_levels(torch.randint(0, 256, (16, 3, 8, 8), generator=generator))
    names = tuple(str(i) for i in range(16))
    target = Linear(scale=300, seed=seed).load("t", CPU)
    labels = target.decide(target.respond(pixels))
    images = Images(pixels, names, labels, names)
    less, more = (successes(make(eps / 255), target, images) for eps in sorted((small, large)))
    assert (less <= more).all()


def test_every_attack_succeeds_in_both_directions_where_it_should(make_images):
    images = make_images(6, 16, 16, low=90, high=165)
    target = Brightness(scale=50).load("t", CPU)
    shifted = images.with_pixels(from_levels((to_levels(images.pixels) + (2 * images.labels - 1).view(-1, 1, 1, 1) * 4).long()))
    right = target.decide(target.respond(shifted.pixels)) == shifted.labels
    assert right.all()
    assert not successes(FGSM(eps=1 / 255), target, shifted).any()
    for attack in (FGSM(eps=12 / 255), PGD(eps=12 / 255), PGD(norm="l2", eps=12 / 255 * math.sqrt(768))):
        assert successes(attack, target, shifted).all()


def test_a_goal_of_one_label_needs_that_label(make_images):
    images = make_images(2, labels=[0, 0])
    objective = FRAME.on(Brightness().load("t", CPU), images)
    attack = FGSM(eps=3 / 255)
    assert (attack.perturb(objective, SampleRNG([0, 0])).pixels >= images.pixels).all()
