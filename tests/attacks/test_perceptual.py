"""Floors of quality: kept on the file, used up as far as it goes, and reached by noise too."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity

from redteam.attacks.perceptual import Perceptual
from redteam.attacks.pgd import PGD
from redteam.imaging.filters import gaussian_blur
from redteam.imaging.grid import round_nearest
from redteam.measure.quality import psnr, ssim
from redteam.objective import BOTH
from redteam.seeding import SampleRNG
from redteam.target import Access, Detector
from redteam.targets.fakes import Linear

CPU = torch.device("cpu")


@pytest.fixture
def images(make_images):
    """Smooth, as pictures are."""
    rough = make_images(4, 32, 32)
    return rough.with_pixels(round_nearest(0.2 + 0.6 * gaussian_blur(rough.pixels, 1.5)))


def run(attack, images, target=None):
    objective = BOTH.on(target or Linear().load("t", CPU), images)
    return attack.perturb(objective, SampleRNG.of(1, "perceptual", attack.params(), images.ids)).pixels


@pytest.mark.parametrize("floor", [30.0, 40.0, 48.0, 55.0])
def test_the_psnr_of_the_file_is_at_the_floor_and_not_below(floor, images):
    for attack in (Perceptual(min_psnr_db=floor, stop=False), Perceptual(min_psnr_db=floor).control()):
        made = run(attack, images)
        assert torch.equal(round_nearest(made), made)
        error = ((made - images.pixels).double() * 255).square().flatten(1).mean(1)
        assert (10 * (255**2 / error).log10() >= floor).all()
        assert (psnr(made, images.pixels) < floor + 1.0).all()


@pytest.mark.parametrize("floor", [0.9, 0.98])
def test_the_ssim_of_the_file_is_at_the_floor_and_not_below(floor, images):
    for attack in (Perceptual(min_ssim=floor, stop=False), Perceptual(min_ssim=floor).control()):
        made = run(attack, images)
        for file, clean in zip(made.numpy(), images.pixels.numpy(), strict=True):
            theirs = structural_similarity(file, clean, channel_axis=0, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1.0)
            assert floor - 0.01 <= theirs  # scikit-image pads where ours leaves the border out
        assert (ssim(made, images.pixels) >= floor).all()
        assert (ssim(made, images.pixels) < floor + 0.35 * (1 - floor)).all()


def test_both_floors_are_kept_at_once(images):
    made = run(Perceptual(min_psnr_db=38.0, min_ssim=0.97, stop=False), images)
    assert (psnr(made, images.pixels) >= 38).all() and (ssim(made, images.pixels) >= 0.97).all()


def test_a_psnr_floor_does_nearly_what_l2_descent_of_that_radius_does(images):
    """The floor is a ball: its radius is that of the mean squared error."""
    target, floor = Linear(seed=4).load("t", CPU), 42.0
    radius = math.sqrt(images.pixels[0].numel() * 10 ** (-floor / 10))
    judged = BOTH.on(target, images)
    mine = judged.margin(images.pixels) - judged.margin(run(Perceptual(min_psnr_db=floor, stop=False), images, target))
    ball = judged.margin(images.pixels) - judged.margin(run(PGD(norm="l2", eps=radius, stop=False), images, target))
    assert (mine > 0.9 * ball).all()


def test_it_finds_what_noise_of_the_same_quality_does_not(images):
    weights = torch.randn(3, 32, 32, generator=torch.Generator().manual_seed(3))
    target = Detector("t", lambda x: torch.tanh((x - 0.5) * weights.to(x)).flatten(1).sum(1), Access.GRADIENTS)
    judged, attack = BOTH.on(target, images), Perceptual(min_ssim=0.97, stop=False)
    gained, chance = ((judged.margin(images.pixels) - judged.margin(run(one, images, target))).mean() for one in (attack, attack.control()))
    assert gained > 8 * abs(chance)


def test_an_image_too_small_for_ssim_stays_as_it_is(make_images):
    images = make_images(2, 8, 8)
    assert torch.equal(run(Perceptual(min_ssim=0.9), images), images.pixels)


def test_it_stops_where_a_file_succeeds(images):
    target = Linear(scale=3000).load("t", CPU)
    sure = images.subset((BOTH.on(target, images).margin(images.pixels) > 0).tolist())
    assert len(sure)
    run(Perceptual(min_psnr_db=30.0), sure, target)
    spent = [cost.backwards for cost in target.ledger.take(sure.ids)]
    assert max(spent) < 20
    assert np.all(BOTH.on(target, sure).succeeded(run(Perceptual(min_psnr_db=30.0), sure, target)).numpy())


def test_without_a_floor_it_is_refused():
    with pytest.raises(ValueError, match=r"^a perceptual attack must have a floor, got none; write min_psnr_db: 40 or min_ssim: 0\.98$"):
        Perceptual()
    assert Perceptual(min_psnr_db=40).strengths() == {"min_psnr_db": 40}
