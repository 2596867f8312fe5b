"""The cosine transform beside scipy's, its bands, and what they leave out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import fft

from redteam.imaging.dct import band, dct, filter_band, idct

SIZES = [(8, 8), (16, 24), (13, 5), (1, 1), (9, 17)]


def planes(height, width, n=2, seed=0):
    return torch.randn(n, 3, height, width, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("size", SIZES)
def test_the_whole_image_is_transformed_as_scipy_does(size):
    x = planes(*size)
    assert np.allclose(dct(x).numpy(), fft.dctn(x.numpy(), axes=(-2, -1), norm="ortho"))


def test_full_blocks_are_transformed_as_scipy_does_and_what_is_left_over_makes_smaller_ones():
    x = planes(19, 16)
    found = dct(x, 8)
    for top, bottom in ((0, 8), (8, 16), (16, 19)):
        for left in (0, 8):
            part = x[..., top:bottom, left : left + 8]
            assert np.allclose(found[..., top:bottom, left : left + 8].numpy(), fft.dctn(part.numpy(), axes=(-2, -1), norm="ortho"))


@pytest.mark.parametrize("block", [None, 8, 3])
@pytest.mark.parametrize("size", SIZES)
def test_it_keeps_lengths_and_goes_back(size, block):
    x = planes(*size)
    coefficients = dct(x, block)
    assert torch.allclose(coefficients.square().sum(), x.square().sum())
    assert torch.allclose(idct(coefficients, block), x)


@pytest.mark.parametrize("block", [None, 8])
@pytest.mark.parametrize("size", SIZES)
def test_bands_that_touch_share_no_coefficient_and_leave_none_out(size, block):
    parts = [band(*size, low, high, block).int() for low, high in ((0, 1 / 3), (1 / 3, 2 / 3), (2 / 3, 1))]
    assert torch.equal(sum(parts), torch.ones(size, dtype=torch.int32))


def test_a_constant_is_the_lowest_frequency_and_a_checkerboard_the_highest():
    flat = torch.ones(1, 3, 16, 16)
    board = (torch.arange(16)[:, None] + torch.arange(16)).remainder(2).mul(2).sub(1).float().expand(1, 3, 16, 16)
    for block in (None, 8):
        low, high = band(16, 16, 0, 0.1, block), band(16, 16, 0.6, 1, block)
        assert torch.allclose(filter_band(flat, low, block), flat, atol=1e-5)
        assert filter_band(board, high, block).square().sum() > 0.85 * board.square().sum()
        assert filter_band(flat, high, block).abs().max() < 1e-5


@pytest.mark.parametrize("block", [None, 8])
def test_a_band_is_a_projection(block):
    x, kept = planes(12, 20), band(12, 20, 0.2, 0.6, block)
    once = filter_band(x, kept, block)
    assert torch.allclose(filter_band(once, kept, block), once)
    assert ((x - once) * once).sum().abs() < 1e-9


def test_the_bits_of_an_image_do_not_hang_on_its_batch():
    x = planes(32, 24, n=7).float()
    assert torch.equal(dct(x, 8), torch.cat([dct(image[None], 8) for image in x]))
