"""The photographs that come with scikit-image and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest

from redteam.data import photos


def test_there_are_six_scenes_in_a_fixed_order():
    assert photos.scenes() == ("astronaut", "chelsea", "china", "coffee", "flower", "rocket")


@pytest.mark.parametrize("scene", photos.scenes())
def test_crops_are_colour_pictures_of_the_size_asked_for_and_repeat(scene):
    for size in (64, 128, 333):
        crop = photos.crop(scene, 3, size)
        assert crop.shape == (size, size, 3) and crop.dtype == np.uint8
        assert np.array_equal(crop, photos.crop(scene, 3, size))
    assert crop.std(axis=2).mean() > 1


def test_a_crop_at_full_size_is_cut_from_the_photograph_itself():
    from skimage.data import coffee

    whole, crop = coffee(), photos.crop("coffee", 1, 128)
    windows = np.lib.stride_tricks.sliding_window_view(whole[..., 0], (128, 128))
    corners = np.argwhere((windows[..., 0, 0] == crop[0, 0, 0]) & (windows[..., -1, -1] == crop[-1, -1, 0]) & (windows[..., 0, -1] == crop[0, -1, 0]))
    assert any(np.array_equal(whole[y : y + 128, x : x + 128], crop) for y, x in corners)


def test_different_indices_give_different_crops():
    crops = {photos.crop("china", index, 128).tobytes() for index in range(8)}
    assert len(crops) == 8


def test_writing_to_a_crop_does_not_change_the_next():
    first = photos.crop("chelsea", 0, 64)
    kept = first.copy()
    first[:] = 0
    assert np.array_equal(photos.crop("chelsea", 0, 64), kept)


def test_an_unknown_scene_is_refused_by_name():
    with pytest.raises(ValueError, match="photos: scene must be one of astronaut, .*, rocket, got 'lena'"):
        photos.crop("lena", 0, 64)
