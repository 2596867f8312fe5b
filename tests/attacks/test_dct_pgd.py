"""Attacks in a band of frequencies: what lies outside it is rounding, and a target that listens to another band hears nothing."""

from __future__ import annotations

import pytest
import torch
from scipy import fft

from redteam.attacks.dct_pgd import THIRDS, DCTPGD
from redteam.imaging.dct import band, filter_band
from redteam.imaging.grid import to_levels
from redteam.objective import BOTH
from redteam.seeding import SampleRNG
from redteam.target import Access, Detector
from redteam.targets.fakes import Brightness, Linear

CPU = torch.device("cpu")
BANDS = pytest.mark.parametrize("name", THIRDS)
BLOCKS = pytest.mark.parametrize("blocks", [True, False])


def run(attack, target, images):
    objective = BOTH.on(target, images, budget=attack.budget())
    return attack.perturb(objective, SampleRNG.of(1, "dct", attack.params(), images.ids)).pixels


def change(made, images):
    return (to_levels(made) - to_levels(images.pixels)).double()


@BANDS
@BLOCKS
def test_outside_the_band_there_is_no_more_than_rounding(name, blocks, make_images):
    """Every entry of the change is at most half a level from one of the band, but where the ball cuts it."""
    images = make_images(3, 32, 24, low=60, high=195)
    for attack in (DCTPGD(eps=8 / 255, band=name, blocks=blocks, stop=False), DCTPGD(eps=8 / 255, band=name, blocks=blocks).control()):
        moved = change(run(attack, Linear().load("t", CPU), images), images)
        inside = filter_band(moved, band(32, 24, *THIRDS[name], 8 if blocks else None), 8 if blocks else None)
        outside = (moved - inside).square().flatten(1).sum(1)
        assert (outside < 0.04 * moved.square().flatten(1).sum(1)).all()
        assert (moved.abs().flatten(1).amax(1) == 8).all()


def test_scipy_sees_the_same_band():
    """Independent of our transform: sums of scipy's coefficients, whole image."""
    images_pixels = torch.full((1, 3, 16, 16), 128 / 255)
    from redteam.images import Images

    images = Images(images_pixels, ("a",), torch.tensor([1]), ("a",))
    moved = change(run(DCTPGD(eps=8 / 255, band="high", blocks=False, stop=False), Linear(seed=2).load("t", CPU), images), images)
    energy = fft.dctn(moved.numpy(), axes=(-2, -1), norm="ortho") ** 2
    frequency = (torch.arange(16)[:, None] + torch.arange(16)) / 30
    assert energy[..., (frequency < 0.66).numpy()].sum() < 0.05 * energy.sum()


def test_in_the_low_band_brightness_falls_to_a_constant_shift(make_images):
    images = make_images(2, 16, 16, low=40, high=215)
    moved = change(run(DCTPGD(band="low", stop=False), Brightness().load("t", CPU), images), images)
    assert [row.unique().tolist() for row in moved] == [[-4.0], [4.0]]


@BLOCKS
def test_a_target_hears_only_its_own_band(blocks, make_images):
    """Its weights are one cosine of the highest frequencies."""
    images = make_images(2, 16, 16, low=100, high=150)
    waves = torch.cos(torch.pi * 7 * (2 * torch.arange(16) + 1) / 16)  # of blocks of 8
    target = Detector("wave", lambda x: (x * (waves[:, None] * waves).to(x)).flatten(1).sum(1), Access.GRADIENTS)
    judged = BOTH.on(target, images)
    gained = {name: (judged.margin(images.pixels) - judged.margin(run(DCTPGD(band=name, blocks=blocks, stop=False), target, images))).mean().item() for name in THIRDS}
    assert gained["high"] > 20 * abs(gained["low"])
    assert gained["high"] > 0.5 * 4 / 255 * (waves[:, None] * waves).abs().sum().item() * 3


def test_only_one_norm_is_taken():
    from pydantic import TypeAdapter, ValidationError

    with pytest.raises(ValidationError):
        TypeAdapter(DCTPGD).validate_python({"norm": "l2"})
