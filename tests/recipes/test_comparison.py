"""How far two detectors differ, on detectors whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor, nn

from redteam.data.camera import render
from redteam.recipes.comparison import changes, comparison_figures, gradient_cosine, noisy, rank_correlation, reduced
from redteam.recipes.detection import scores
from redteam.recipes.recipe import silent


class Channel(nn.Module):
    """A detector by the mean of one channel."""

    def __init__(self, channel: int, sign: float = 1.0) -> None:
        super().__init__()
        self.channel, self.sign = channel, sign

    def forward(self, images: Tensor) -> Tensor:
        return self.sign * (images[:, self.channel].mean((1, 2)) - 0.5)


class Inverted(nn.Module):
    """An autoencoder that swaps dark and bright."""

    factor = 4

    def forward(self, images: Tensor) -> Tensor:
        return 1 - images


PICTURES = [render(1, k, 32) for k in range(9)]


def test_rank_correlation_is_spearmans_over_one_class():
    detectors = {"red": Channel(0), "blue": Channel(2)}
    expected = stats.pearsonr(*(stats.rankdata(scores(module, PICTURES)) for module in detectors.values())).statistic
    assert rank_correlation(detectors, PICTURES) == pytest.approx(expected)
    assert rank_correlation({"red": Channel(0), "against": Channel(0, -1.0)}, PICTURES) == pytest.approx(-1)


@pytest.mark.parametrize(("other", "cosine"), [(Channel(0), 1), (Channel(0, -1.0), -1), (Channel(1), 0)])
def test_gradients_agree_oppose_or_have_nothing_in_common(other: nn.Module, cosine: float):
    assert gradient_cosine({"red": Channel(0), "other": other}, PICTURES, batch=4) == pytest.approx(cosine, abs=1e-5)


@pytest.mark.parametrize("change", changes())
def test_a_change_leaves_its_input_alone_and_is_the_same_again(change: str):
    pictures = [picture.copy() for picture in PICTURES[:2]]
    first, second = changes()[change](pictures), changes()[change](pictures)
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    assert all(np.array_equal(a, b) for a, b in zip(pictures, PICTURES, strict=False))
    assert (change == "unchanged") == np.array_equal(first[0], pictures[0])


def test_noise_has_its_deviation_and_differs_between_pictures():
    grey = np.full((64, 64, 3), 128, np.uint8)
    assert (noisy(grey, 2.0, 0).astype(float) - 128).std() == pytest.approx(np.sqrt(4 + 1 / 12), rel=0.03)
    assert not np.array_equal(noisy(grey, 2.0, 0), noisy(grey, 2.0, 1))


def test_a_reduced_picture_has_that_share_of_its_sides_until_it_is_restored():
    picture = render(1, 0, 64)[:, :40]
    assert reduced(picture, 0.9).shape == (58, 36, 3)
    restored = reduced(picture, 0.9, restore=True)
    assert restored.shape == picture.shape and 0 < np.abs(restored.astype(float) - picture).mean() < 5


def test_the_figures_say_how_each_detector_fares_after_each_change():
    detectors = {"dark": Channel(1, -1.0), "bright": Channel(1)}
    figures = comparison_figures(detectors, Inverted(), photographs=None, progress=silent, scenes=4, crops=1)
    assert figures["camera_rank_correlation_real"] == -1 and figures["photos_gradient_cosine_regenerated"] == -1
    for change in changes():
        assert figures[f"camera_{change}_dark_auc"] == pytest.approx(1 - figures[f"camera_{change}_bright_auc"], abs=1e-4)
        assert figures[f"camera_{change}_dark_fpr"] == pytest.approx(1 - figures[f"camera_{change}_bright_fpr"], abs=1e-4)
    assert {name.split("_")[0] for name in figures} == {"camera", "photos"}
