"""Forgeries: masks mark what was changed, and nothing outside them was."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from redteam.data.camera import render, resave
from redteam.data.copy_move import copy_move
from redteam.data.regenerate import regenerate
from redteam.data.splice import enlarge, region, splice

HOST, DONOR = render(1, 100, 96), render(1, 101, 96)


def forge(kind: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return splice(HOST, DONOR, rng) if kind == "splice" else copy_move(HOST, rng)


@pytest.mark.parametrize("kind", ["splice", "copy_move"])
@pytest.mark.parametrize("seed", range(6))
def test_the_mask_holds_every_changed_pixel_and_few_others(kind, seed):
    forged, mask = forge(kind, seed)
    changed = (forged != HOST).any(axis=2)
    assert forged.dtype == mask.dtype == np.uint8 and set(np.unique(mask)) == {0, 255}
    assert not changed[mask == 0].any()
    inside = ndimage.binary_erosion(mask > 0, iterations=3)  # beyond the seam, where little of the patch is blended in
    assert changed[inside].mean() > 0.9


@pytest.mark.parametrize(("kind", "low", "high"), [("splice", 0.05, 0.35), ("copy_move", 0.04, 0.20)])
def test_the_forged_region_has_the_documented_area(kind, low, high):
    areas = [(forge(kind, seed)[1] > 0).mean() for seed in range(40)]
    assert low <= min(areas) and max(areas) <= high


@pytest.mark.parametrize("kind", ["splice", "copy_move"])
def test_the_same_generator_state_gives_the_same_forgery(kind):
    (first, mask), (again, mask_again) = forge(kind, 7), forge(kind, 7)
    assert np.array_equal(first, again) and np.array_equal(mask, mask_again)
    assert not np.array_equal(first, forge(kind, 8)[0])


def test_inputs_are_not_written_to():
    host, donor = HOST.copy(), DONOR.copy()
    splice(host, donor, np.random.default_rng(0))
    copy_move(host, np.random.default_rng(0))
    assert np.array_equal(host, HOST) and np.array_equal(donor, DONOR)


def test_half_of_the_splices_show_the_donor_pixel_for_pixel():
    shown = []
    for seed in range(20):
        forged, mask = forge("splice", seed)
        inside = ndimage.binary_erosion(mask > 0, iterations=5)
        shown.append(np.array_equal(forged[inside], DONOR[inside]))
    assert 3 <= sum(shown) <= 17


def test_some_copies_are_exact_and_come_from_elsewhere_in_the_image():
    exact = 0
    for seed in range(12):
        forged, mask = forge("copy_move", seed)
        rows, cols = np.nonzero(ndimage.binary_erosion(mask > 0, iterations=5))
        patch = forged[rows.min() : rows.min() + 8, cols[0] : cols[0] + 8]
        window = patch if (mask[rows.min() : rows.min() + 8, cols[0] : cols[0] + 8] > 0).all() else forged[rows[len(rows) // 2]][cols[len(cols) // 2], None, None]
        found = np.lib.stride_tricks.sliding_window_view(HOST, (*window.shape[:2], 3))[:, :, 0]
        exact += bool((found == window).all((2, 3, 4)).any())
    assert exact >= 2


def test_a_donor_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"splice: donor must be shaped like its host \(96, 96, 3\), got \(64, 96, 3\)"):
        splice(HOST, DONOR[:64], np.random.default_rng(0))


def test_oblong_images_can_be_forged():
    host = HOST[:48]
    for forged, mask in (splice(host, DONOR[:48], np.random.default_rng(1)), copy_move(host, np.random.default_rng(1))):
        assert forged.shape == host.shape and mask.shape == host.shape[:2]


def test_regions_come_in_one_piece():
    pieces = [ndimage.label(region(np.random.default_rng(seed), 64, 64, share=0.2))[1] for seed in range(30)]
    assert max(pieces) == 1


def test_enlarging_by_one_changes_nothing_much_and_keeps_the_shape():
    assert enlarge(HOST, 1.2).shape == HOST.shape
    assert np.abs(enlarge(HOST, 1.0).astype(int) - HOST).max() <= 1


class Doubler(torch.nn.Module):
    """Stands in for an autoencoder: refuses sides that four does not divide."""

    factor = 4

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        assert images.shape[-1] % 4 == 0 and images.shape[-2] % 4 == 0
        return images * 2


@pytest.mark.parametrize("shape", [(8, 8), (9, 14), (33, 47)])
def test_regeneration_takes_any_size_and_stays_in_range(shape):
    images = torch.rand(2, 3, *shape, generator=torch.Generator().manual_seed(0))
    out = regenerate(images, Doubler())
    assert torch.equal(out, (images * 2).clamp(0, 1))


def test_saving_real_and_forged_alike_moves_pixels_outside_the_mask_only_a_little():
    forged, mask = forge("splice", 2)
    far = ndimage.distance_transform_edt(mask == 0) > 26  # beyond the 16-pixel blocks of subsampled chroma and their interpolation
    before, after = resave(HOST, 90).astype(int), resave(forged, 90).astype(int)
    assert np.array_equal(before[far], after[far])
