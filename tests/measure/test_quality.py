"""PSNR, SSIM and distances against scikit-image and integer arithmetic."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from skimage import data, metrics

from redteam.imaging.grid import from_levels
from redteam.measure.quality import l2, linf, psnr, ssim


@pytest.fixture(scope="module")
def pairs():
    """Three photographs' corners (3, 3, 48, 57) uint8 and the same with noise of three strengths."""
    rng = np.random.default_rng(0)
    clean = np.stack([image[20:68, 30:87] for image in (data.astronaut(), data.chelsea(), data.coffee())])
    noise = rng.normal(size=clean.shape) * np.array([1, 8, 60])[:, None, None, None]
    noisy = np.clip(clean + noise, 0, 255).astype(np.uint8)
    return tuple(torch.from_numpy(x).permute(0, 3, 1, 2) for x in (clean, noisy))


def each(function, a, b):
    return [function(x.permute(1, 2, 0).numpy(), y.permute(1, 2, 0).numpy()) for x, y in zip(a, b, strict=True)]


def test_psnr_is_that_of_scikit_image(pairs):
    assert psnr(*pairs).tolist() == pytest.approx(each(metrics.peak_signal_noise_ratio, *pairs), abs=1e-9)


def test_ssim_is_that_of_scikit_image_over_its_valid_region(pairs):
    def reference(x, y):
        return metrics.structural_similarity(
            x, y, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, channel_axis=2, data_range=255
        )

    assert ssim(*pairs).tolist() == pytest.approx(each(reference, *pairs), abs=1e-6)  # float32 inside


def test_bytes_and_floats_give_the_same_figures(pairs):
    floats = [from_levels(x) for x in pairs]
    for metric in (psnr, ssim, linf, l2):
        assert torch.equal(metric(*pairs), metric(*floats))
        assert torch.equal(metric(pairs[0], floats[1]), metric(*pairs))


def test_equal_images_are_infinitely_alike(pairs):
    clean = pairs[0]
    assert psnr(clean, clean).tolist() == [float("inf")] * 3
    assert ssim(clean, clean).tolist() == pytest.approx([1.0] * 3)
    assert linf(clean, clean).tolist() == l2(clean, clean).tolist() == [0.0] * 3


def test_differences_of_bytes_do_not_wrap_around():
    black, white = torch.zeros(1, 3, 2, 2, dtype=torch.uint8), torch.full((1, 3, 2, 2), 255, dtype=torch.uint8)
    for a, b in ((black, white), (white, black)):
        assert psnr(a, b).item() == 0.0
        assert linf(a, b).item() == 1.0
        assert l2(a, b).item() == pytest.approx(12**0.5)


def test_distances_are_in_image_units_and_exact(pairs):
    a, b = (x.numpy().astype(int) for x in pairs)
    assert linf(*pairs).tolist() == (np.abs(a - b).max(axis=(1, 2, 3)) / 255).tolist()
    assert l2(*pairs).tolist() == pytest.approx(np.sqrt(((a - b) ** 2).sum(axis=(1, 2, 3))) / 255)


def test_floats_are_measured_as_the_file_would_hold_them():
    grey = torch.full((1, 3, 12, 12), 100 / 255)
    assert psnr(grey, grey + 0.4 / 255).item() == float("inf")
    assert linf(grey, grey + 0.6 / 255).item() == 1 / 255


@pytest.mark.parametrize(("height", "width", "absent"), [(11, 11, False), (10, 40, True), (40, 10, True)])
def test_ssim_of_an_image_without_room_for_the_window_is_nan(height, width, absent):
    x = torch.zeros(2, 3, height, width, dtype=torch.uint8)
    assert torch.isnan(ssim(x, x)).tolist() == [absent] * 2


@pytest.mark.parametrize("metric", [psnr, ssim, linf, l2])
def test_batches_of_two_shapes_are_refused(metric):
    message = "images must both be (n, 3, h, w), got (1, 3, 4, 4) and (2, 3, 4, 4)"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        metric(torch.zeros(1, 3, 4, 4), torch.zeros(2, 3, 4, 4))
