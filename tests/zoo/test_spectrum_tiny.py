"""What `zoo/spectrum-tiny` looks at: its residual and its spectra, against references written separately."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor

from redteam.data.camera import render
from redteam.recipes.reconstruction import as_tensor
from redteam.zoo.spectrum_tiny import SpectrumTiny, log_spectrum, residual

SQUARE = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]]) / 4


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def welch(values: np.ndarray, floor: float) -> np.ndarray:
    """(h, w) -> (17, 17), one window and one frequency at a time."""
    taper = np.outer(*[0.5 - 0.5 * np.cos(2 * np.pi * np.arange(32) / 32)] * 2)
    tops, lefts = range(0, values.shape[0] - 31, 16), range(0, values.shape[1] - 31, 16)
    windows = [values[top : top + 32, left : left + 32] for top in tops for left in lefts]
    power = np.mean([np.abs(np.fft.fft2((window - window.mean()) * taper)) ** 2 for window in windows], axis=0) / (taper**2).sum()
    logs = np.array([[np.log((power[fy, fx] + power[-fy % 32, fx]) / 2 + floor) for fx in range(17)] for fy in range(17)])
    return logs - logs.mean()


def test_the_residual_is_a_second_difference_along_both_axes():
    picture = render(1, 0, 48)
    luma = picture.astype(float) @ [0.299, 0.587, 0.114]
    assert np.allclose(residual(as_tensor([picture]))[0], ndimage.convolve(luma, SQUARE, mode="mirror"), atol=1e-3)


@pytest.mark.parametrize("shape", [(32, 32), (64, 80), (75, 50)])
def test_the_spectrum_is_that_of_averaged_windows(shape: tuple[int, int]):
    values = noise(2, *shape) * 3 + 5
    expected = np.stack([welch(v.double().numpy(), 0.2) for v in values])
    assert np.allclose(log_spectrum(values, 0.2), expected, atol=1e-4)


def test_a_wave_stands_at_its_own_frequency():
    x = torch.arange(128.0)
    wave = torch.cos(2 * torch.pi * (x[:, None] * 5 + x * 12) / 32)
    assert np.unravel_index(log_spectrum(wave[None], 1e-3)[0].argmax().item(), (17, 17)) == (5, 12)


def test_a_rhythm_of_strength_shows_in_the_second_spectrum_and_not_in_the_first():
    every_fourth = torch.where(torch.arange(256) % 4 == 0, 4.0, 1.0)
    left = noise(8, 256, 256) * every_fourth
    first, second = log_spectrum(left, 0.2).mean(0), log_spectrum((left.square() + 0.2).log(), 0.05).mean(0)
    assert second[0, 8] - second[0, [6, 10]].max() > 3  # a quarter of the sampling rate
    assert abs(first[0, 8] - first[0, [6, 10]].mean()) < 0.3


def test_contrast_leaves_the_spectrum_as_it_is():
    values = noise(1, 64, 64) * 100
    assert torch.allclose(log_spectrum(values, 0.2), log_spectrum(values * 3, 0.2), atol=0.05)


def test_colour_alone_changes_nothing():
    pixels = as_tensor([render(1, 1, 64)]) * 0.5 + 0.25
    chroma = 0.05 * noise(1, 1, 64, 64, seed=2).clamp(-2, 2) * torch.tensor([1.0, -0.299 / 0.587, 0.0]).view(1, 3, 1, 1)
    module = SpectrumTiny.load()
    assert torch.allclose(module(pixels), module(pixels + chroma), atol=1e-2)
    assert not torch.allclose(module(pixels), module(pixels + chroma.abs()), atol=1)


def test_the_gradient_is_the_slope():
    module, pixels = SpectrumTiny.load().double(), as_tensor([render(1, 2, 64)]).double()
    direction = noise(*pixels.shape, seed=3).double()
    gradient = torch.autograd.grad(module(pixels.requires_grad_()).sum(), pixels)[0]
    slope = (module(pixels + 1e-7 * direction) - module(pixels - 1e-7 * direction)) / 2e-7
    assert (gradient * direction).sum().item() == pytest.approx(slope.item(), rel=1e-3)


def test_flat_pictures_get_a_finite_score_and_gradient():
    pixels = torch.tensor([0.0, 0.5, 1.0]).view(3, 1, 1, 1).repeat(1, 3, 64, 64).requires_grad_()
    logits = SpectrumTiny.load()(pixels)
    logits.sum().backward()
    assert torch.isfinite(logits).all() and torch.isfinite(pixels.grad).all()


def test_a_picture_smaller_than_a_window_is_refused():
    with pytest.raises(ValueError) as raised:
        SpectrumTiny.build()(torch.zeros(1, 3, 31, 64))
    assert str(raised.value) == "zoo/spectrum-tiny: images must be at least 32 pixels high and wide, got (31, 64)"
