"""A chain hands each attack's file to the next, and its control keeps the distortions."""

from __future__ import annotations

import re

import pytest
import torch

from redteam.attacks.blur import Blur
from redteam.attacks.chain import Chain
from redteam.attacks.crop import Crop
from redteam.attacks.identity import Identity
from redteam.attacks.jpeg import JPEG
from redteam.attacks.noise import Noise
from redteam.attacks.pgd import PGD
from redteam.imaging import codecs
from redteam.imaging.filters import gaussian_blur
from redteam.imaging.grid import round_nearest, to_levels
from redteam.objective import BOTH
from redteam.seeding import SampleRNG
from redteam.target import Access
from redteam.targets.fakes import Linear

CPU = torch.device("cpu")


def run(attack, images):
    return attack.perturb(BOTH.on(Linear().load("t", CPU), images), SampleRNG.of(1, "c", {}, images.ids))


def test_stages_follow_each_other_through_8_bit_pixels(make_images):
    images = make_images(2, 16, 16)
    chain = Chain(stages=(Blur(sigma=0.8), JPEG(quality=70)), names=("blur", "jpeg"))
    assert torch.equal(run(chain, images).pixels, codecs.jpeg(round_nearest(gaussian_blur(images.pixels, 0.8)), 70))


def test_a_bounded_stage_starts_from_what_the_one_before_left(make_images):
    images = make_images(2, low=60, high=190)
    first, second = PGD(eps=2 / 255), PGD(eps=3 / 255)
    chain = Chain(stages=(first, second), names=("a", "b"))
    assert (to_levels(run(chain, images).pixels) - to_levels(images.pixels)).abs().unique().tolist() == [5]


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_a_bounded_stage_may_follow_one_that_leaves_the_grid(norm, make_images):
    images = make_images(2)
    chain = Chain(stages=(Blur(sigma=0.8), PGD(norm=norm, eps=0.1, steps=2)), names=("blur", "pgd"))
    assert run(chain, images).pixels.shape == images.pixels.shape


def test_noise_between_stages_is_no_larger_than_what_it_controls(make_images):
    images = make_images(2, low=60, high=190)
    chain = Chain(stages=(PGD(eps=3.6 / 255), Identity()), names=("pgd", "identity"))
    for attack in (chain, chain.control()):
        assert (to_levels(run(attack, images).pixels) - to_levels(images.pixels)).abs().max() == 3


def test_the_control_replaces_what_asks_the_target_and_keeps_the_rest():
    chain = Chain(stages=(PGD(norm="l2", eps=0.5), JPEG(quality=60)), names=("pgd", "jpeg"), goal="evade")
    control = chain.control()
    assert control.stages == (Noise(norm="l2", eps=0.5), JPEG(quality=60))
    assert (control.names, control.goal) == (chain.names, "evade")
    assert Chain(stages=(Blur(), JPEG()), names=("a", "b")).control() is None


def test_a_chain_is_what_its_stages_are():
    chain = Chain(stages=(PGD(eps=4 / 255), JPEG(quality=80)), names=("pgd", "jpeg"))
    assert (chain.needs, chain.geometric, chain.budget()) == (Access.GRADIENTS, False, None)
    assert chain.strengths() == {"pgd.eps": 4 / 255, "jpeg.quality": 80}
    assert Chain(stages=(JPEG(), Crop()), names=("a", "b")).geometric
    assert Chain(stages=(JPEG(),), names=("a",)).needs is Access.NONE


def test_equal_stages_draw_differently_and_a_name_keeps_its_draw(make_images):
    images = make_images(2, low=60, high=190)
    twice = run(Chain(stages=(Noise(), Noise()), names=("a", "b")), images)
    assert len((to_levels(twice.pixels) - to_levels(images.pixels)).unique()) == 3  # not the same signs again
    once = run(Chain(stages=(Noise(),), names=("a",)), images)
    assert torch.equal(run(Chain(stages=(Noise(), Noise(eps=0.0)), names=("a", "b")), images).pixels, once.pixels)


@pytest.mark.parametrize(("stages", "names"), [((), ()), ((JPEG(),), ("a", "b")), ((JPEG(), JPEG()), ("a", "a"))])
def test_a_chain_without_distinct_names_for_its_stages_is_refused(stages, names):
    with pytest.raises(ValueError, match=re.escape("chain: needs at least one stage, and one distinct name for each")):
        Chain(stages=stages, names=names)
