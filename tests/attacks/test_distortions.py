"""Distortions whose effect is known without the code that makes it."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image

from redteam.attacks.bit_depth import BitDepth
from redteam.attacks.gaussian_noise import GaussianNoise
from redteam.attacks.median import Median
from redteam.attacks.rotate import Rotate
from redteam.attacks.social import Social
from redteam.imaging.grid import from_levels
from redteam.objective import BOTH
from redteam.seeding import SampleRNG
from redteam.targets.fakes import Linear


def attacked(attack, images):
    objective = BOTH.on(Linear().load("t", torch.device("cpu")), images)
    return attack.perturb(objective, SampleRNG.of(1, "distortion", attack.params(), images.ids))


@pytest.fixture
def grey(make_images):
    base = make_images(6, 64, 64)
    return base.with_pixels(torch.full_like(base.pixels, 128 / 255))


def test_gaussian_noise_has_the_deviation_that_it_says_and_is_independent_between_channels(grey):
    noise = attacked(GaussianNoise(sigma=0.05), grey).pixels - grey.pixels
    assert noise.std().item() == pytest.approx(0.05, rel=0.01)
    assert abs(noise.mean().item()) < 3 * 0.05 / noise.numel() ** 0.5
    channels = noise.transpose(0, 1).flatten(1)
    assert torch.corrcoef(channels)[0, 1].abs() < 0.03


@pytest.mark.parametrize(("bits", "levels"), [(1, {0, 255}), (2, {0, 85, 170, 255}), (8, set(range(256)))])
def test_bit_depth_leaves_evenly_spaced_levels_and_moves_each_pixel_to_the_nearest(make_images, bits, levels):
    images = make_images(1, 16, 16).with_pixels(from_levels(torch.arange(256).view(1, 1, 16, 16).expand(1, 3, 16, 16)))
    after = (attacked(BitDepth(bits=bits), images).pixels[0, 0] * 255).round().flatten().numpy()
    choices = np.array(sorted(levels))
    assert set(after) == levels
    assert (np.abs(after - np.arange(256)) == np.abs(choices[:, None] - np.arange(256)).min(0)).all()


def test_a_median_of_an_even_size_is_refused():
    with pytest.raises(ValueError, match="^size must be odd, so that a pixel has a middle, got 4$"):
        Median(size=4)


def test_a_cropped_rotation_shows_no_corner_and_a_mirrored_one_keeps_the_size(grey):
    cropped, mirrored = attacked(Rotate(degrees=10), grey), attacked(Rotate(degrees=10, corners="mirror"), grey)
    assert cropped.pixels.shape[2:] == (55, 55)  # 64 / (cos 10 + sin 10) = 55.2
    assert mirrored.pixels.shape == grey.pixels.shape
    assert torch.allclose(cropped.pixels, grey.pixels[..., :55, :55], atol=1e-5)


def test_masks_turn_with_their_images(make_images):
    from dataclasses import replace

    images = make_images(2, 32, 32)
    mask = torch.zeros(2, 1, 32, 32)
    mask[..., :16, :] = 1
    turned = attacked(Rotate(degrees=90, corners="mirror"), replace(images, masks=mask)).masks
    assert torch.equal(turned, torch.rot90(mask, 1, (-2, -1)))


def test_a_social_network_scales_down_what_is_larger_and_saves_all_as_jpeg(make_images):
    images = make_images(2, 40, 64)
    result = attacked(Social(platform="telegram", longest_side=32), images).pixels
    assert result.shape == (2, 3, 20, 32)
    for before, after in zip(images.pixels, result, strict=True):
        small = Image.fromarray((before * 255).round().byte().permute(1, 2, 0).numpy()).resize((32, 20), Image.Resampling.LANCZOS)
        file = io.BytesIO()
        small.save(file, "JPEG", quality=87, subsampling="4:2:0")
        assert (np.asarray(Image.open(file)) == (after * 255).round().byte().permute(1, 2, 0).numpy()).all()


def test_an_image_within_the_longest_side_keeps_its_size(make_images):
    assert attacked(Social(platform="x"), make_images(1, 24, 24)).pixels.shape == (1, 3, 24, 24)
