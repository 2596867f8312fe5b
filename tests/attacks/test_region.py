"""Attacks that may touch a part of the image: nothing else changes, and inside it they reach the optimum."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from redteam.attacks.region import Region, RegionNoise, region
from redteam.imaging.grid import to_levels
from redteam.objective import BOTH, EVADE
from redteam.seeding import SampleRNG
from redteam.target import Access, Detector
from redteam.targets.fakes import Linear

CPU = torch.device("cpu")


@pytest.fixture
def masked(make_images):
    """Fakes with a rectangle that differs from image to image."""
    images = make_images(4, 16, 12, labels=[1] * 4, low=40, high=215)
    masks = torch.zeros(4, 1, 16, 12)
    for i in range(4):
        masks[i, :, 2 + i : 9, 1 : 5 + i] = 1
    return replace(images, masks=masks)


def run(attack, images, target=None):
    objective = EVADE.on(target or Linear().load("t", CPU), images, budget=attack.budget())
    return attack.perturb(objective, SampleRNG.of(1, "region", attack.params(), images.ids)).pixels


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("where", ["inside", "outside"])
def test_only_the_region_changes_and_the_noise_keeps_to_it_too(where, norm, masked):
    attack = Region(where=where, norm=norm, eps=4 / 255 if norm == "linf" else 0.4, goal="evade", stop=False)
    region_ = (masked.masks > 0.5) == (where == "inside")
    for made in (run(attack, masked), run(attack.control(), masked)):
        changed = (made != masked.pixels).any(1, keepdim=True)
        assert not (changed & ~region_).any()
        assert changed.flatten(1).any(1).all()


def test_inside_the_region_a_linear_score_has_its_known_optimum(masked):
    spec = Linear(seed=3)
    made = run(Region(where="inside", goal="evade", stop=False), masked, spec.load("t", CPU))
    best = to_levels(masked.pixels) - 4 * spec.direction(16, 12) * masked.masks
    assert torch.equal(to_levels(made), best.to(torch.int16))


@pytest.mark.parametrize("share", [0.05, 0.3, 1.0])
def test_a_window_has_its_share_and_stands_where_the_gradient_is_largest(share, make_images):
    images = make_images(3, 20, 20, labels=[1] * 3, low=40, high=215)
    hot = torch.zeros(20, 20)
    hot[12:, 12:] = 5.0
    target = Detector("corner", lambda x: (x * (0.1 + hot.to(x))).flatten(1).sum(1), Access.GRADIENTS)
    changed = (run(Region(share=share, stop=False), images, target) != images.pixels).any(1)
    assert changed.flatten(1).double().mean(1).tolist() == pytest.approx([share] * 3, abs=0.02)
    assert changed[:, 15, 15].all()


def test_the_window_of_the_noise_stands_anywhere(make_images):
    images = make_images(12, 20, 20, labels=[1] * 12)
    places = {tuple((row != clean).any(0).nonzero()[0].tolist()) for row, clean in zip(run(RegionNoise(share=0.05), images), images.pixels, strict=True)}
    assert len(places) > 6


def test_the_best_window_is_found_among_all(make_images):
    images, weight = make_images(2, 9, 7), torch.rand(2, 1, 9, 7, generator=torch.Generator().manual_seed(1))
    found = region(images, "window", 0.2, weight)
    tall, wide = round(9 * 0.2**0.5), round(7 * 0.2**0.5)
    for mask, w in zip(found, weight, strict=True):
        sums = {w[0, top : top + tall, left : left + wide].sum().item() for top in range(9 - tall + 1) for left in range(7 - wide + 1)}
        assert w[mask].sum().item() == pytest.approx(max(sums))


def test_what_cannot_be_is_refused(make_images):
    with pytest.raises(ValueError, match="^where: inside needs goal: evade; what is forged lies in fakes only$"):
        Region(where="inside")
    with pytest.raises(ValueError, match="needs masks, and these images have none$"):
        run(Region(where="outside"), make_images(2, labels=[1, 1]))
    assert (Region(where="outside").needs_masks, Region().needs_masks) == (True, False)


def test_the_window_costs_one_gradient_more(make_images):
    images, target = make_images(2), Linear().load("t", CPU)
    attack = Region(steps=3, stop=False)
    attack.perturb(BOTH.on(target, images), SampleRNG([1, 2]))
    assert {cost.backwards for cost in target.ledger.take(images.ids)} == {4} == {attack.gradients()}
