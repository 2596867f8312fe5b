"""Images from memory become the samples that every other corpus gives."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from redteam.data.given import given


def pictures(corpus):
    read = corpus.open(lambda name: None)
    return [read(sample) for sample in corpus.samples()]


def test_samples_say_size_label_group_and_content():
    images = [np.zeros((8, 6, 3), np.uint8), np.full((4, 6, 3), 9, np.uint8)]
    corpus = given(images, [0, 1], ids=["a", "b"], groups=[7, "x"])
    assert [(s.id, s.label, s.group, s.height, s.width) for s in corpus.samples()] == [("a", 0, "7", 8, 6), ("b", 1, "x", 4, 6)]
    again = given(images[::-1], [0, 1])
    assert [s.content for s in corpus.samples()] == [s.content for s in again.samples()][::-1]
    assert [s.group for s in again.samples()] == ["00000", "00001"]


def test_equal_bytes_of_another_shape_are_another_image():
    one, other = (next(iter(given([np.zeros(shape, np.uint8)], [0]).samples())).content for shape in ((2, 8, 3), (8, 2, 3)))
    assert one != other


def test_floating_point_pixels_are_rounded_to_the_nearest_level():
    exact = torch.linspace(0, 1, 3 * 16 * 16, dtype=torch.float64).view(3, 16, 16)
    for tensor in (exact, exact.float(), exact.float().requires_grad_(True)):
        found = pictures(given(tensor[None], [1]))[0].pixels
        assert found.dtype == np.uint8 and np.abs(found.transpose(2, 0, 1) / 255 - exact.numpy()).max() <= 0.5 / 255 + 1e-7


def test_what_is_handed_over_may_change_afterwards():
    tensor = torch.zeros(1, 3, 4, 4)
    corpus = given(tensor, [0])
    tensor += 1
    assert pictures(corpus)[0].pixels.max() == 0


@pytest.mark.parametrize("mask", [np.eye(4, dtype=bool), np.eye(4), np.eye(4, dtype=np.uint8) * 255, torch.eye(4)[None], torch.eye(4) * 0.8])
def test_masks_are_forged_above_half(mask):
    corpus = given(np.zeros((1, 4, 4, 3), np.uint8), [1], masks=[mask])
    assert corpus.has_masks() and np.array_equal(pictures(corpus)[0].mask, np.eye(4, dtype=np.uint8) * 255)
    assert not given(np.zeros((1, 4, 4, 3), np.uint8), [1]).has_masks()


@pytest.mark.parametrize("labels", [[0, 1], (False, True), np.array([0, 1]), torch.tensor([0.0, 1.0]), np.array([False, True])])
def test_labels_may_be_any_zeros_and_ones(labels):
    assert given(np.zeros((2, 4, 4, 3), np.uint8), labels).labels == (0, 1)
