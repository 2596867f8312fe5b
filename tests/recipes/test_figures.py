"""The figures on the cards, against references written separately."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn

from redteam.data.camera import render, resave
from redteam.recipes.detection import auc, auc_interval, blurred, detection_figures, file_size, saved, scores
from redteam.recipes.recipe import silent
from redteam.recipes.reconstruction import as_tensor, rebuild, reconstruction_figures


class Same(nn.Module):
    """An autoencoder without loss."""

    factor = 4

    def forward(self, images: Tensor) -> Tensor:
        return images


class Darker(nn.Module):
    """An autoencoder that takes a tenth of the light."""

    factor = 4

    def forward(self, images: Tensor) -> Tensor:
        return images * 0.9


class Darkness(nn.Module):
    """A detector by mean brightness."""

    def forward(self, images: Tensor) -> Tensor:
        return -images.mean((1, 2, 3))


def test_auc_counts_pairs_in_the_right_order_and_ties_as_half():
    rng = np.random.default_rng(0)
    negatives, positives = rng.integers(0, 5, 30).astype(float), rng.integers(1, 6, 20).astype(float)
    reference = roc_auc_score([0] * 30 + [1] * 20, np.concatenate([negatives, positives]))
    assert auc(negatives, positives) == pytest.approx(reference)


def test_the_interval_of_the_auc_holds_the_auc_and_narrows_with_n():
    rng = np.random.default_rng(1)
    widths = []
    for n in (20, 500):
        negatives, positives = rng.normal(0, 1, n), rng.normal(1, 1, n)
        low, high = auc_interval(negatives, positives, draws=100)
        assert low < auc(negatives, positives) < high
        widths.append(high - low)
    assert widths[1] < widths[0] / 2


def test_a_perfect_autoencoder_leaves_nothing_to_detect():
    figures = detection_figures(Darkness(), Same(), photographs=None, progress=silent, scenes=4, crops=1)
    assert figures["camera_auc"] == 0.5 and figures["photos_auc"] == 0.5 and figures["camera_n_pairs"] == 4


def test_a_darker_copy_is_given_away_by_its_mean_alone():
    figures = detection_figures(Darkness(), Darker(), photographs=None, progress=silent, scenes=6, crops=1)
    assert figures["camera_trivial_mean_auc"] == figures["camera_auc"] > 0.55


def test_reconstruction_figures_are_those_of_a_known_error():
    figures = reconstruction_figures(Darker(), photographs=None, progress=silent, scenes=3, crops=1)
    errors = [np.mean((np.rint(p * 0.9) - p.astype(float)) ** 2) for p in (render(1, k, 128) for k in range(3))]
    assert figures["camera_psnr_db"] == pytest.approx(np.mean(10 * np.log10(255**2 / np.array(errors))), abs=0.05)
    assert figures["camera_n"] == 3 and figures["photos_n"] == 6


def test_scores_do_not_depend_on_the_batch():
    pictures = [render(1, k, 32) for k in range(5)]
    assert np.allclose(scores(Darkness(), pictures, batch=2), scores(Darkness(), pictures, batch=5))


def test_rebuilding_rounds_to_eight_bits():
    pictures = [render(1, k, 32) for k in range(3)]
    assert all(np.array_equal(a, b) for a, b in zip(pictures, rebuild(pictures, Same(), batch=2), strict=True))
    assert as_tensor(pictures).dtype == torch.float32 and as_tensor(pictures).shape == (3, 3, 32, 32)


def test_pictures_are_saved_at_their_own_quality_and_larger_at_a_higher_one():
    pictures = [render(1, k, 64) for k in range(2)]
    assert np.array_equal(saved(pictures, [80, 95])[1], resave(pictures[1], 95))
    assert file_size(pictures[0], 80) < file_size(pictures[0], 95)
    assert blurred(pictures[0], 1.0).std() < pictures[0].std()
