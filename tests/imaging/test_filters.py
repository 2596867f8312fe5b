"""Gaussian filters against scipy."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage, signal

from redteam.imaging.filters import clip, filter_valid, gaussian_blur, gaussian_kernel, reflect


def noise(*shape, dtype=torch.float32):
    return torch.rand(shape, dtype=dtype, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("sigma", [0.3, 0.8, 1.5, 4.0])
def test_the_kernel_is_a_normal_density_that_adds_to_one(sigma):
    kernel = gaussian_kernel(sigma).numpy()
    radius = int(np.ceil(3 * sigma))
    density = np.exp(-(np.arange(-radius, radius + 1) ** 2) / (2 * sigma**2))
    assert kernel == pytest.approx(density / density.sum())
    assert kernel.sum() == pytest.approx(1)


@settings(deadline=None, max_examples=40)
@given(sigma=st.floats(0, 5), height=st.integers(1, 12), width=st.integers(1, 12))
def test_blur_is_scipy_s_at_any_size(sigma, height, width):
    x = noise(1, 3, height, width)
    kernel = gaussian_kernel(sigma).numpy()
    expected = x.double().numpy()
    for axis in (2, 3):
        expected = ndimage.correlate1d(expected, kernel, axis=axis, mode="mirror")
    assert np.abs(gaussian_blur(x, sigma).numpy() - expected).max() < 2e-6


@given(length=st.integers(1, 6), by=st.integers(0, 20))
def test_reflection_goes_on_as_often_as_it_must(length, by):
    x = torch.arange(float(length))
    assert reflect(x, by, dim=0).tolist() == np.pad(x.numpy(), by, mode="reflect").tolist()


def test_filtering_without_padding_is_scipy_s_valid_correlation():
    x, kernel = noise(2, 3, 12, 15, dtype=torch.float64), gaussian_kernel(1.5)
    square = np.outer(kernel, kernel)
    expected = [[signal.correlate2d(channel, square, mode="valid") for channel in image] for image in x.numpy()]
    assert np.allclose(filter_valid(x, kernel).numpy(), expected)


def test_sigma_zero_changes_nothing():
    x = noise(2, 3, 5, 6)
    assert torch.equal(gaussian_blur(x, 0), x)


def test_the_gradient_is_that_of_finite_differences():
    x = noise(1, 1, 4, 5, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda pixels: gaussian_blur(pixels, 1.2), x)


def test_images_of_a_batch_do_not_touch_each_other():
    x = noise(5, 3, 17, 19)
    together = gaussian_blur(x, 2.0)
    assert all(torch.equal(together[i : i + 1], gaussian_blur(x[i : i + 1], 2.0)) for i in range(5))


def test_a_white_image_stays_white_and_keeps_its_gradient():
    for sigma in (0.7, 1.0, 2.3):
        x = torch.ones(1, 3, 20, 20, requires_grad=True)
        y = gaussian_blur(x, sigma)
        y.sum().backward()
        assert y.max() <= 1
        assert x.grad.sum().item() == pytest.approx(1200, rel=1e-4)


def test_clipping_stops_the_gradient_only_of_what_is_truly_outside():
    x = torch.tensor([-0.2, -1e-7, 0.0, 0.5, 1.0, 1 + 2e-7, 1.2], requires_grad=True)
    y = clip(x)
    y.sum().backward()
    assert y.tolist() == [0.0, 0.0, 0.0, 0.5, 1.0, 1.0, 1.0]
    assert x.grad.tolist() == [0.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: gaussian_kernel(-1.0), "gaussian_kernel: sigma must be >= 0 and finite, got -1.0"),
        (lambda: gaussian_blur(noise(1, 3, 4, 4), float("nan")), "gaussian_kernel: sigma must be >= 0 and finite, got nan"),
        (
            lambda: filter_valid(noise(1, 3, 4, 9), gaussian_kernel(1.0)),
            "filter_valid: images must be at least 7 pixels high and wide, got (4, 9)",
        ),
    ],
)
def test_errors_say_what_was_expected_and_what_came(call, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        call()
