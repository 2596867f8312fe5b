"""Resizing against Pillow and torch, cropping against torchvision's rule."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data
from torch.nn import functional

from redteam.imaging.grid import from_levels
from redteam.imaging.resampling import centre_crop, lanczos_weights, pillow_resize, resize

KERNELS = ["bilinear", "bicubic", "nearest", "lanczos"]
SIZES = [(20, 17), (51, 29), (96, 64), (40, 1)]


@pytest.fixture(scope="module")
def photo():
    """Two crops (2, 40, 36, 3) uint8."""
    return np.stack([data.chelsea()[y : y + 40, 100:136] for y in (60, 120)])


@pytest.fixture(scope="module")
def pixels(photo):
    return from_levels(torch.from_numpy(photo).permute(0, 3, 1, 2).contiguous())


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("size", SIZES)
def test_the_editor_s_resize_is_pillow_s_to_the_bit(photo, pixels, kernel, size):
    expected = [np.asarray(Image.fromarray(image).resize(size[::-1], Image.Resampling[kernel.upper()])) for image in photo]
    ours = (pillow_resize(pixels, *size, kernel) * 255).round().to(torch.uint8)
    assert np.array_equal(ours.permute(0, 2, 3, 1).numpy(), np.stack(expected))


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("size", SIZES)
def test_the_differentiable_resize_is_pillow_s_in_floats(pixels, kernel, size):
    ours = resize(pixels, *size, kernel)
    channels = [Image.fromarray(channel).resize(size[::-1], Image.Resampling[kernel.upper()]) for channel in pixels.flatten(0, 1).numpy()]
    expected = np.clip(np.stack([np.asarray(channel) for channel in channels]), 0, 1)
    assert np.abs(ours.flatten(0, 1).numpy() - expected).max() < 2e-6
    assert ours.min() >= 0
    assert ours.max() <= 1


@pytest.mark.parametrize("kernel", ["bilinear", "bicubic"])
def test_without_antialias_it_is_torch_s(pixels, kernel):
    expected = functional.interpolate(pixels, (17, 13), mode=kernel, align_corners=False).clamp(0, 1)
    assert torch.equal(resize(pixels, 17, 13, kernel, antialias=False), expected)
    assert not torch.equal(resize(pixels, 17, 13, kernel), expected)


@pytest.mark.parametrize("kernel", KERNELS)
def test_the_same_size_changes_nothing(pixels, kernel):
    assert torch.equal(resize(pixels, 40, 36, kernel), pixels)
    assert torch.equal(pillow_resize(pixels, 40, 36, kernel), pixels)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("size", [(3, 4), (9, 11)])
def test_gradients_are_those_of_finite_differences(kernel, size):
    x = torch.rand(1, 1, 6, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 0.2 + 0.4
    assert torch.autograd.gradcheck(lambda pixels: resize(pixels, *size, kernel), x.requires_grad_())


def test_a_white_image_stays_white_and_keeps_its_gradient():
    for kernel in ("bilinear", "bicubic", "lanczos"):
        x = torch.ones(1, 3, 30, 31, requires_grad=True)
        y = resize(x, 19, 44, kernel)
        y.sum().backward()
        assert 1 - 1e-6 < y.min()
        assert y.max() <= 1
        assert x.grad.sum().item() == pytest.approx(3 * 19 * 44, rel=1e-4)


def test_lanczos_weights_add_to_one_and_reach_three_lobes():
    for before, after, antialias in ((40, 17, True), (40, 17, False), (17, 40, True), (5, 1, True)):
        weights = lanczos_weights(before, after, antialias)
        assert weights.sum(dim=1).tolist() == pytest.approx([1.0] * after)
        reach = 3 * (max(before / after, 1) if antialias else 1)
        assert (weights != 0).sum(dim=1).max() <= 2 * reach + 1


@pytest.mark.parametrize("height", [5, 6, 9])
@pytest.mark.parametrize("width", [4, 7])
@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 8, 9, (3, 8)])
def test_the_centre_crop_is_torchvision_s(height, width, size):
    transforms = pytest.importorskip("torchvision.transforms.functional")
    x = torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(0))
    assert torch.equal(centre_crop(x, size), transforms.center_crop(x, size))


def test_the_border_of_a_crop_has_the_given_value():
    assert centre_crop(torch.ones(1, 1, 1), (2, 3), pad_value=0.5).tolist() == [[[0.5, 1.0, 0.5], [0.5, 0.5, 0.5]]]


def test_an_empty_batch_stays_empty():
    assert pillow_resize(torch.zeros(0, 3, 8, 9), 4, 5).shape == (0, 3, 4, 5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: resize(x, 0, 4), "resize: size must be at least 1 x 1, got 0 x 4"),
        (lambda x: pillow_resize(x, 4, 4, "cubic"), "pillow_resize: kernel must be one of bilinear, bicubic, nearest, lanczos, got 'cubic'"),
        (lambda x: centre_crop(x, 0), "centre_crop: size must be at least 1 x 1, got 0 x 0"),
    ],
)
def test_errors_say_what_was_expected_and_what_came(call, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        call(torch.ones(1, 3, 2, 2))
