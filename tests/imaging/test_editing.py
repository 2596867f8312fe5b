from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter
from scipy import ndimage

from redteam.imaging import editing, filters
from redteam.imaging.grid import from_levels

LUMA = np.array([299, 587, 114]) / 1000


@pytest.fixture
def levels():
    return torch.randint(0, 256, (2, 3, 13, 17), generator=torch.Generator().manual_seed(3))


def to_levels(pixels):
    return (pixels * 255).round().numpy()


@pytest.mark.parametrize("factor", [0.0, 0.5, 1.0, 1.7])
def test_brightness_multiplies_levels(levels, factor):
    expected = np.clip(levels.numpy() * factor, 0, 255)
    assert np.abs(to_levels(editing.brightness(from_levels(levels), factor)) - expected).max() <= 1


@pytest.mark.parametrize("factor", [0.0, 0.5, 1.0, 1.7])
def test_contrast_scales_about_the_mean_luma(levels, factor):
    for image, result in zip(levels.numpy(), to_levels(editing.contrast(from_levels(levels), factor)), strict=True):
        mean = round(float(np.tensordot(LUMA, image, 1).mean()))
        assert np.abs(result - np.clip(mean + factor * (image - mean), 0, 255)).max() <= max(2, 2 * factor)


@pytest.mark.parametrize("factor", [0.0, 0.5, 1.0, 1.7])
def test_saturation_scales_about_each_pixels_luma(levels, factor):
    luma = np.einsum("c,nchw->nhw", LUMA, levels.numpy())[:, None]
    expected = np.clip(luma + factor * (levels.numpy() - luma), 0, 255)
    assert np.abs(to_levels(editing.saturation(from_levels(levels), factor)) - expected).max() <= 2


def test_a_factor_of_one_changes_no_level(levels):
    pixels = from_levels(levels)
    for edit in (editing.brightness, editing.contrast, editing.saturation):
        assert torch.equal(edit(pixels, 1.0), pixels)
    assert torch.equal(editing.unsharp_mask(pixels, 1.0, 0.0), pixels)


def test_the_unsharp_mask_adds_what_pillows_own_blur_takes_away(levels):
    for image, result in zip(levels, to_levels(editing.unsharp_mask(from_levels(levels), 1.5, 0.8)), strict=True):
        array = image.permute(1, 2, 0).numpy().astype(np.uint8)
        soft = np.asarray(Image.fromarray(array).filter(ImageFilter.GaussianBlur(1.5))).astype(float)
        expected = np.clip(array + 0.8 * (array - soft), 0, 255)
        assert np.abs(result.transpose(1, 2, 0) - expected).max() <= 1


@pytest.mark.parametrize("edit", [editing.brightness, editing.contrast, editing.saturation])
def test_no_images_are_no_trouble(edit):
    assert edit(torch.empty(0, 3, 4, 5), 1.5).shape == (0, 3, 4, 5)


@pytest.mark.parametrize("size", [1, 3, 5, 7])
def test_the_median_is_that_of_scipy(levels, size):
    expected = np.stack([[ndimage.median_filter(channel, size, mode="mirror") for channel in image] for image in levels.numpy()])
    assert (to_levels(filters.median(from_levels(levels), size)) == expected).all()


def test_a_median_of_an_even_size_is_refused():
    with pytest.raises(ValueError, match="^median: size must be odd and at least 1, got 4$"):
        filters.median(torch.zeros(1, 3, 4, 4), 4)
