"""Forgeries: masks mark what was changed, and nothing outside them was."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from redteam.data.camera import render, resave
from redteam.data.copy_move import copy_move
from redteam.data.forgery import Removal, Resample
from redteam.data.healing import STEPS, differences, heal
from redteam.data.regenerate import regenerate
from redteam.data.removal import removal
from redteam.data.resample import resample_region, resample_whole, transform
from redteam.data.splice import enlarge, region, splice

HOST, DONOR = render(1, 100, 96), render(1, 101, 96)


def forge(kind: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    makers = {
        "splice": lambda: splice(HOST, DONOR, rng), "copy_move": lambda: copy_move(HOST, rng),
        "removal": lambda: removal(HOST, rng), "resample": lambda: resample_region(HOST, rng, "bicubic"),
    }  # fmt: skip
    return makers[kind]()


@pytest.mark.parametrize("kind", ["splice", "copy_move", "removal", "resample"])
@pytest.mark.parametrize("seed", range(6))
def test_the_mask_holds_every_changed_pixel_and_few_others(kind, seed):
    forged, mask = forge(kind, seed)
    changed = (forged != HOST).any(axis=2)
    assert forged.dtype == mask.dtype == np.uint8 and set(np.unique(mask)) == {0, 255}
    assert not changed[mask == 0].any()
    inside = ndimage.binary_erosion(mask > 0, iterations=3)  # beyond the seam, where little of the patch is blended in
    assert changed[inside].mean() > 0.9


@pytest.mark.parametrize(("kind", "low", "high"), [("splice", 0.05, 0.35), ("copy_move", 0.04, 0.20), ("removal", 0.005, 0.13), ("resample", 0.045, 0.31)])
def test_the_forged_region_has_the_documented_area(kind, low, high):
    areas = [(forge(kind, seed)[1] > 0).mean() for seed in range(40)]
    assert low <= min(areas) and max(areas) <= high


@pytest.mark.parametrize("kind", ["splice", "copy_move", "removal", "resample"])
def test_the_same_generator_state_gives_the_same_forgery(kind):
    (first, mask), (again, mask_again) = forge(kind, 7), forge(kind, 7)
    assert np.array_equal(first, again) and np.array_equal(mask, mask_again)
    assert not np.array_equal(first, forge(kind, 8)[0])


def test_inputs_are_not_written_to():
    host, donor = HOST.copy(), DONOR.copy()
    splice(host, donor, np.random.default_rng(0))
    copy_move(host, np.random.default_rng(0))
    removal(host, np.random.default_rng(0))
    resample_region(host, np.random.default_rng(0), "bicubic")
    resample_whole(host, np.random.default_rng(0), "bilinear")
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
    rng = np.random.default_rng(1)
    for forged, mask in (splice(host, DONOR[:48], rng), copy_move(host, rng), removal(host, rng), resample_region(host, rng, "bicubic"), resample_whole(host, rng, "bicubic")):
        assert forged.shape == host.shape and mask.shape == host.shape[:2]
        assert (forged[mask == 0] == host[mask == 0]).all() and mask.any()


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


def shape(image: np.ndarray, level: tuple[int, int, int], centre: tuple[int, int], radius: int) -> np.ndarray:
    y, x = np.mgrid[: image.shape[0], : image.shape[1]]
    disc = np.hypot(y - centre[0], x - centre[1]) < radius
    image[disc] = level
    return disc


@pytest.mark.parametrize("seed", range(5))
def test_a_thing_on_an_even_ground_is_removed_and_the_ground_continued(seed):
    ground = np.clip(np.random.default_rng(seed).normal(120, 5, (96, 96, 3)), 0, 255).astype(np.uint8)
    image = ground.copy()
    disc = shape(image, (220, 30, 40), (60, 30), 8)
    forged, mask = removal(image, np.random.default_rng(seed))
    covered = disc & (mask > 0)
    assert covered.sum() > 0.6 * disc.sum()
    inside = ndimage.binary_erosion(mask > 0, iterations=4) if covered.all() else covered
    assert np.abs(forged[inside].mean(0) - 120).max() < 25
    assert 2 < forged[ndimage.binary_erosion(mask > 0, iterations=4)].std(0).mean() < 20  # the ground's grain came with it


@pytest.mark.parametrize("size", [64, 200])
def test_forgeries_of_other_sizes_keep_what_is_outside(size):
    host = np.tile(HOST, (3, 3, 1))[:size, :size]
    for seed in range(3):
        for forged, mask in (removal(host, np.random.default_rng(seed)), resample_region(host, np.random.default_rng(seed), "bilinear")):
            assert (forged[mask == 0] == host[mask == 0]).all() and 0 < (mask > 0).mean() < 0.4


def test_healing_with_a_pictures_own_differences_gives_it_back():
    inside = region(np.random.default_rng(3), 96, 96, share=0.2)
    rows, cols = np.nonzero(inside)
    assert np.array_equal(heal(HOST, inside, {step: differences(HOST, rows, cols, step) for step in STEPS}), HOST)


def test_healing_solves_the_poisson_equation():
    inside = region(np.random.default_rng(4), 24, 24, share=0.2)
    host, patch = HOST[:24, :24], DONOR[:24, :24]
    rows, cols = np.nonzero(inside)
    found = heal(host, inside, {step: differences(patch, rows, cols, step) for step in STEPS})
    plane = host.astype(float).copy()
    for _ in range(4000):  # Gauss-Seidel's slow cousin, written without matrices
        total, count = np.zeros((len(rows), 3)), np.zeros((len(rows), 1))
        for dy, dx in STEPS:
            ok = (rows + dy >= 0) & (rows + dy < 24) & (cols + dx >= 0) & (cols + dx < 24)
            r, c = np.clip(rows + dy, 0, 23), np.clip(cols + dx, 0, 23)
            total[ok] += (plane[r, c] + patch[rows, cols].astype(float) - patch[r, c])[ok]
            count[ok] += 1
        plane[rows, cols] = total / count
    np.testing.assert_allclose(found[rows, cols], np.clip(plane[rows, cols], 0, 255), atol=0.51)
    assert np.array_equal(found[~inside], host[~inside])


def test_a_patch_that_is_only_brighter_leaves_no_trace_when_healed():
    host = (HOST // 2).astype(np.uint8)
    inside = region(np.random.default_rng(5), 96, 96, share=0.2)
    rows, cols = np.nonzero(inside)
    assert np.array_equal(heal(host, inside, {step: differences(host + 60, rows, cols, step) for step in STEPS}), host)


@pytest.mark.parametrize("kernel, order", [("bilinear", 1), ("bicubic", 3)])
def test_a_transform_maps_places_as_its_scale_and_turn_say(kernel, order):
    y, x = np.mgrid[:96, :96].astype(float)
    smooth = np.stack([128 + 100 * np.sin(y / 9) * np.cos(x / 11)] * 3, -1)
    scale, turn, middle = 1.3, 0.2, (40.0, 55.0)
    back = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]]) / scale  # counterclockwise on the screen, where rows grow downward
    rows, cols = np.tensordot(back, np.stack([y - middle[0], x - middle[1]]), 1) + np.array(middle)[:, None, None]
    wanted = ndimage.map_coordinates(smooth[..., 0], [rows, cols], order=order, mode="nearest")
    found = transform(np.rint(smooth).astype(np.uint8), scale, turn, middle, kernel)[..., 0]
    np.testing.assert_allclose(found[10:-10, 10:-10], wanted[10:-10, 10:-10], atol=4)


def test_a_whole_resampled_image_shows_nothing_from_beyond_its_frame():
    frame = np.full((80, 120, 3), 100, np.uint8)
    frame[2:-2, 2:-2] = 200  # mirrored at the border it would show the dark rim twice
    for seed in range(20):
        forged, mask = resample_whole(frame, np.random.default_rng(seed), "bilinear")
        assert (mask == 255).all() and forged.shape == frame.shape
        assert forged[4:-4, 4:-4].min() > 190


def test_bilinear_enlargement_leaves_the_periodic_trace_that_resampling_forensics_looks_for():
    noise = np.random.default_rng(0).integers(0, 256, (128, 128, 3), dtype=np.uint8)

    def peak(image):
        residual = np.abs(image[..., 1].astype(float)[:, 1:-1] * 2 - image[..., 1].astype(float)[:, :-2] - image[..., 1].astype(float)[:, 2:]).mean(0)
        spectrum = np.abs(np.fft.rfft(residual - residual.mean()))[3:]
        return spectrum.max() / np.median(spectrum)

    assert peak(transform(noise, 1.25, 0.0, (63.5, 63.5), "bilinear")) > 2 * peak(noise)


def test_the_forgeries_declare_their_settings():
    picture = Resample(whole=1.0).forge(HOST, lambda: DONOR, np.random.default_rng(0), None)
    assert (picture.mask == 255).all()
    assert not (Resample(whole=0.0).forge(HOST, lambda: DONOR, np.random.default_rng(0), None).mask == 255).all()
    assert Resample(kernel="bilinear").content() == {"kind": "Resample", "kernel": "bilinear", "whole": 0.25} and Removal(weight=2).content() == {"kind": "Removal"}
