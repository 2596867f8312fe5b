"""The camera corpus: same arguments same bytes, and the traces that a camera leaves are in its pictures."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage, signal

from redteam.data.camera import PATTERNS, camera_of, demosaic, draw_camera, expose, render, resave, shoot, through_lens
from redteam.data.scenes import PLACES, Scene, compose

MALVAR_GREEN = np.array([[0, 0, -1, 0, 0], [0, 0, 2, 0, 0], [-1, 2, 4, 2, -1], [0, 0, 2, 0, 0], [0, 0, -1, 0, 0]]) / 8
MALVAR_ROW = np.array([[0, 0, 0.5, 0, 0], [0, -1, 0, -1, 0], [-1, 4, 5, 4, -1], [0, -1, 0, -1, 0], [0, 0, 0.5, 0, 0]]) / 8
MALVAR_DIAGONAL = np.array([[0, 0, -1.5, 0, 0], [0, 2, 0, 2, 0], [-1.5, 0, 6, 0, -1.5], [0, 2, 0, 2, 0], [0, 0, -1.5, 0, 0]]) / 8


def flat_camera(**changes: object) -> object:
    """A camera without optical faults, for looking at one stage alone."""
    plain = {"reduction": 1, "blur": 0.0, "aperture": 0.0, "aberration": 0.0, "vignette": 0.0, "crosstalk": 0.0, "balance": (1.0, 1.0), "balance_error": (1.0, 1.0, 1.0)}
    return replace(draw_camera(np.random.default_rng(0)), **(plain | changes))


def test_the_same_arguments_give_the_same_bytes_in_any_order():
    first = [render(5, index, 48) for index in (0, 1, 2)]
    again = [render(5, index, 48) for index in (2, 1, 0)][::-1]
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))


def test_another_index_or_seed_gives_another_picture():
    assert not np.array_equal(render(1, 0, 48), render(1, 1, 48))
    assert not np.array_equal(render(1, 0, 48), render(2, 0, 48))


def test_numpys_global_generator_is_neither_read_nor_moved():
    before = np.random.get_state()[1].copy()
    render(1, 3, 48)
    assert np.array_equal(before, np.random.get_state()[1])


@pytest.mark.parametrize("size", [32, 65, 128])
def test_a_picture_has_the_size_asked_for(size):
    picture = render(1, 4, size)
    assert picture.shape == (size, size, 3) and picture.dtype == np.uint8


def test_a_size_below_32_is_refused():
    with pytest.raises(ValueError, match="camera: size must be >= 32, got 31"):
        render(1, 0, 31)


def test_every_kind_of_place_occurs_and_is_lit():
    scenes = [compose(np.random.default_rng([9, k]), 64) for k in range(40)]
    assert {scene.place for scene in scenes} == set(PLACES)
    assert all(np.isfinite(scene.radiance).all() and scene.radiance.min() > 0 for scene in scenes)
    assert all(scene.depth.min() >= 0 and scene.depth.max() <= 1 for scene in scenes)


def test_the_mean_power_spectrum_falls_as_in_photographs():
    power = np.zeros((64, 33))
    for index in range(16):
        grey = render(1, index, 64).astype(float).mean(2)
        power += np.abs(np.fft.rfft2((grey - grey.mean()) * np.outer(np.hanning(64), np.hanning(64)))) ** 2
    radius = np.hypot(np.fft.fftfreq(64)[:, None], np.fft.rfftfreq(64)[None])
    band = (radius > 0.03) & (radius < 0.35)
    slope = np.polyfit(np.log(radius[band]), np.log(power[band]), 1)[0]
    assert -3.5 < slope < -1.2


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("method", ["malvar", "bilinear"])
def test_demosaicing_keeps_what_was_measured_and_restores_a_flat_colour(pattern, method):
    colours = np.array([0.2, 0.5, 0.8], np.float32)
    raw = np.empty((12, 10), np.float32)
    for site, (top, left) in zip(pattern, ((0, 0), (0, 1), (1, 0), (1, 1)), strict=True):
        raw[top::2, left::2] = colours["RGB".index(site)]
    assert np.allclose(demosaic(raw, pattern, method), colours[:, None, None], atol=1e-6)
    noisy = np.random.default_rng(1).random((12, 10), dtype=np.float32)
    out = demosaic(noisy, pattern, method)
    for site, (top, left) in zip(pattern, ((0, 0), (0, 1), (1, 0), (1, 1)), strict=True):
        assert np.array_equal(out["RGB".index(site), top::2, left::2], noisy[top::2, left::2])


def test_malvars_filters_are_those_of_the_paper():
    raw = np.random.default_rng(2).random((16, 16))
    out = demosaic(raw.astype(np.float32), "RGGB", "malvar")
    inner = (slice(2, -2), slice(2, -2))
    green, row, diagonal = (signal.convolve2d(raw, kernel, mode="same") for kernel in (MALVAR_GREEN, MALVAR_ROW, MALVAR_DIAGONAL))
    red_site = np.zeros((16, 16), bool)
    red_site[::2, ::2] = True
    beside_red = np.zeros((16, 16), bool)
    beside_red[::2, 1::2] = True
    for plane, site, expected in ((1, red_site, green), (2, red_site, diagonal), (0, beside_red, row)):
        assert np.allclose(out[plane][inner][site[inner]], expected[inner][site[inner]], atol=1e-5)


def test_interpolated_greens_are_smoother_than_measured_ones_in_finished_pictures():
    """The trace that detectors of the mosaic look for, in pictures whose pattern is known."""
    measured, interpolated = [], []
    for index in range(60):
        camera = camera_of(3, index)
        if camera.reduction != 1 or camera.quality < 93:
            continue
        high = np.abs(ndimage.laplace(render(3, index, 64)[..., 1].astype(float)))
        at = {colour: np.mean([high[k // 2 :: 2, k % 2 :: 2].mean() for k in range(4) if camera.pattern[k] in colour]) for colour in ("G", "RB")}
        measured.append(at["G"])
        interpolated.append(at["RB"])
    assert len(measured) >= 5
    assert np.mean(np.array(measured) > np.array(interpolated)) > 0.8


def test_sensor_noise_has_the_declared_variance():
    camera = flat_camera(shot=1e-3, read=0.01, pattern="RGGB")
    for level in (0.1, 0.5):
        raw = expose(np.full((3, 256, 256), level, np.float32), camera, np.random.default_rng(3))
        assert raw.mean() == pytest.approx(level, rel=0.01)
        assert raw.var() == pytest.approx(1e-3 * level + 1e-4, rel=0.03)


def test_what_is_out_of_focus_is_blurred_and_what_is_in_focus_is_not():
    rng = np.random.default_rng(4)
    depth = np.zeros((64, 64), np.float32)
    depth[:, 32:] = 1.0
    light = through_lens(Scene(rng.random((3, 64, 64), dtype=np.float32), depth, "wall"), flat_camera(aperture=5.0, focus=0.0))
    assert light[:, 8:-8, 40:-8].std() < 0.3 * light[:, 8:-8, 8:24].std()


def test_a_grey_scene_stays_grey_through_sensor_and_development():
    scene = Scene(np.full((3, 64, 64), 0.3, np.float32), np.zeros((64, 64), np.float32), "wall")
    camera = flat_camera(shot=0.0, read=0.0, crosstalk=0.2, balance=(2.0, 1.5), subsampling=0, quality=98)
    picture = shoot(scene, camera, np.random.default_rng(0)).astype(int)
    assert np.ptp(picture.mean((0, 1))) < 2


def test_a_picture_changes_least_when_saved_again_at_its_own_quality():
    """Its DCT coefficients already lie on that quality's grid."""
    kept = []
    for index in range(12):
        camera, picture = camera_of(1, index), render(1, index, 64).astype(float)
        own, other = (np.abs(resave(picture.astype(np.uint8), q, subsampling=camera.subsampling) - picture).mean() for q in (camera.quality, camera.quality - 6))
        kept.append(own < other)
    assert np.mean(kept) > 0.9
