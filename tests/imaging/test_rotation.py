from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from redteam.imaging.rotation import inscribed, rotate


@pytest.fixture
def pixels():
    return torch.rand(2, 3, 20, 31, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("kernel", ["bilinear", "bicubic", "nearest"])
def test_whole_turns_and_half_turns_are_exact(pixels, kernel):
    assert torch.allclose(rotate(pixels, 0, kernel), pixels, atol=1e-4)
    assert torch.allclose(rotate(pixels, 180, kernel), pixels.flip((-1, -2)), atol=1e-4)


def test_a_quarter_turn_of_a_square_is_numpys():
    square = torch.rand(1, 3, 9, 9, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(rotate(square, 90), torch.rot90(square, 1, (-2, -1)), atol=1e-5)


@pytest.mark.parametrize("degrees", [-30.0, 3.0, 45.0])
def test_inside_the_inscribed_rectangle_it_agrees_with_scipy(pixels, degrees):
    height, width = inscribed(20, 31, degrees)
    top, left = (20 - height) // 2 + 1, (31 - width) // 2 + 1
    inside = (slice(top, top + height - 2), slice(left, left + width - 2))
    ours = rotate(pixels, degrees).numpy()
    for image, result in zip(pixels.numpy(), ours, strict=True):
        for channel, turned in zip(image, result, strict=True):
            assert np.allclose(turned[inside], ndimage.rotate(channel, degrees, reshape=False, order=1)[inside], atol=1e-4)


@given(height=st.integers(8, 300), width=st.integers(8, 300), tenths=st.integers(-1800, 1800))
def test_the_inscribed_rectangle_lies_inside_the_turned_image_and_could_not_grow_both_ways(height, width, tenths):
    degrees = tenths / 10
    high, wide = inscribed(height, width, degrees)
    turn = math.radians(degrees)

    def fits(h: float, w: float) -> bool:
        cos, sin = abs(math.cos(turn)), abs(math.sin(turn))
        return w * cos + h * sin <= width + 1e-5 and w * sin + h * cos <= height + 1e-5

    assert fits(high, wide) or (high, wide) == (1, 1)
    assert not fits(high + 1, wide + 1) or high == height or wide == width  # it stays on the canvas


@given(size=st.integers(8, 200), degrees=st.floats(0, 90))
def test_of_a_square_the_inscribed_one_is_the_known_square(size, degrees):
    turn = math.radians(degrees)
    expected = size / (math.cos(turn) + math.sin(turn))
    assert abs(inscribed(size, size, degrees)[0] - expected) < 1.01


def test_it_passes_gradients(pixels):
    x = pixels.clone().requires_grad_()
    rotate(x, 10).sum().backward()
    assert x.grad.abs().sum() > 0
