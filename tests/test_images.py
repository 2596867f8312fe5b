"""A batch of images is checked when it is made, and picked apart without losing anything."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
import torch

from redteam.images import Images, positions


@pytest.fixture
def images(make_images):
    whole = make_images(5, 6, 4)
    return replace(
        whole,
        masks=torch.rand(5, 1, 6, 4, generator=torch.Generator().manual_seed(1)),
        messages=torch.eye(5, 8),
        landmarks=torch.arange(20.0).view(5, 2, 2),
    )


@pytest.mark.parametrize("index", [torch.tensor([3, 0]), [3, 0], torch.tensor([3, 0], dtype=torch.int32)])
def test_a_subset_by_positions_takes_every_field_in_that_order(images, index):
    part = images.subset(index)
    assert part.ids == ("image3", "image0")
    assert part.groups == ("group3", "group0")
    assert part.labels.tolist() == [0, 1]
    for name in ("pixels", "masks", "messages", "landmarks"):
        assert torch.equal(getattr(part, name), getattr(images, name)[[3, 0]]), name


def test_a_subset_by_mask_or_slice_keeps_the_order(images):
    chosen = torch.tensor([True, False, False, True, True])
    assert images.subset(chosen).ids == images.subset(chosen.tolist()).ids == ("image0", "image3", "image4")
    assert images.subset(slice(1, None, 2)).ids == ("image1", "image3")
    assert len(images.subset([])) == 0


def test_optional_fields_that_are_absent_stay_absent(make_images):
    part = make_images(3).subset([1])
    assert part.masks is part.messages is part.landmarks is None


def test_an_image_cannot_be_in_a_batch_twice(images):
    with pytest.raises(ValueError, match="^images: ids must be unique within a batch; an image's randomness and its records hang on its id$"):
        images.subset([0, 0])


def test_other_pixels_keep_everything_else(images):
    changed = images.with_pixels(images.pixels * 0.5)
    assert changed.ids == images.ids
    assert changed.masks is images.masks
    assert torch.equal(changed.pixels, images.pixels * 0.5)


def test_another_size_needs_another_mask(images):
    small = images.pixels[..., :3]
    with pytest.raises(ValueError, match=re.escape("images: masks must be (5, 1, 6, 3), got (5, 1, 6, 4)")):
        images.with_pixels(small)
    assert images.with_pixels(small, images.masks[..., :3]).masks.shape == (5, 1, 6, 3)


def test_moving_keeps_what_is_absent_absent(make_images):
    moved = make_images(2).to("cpu")
    assert moved.masks is None
    assert moved.pixels.device.type == "cpu"


def test_positions_are_those_that_the_index_selects():
    assert positions(slice(0, 4, 3), 5).tolist() == [0, 3]
    assert positions([2, 0], 3).tolist() == [2, 0]
    assert positions(torch.zeros(3, dtype=torch.bool), 3).tolist() == []


def arguments(**changes):
    base = {"pixels": torch.zeros(2, 3, 4, 4), "ids": ("a", "b"), "labels": torch.tensor([0, 1]), "groups": ("g", "g")}
    return base | changes


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pixels": torch.zeros(2, 1, 4, 4)}, "images must be (n, 3, h, w), got (2, 1, 4, 4)"),
        ({"pixels": torch.zeros(3, 4, 4)}, "images must be (n, 3, h, w), got (3, 4, 4)"),
        ({"pixels": torch.zeros(2, 3, 4, 4, dtype=torch.float64)}, "images must be float32, got torch.float64"),
        ({"pixels": torch.zeros(2, 3, 4, 4) - 1}, "images must lie in [0, 1], got [-1.00, -1.00]; the target's adapter normalises, not the caller"),
        ({"pixels": torch.full((2, 3, 4, 4), 200.0)}, "images must lie in [0, 1], got [200.00, 200.00]; the target's adapter normalises, not the caller"),
        ({"pixels": torch.full((2, 3, 4, 4), torch.nan)}, "images must lie in [0, 1], got [nan, nan]; the target's adapter normalises, not the caller"),
        ({"ids": ("a",)}, "images: 2 pictures need as many ids, groups and labels, got 1, 2, (2,)"),
        ({"groups": ("a",)}, "images: 2 pictures need as many ids, groups and labels, got 2, 1, (2,)"),
        ({"labels": torch.tensor([[0], [1]])}, "images: 2 pictures need as many ids, groups and labels, got 2, 2, (2, 1)"),
        ({"labels": torch.tensor([0, 2])}, "images: labels must be 0 or 1, got [0, 2]"),
        ({"labels": torch.tensor([0.0, 1.0])}, "images: labels must be int64, got torch.float32"),
        ({"ids": ("a", "a")}, "images: ids must be unique within a batch; an image's randomness and its records hang on its id"),
        ({"masks": torch.zeros(2, 4, 4)}, "images: masks must be (2, 1, 4, 4), got (2, 4, 4)"),
        ({"messages": torch.zeros(3, 8)}, "images: 2 pictures need as many messages, got 3"),
        ({"landmarks": torch.zeros(1, 5, 2)}, "images: 2 pictures need as many landmarks, got 1"),
    ],
)
def test_what_is_wrong_with_a_batch_is_said_in_full(changes, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        Images(**arguments(**changes))


def test_two_batches_are_compared_by_identity_and_not_pixel_by_pixel(make_images):
    a, b = make_images(2), make_images(2)
    assert a == a
    assert a != b
    assert len({a, b}) == 2
