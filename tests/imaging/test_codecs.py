"""Codecs against Pillow called directly."""

from __future__ import annotations

import io
import re

import numpy as np
import PIL
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from skimage import data

from redteam.imaging import codecs
from redteam.imaging.codecs import codec_versions, decode, encode, jpeg, png, webp, with_straight_through
from redteam.imaging.grid import from_levels, round_nearest


@pytest.fixture(scope="module")
def bytes_hw3():
    """Five crops (5, 33, 46, 3) uint8 of a photograph; odd sizes, so that chroma blocks are cut."""
    photo = data.astronaut()
    return np.stack([photo[y : y + 33, y : y + 46] for y in range(0, 250, 50)])


@pytest.fixture(scope="module")
def pixels(bytes_hw3):
    return from_levels(torch.from_numpy(bytes_hw3).permute(0, 3, 1, 2).contiguous())


def through_pillow(image, format, **options):
    file = io.BytesIO()
    Image.fromarray(image).save(file, format, **options)
    return file.getvalue(), np.asarray(Image.open(io.BytesIO(file.getvalue())).convert("RGB"))


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 2**32), quality=st.integers(1, 100), subsampling=st.sampled_from(["4:4:4", "4:2:2", "4:2:0"]))
def test_jpeg_files_are_pillow_s_byte_for_byte(seed, quality, subsampling):
    image = np.random.default_rng(seed).integers(0, 256, (13, 18, 3), dtype=np.uint8)
    file, decoded = through_pillow(image, "JPEG", quality=quality, subsampling=subsampling)
    assert encode(image, "jpeg", quality=quality, subsampling=subsampling) == file
    assert np.array_equal(decode(file), decoded)


@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 2**32), quality=st.integers(0, 100))
def test_webp_files_are_pillow_s_byte_for_byte(seed, quality):
    image = np.random.default_rng(seed).integers(0, 256, (13, 18, 3), dtype=np.uint8)
    assert encode(image, "webp", quality=quality) == through_pillow(image, "WEBP", quality=quality)[0]


def test_batches_hold_what_pillow_decodes_in_their_order(bytes_hw3, pixels):
    for ours, format, options in (
        (jpeg(pixels, 60), "JPEG", {"quality": 60, "subsampling": 2}),
        (jpeg(pixels, 60, "4:4:4"), "JPEG", {"quality": 60, "subsampling": 0}),
        (webp(pixels, 60), "WEBP", {"quality": 60}),
        (png(pixels), "PNG", {}),
    ):
        expected = np.stack([through_pillow(image, format, **options)[1] for image in bytes_hw3])
        assert np.array_equal((ours * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy(), expected)
        assert ours.dtype == torch.float32
        assert ours.is_contiguous()


def test_threads_do_not_change_a_bit(pixels, monkeypatch):
    several = jpeg(pixels, 75)
    monkeypatch.setattr(codecs, "WORKERS", 1)
    assert torch.equal(several, jpeg(pixels, 75))
    assert torch.equal(several, torch.cat([jpeg(image[None], 75) for image in pixels]))


def test_png_and_lossless_webp_only_round(pixels):
    shifted = (pixels + 0.3 / 255).clamp(0, 1)
    assert torch.equal(png(shifted), round_nearest(shifted))
    image = (pixels[0] * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
    assert np.array_equal(decode(encode(image, "webp", lossless=True)), image)


def test_lower_quality_is_further_from_the_image(pixels):
    for codec in (jpeg, webp):
        errors = [float((codec(pixels, quality) - pixels).square().mean()) for quality in (95, 75, 40, 10)]
        assert errors == sorted(errors)
        assert errors[0] > 0


def test_an_empty_batch_stays_empty():
    assert jpeg(torch.zeros(0, 3, 8, 9), 75).shape == (0, 3, 8, 9)


def test_grey_and_transparent_files_decode_to_three_channels():
    for mode, colour in (("L", 7), ("RGBA", (7, 7, 7, 100))):
        file = io.BytesIO()
        Image.new(mode, (2, 1), colour).save(file, "PNG")
        assert decode(file.getvalue()).tolist() == [[[7, 7, 7]] * 2]


def test_the_straight_through_value_is_exact_and_its_gradient_the_identity(pixels):
    x = pixels.clone().requires_grad_()
    weights = torch.rand(x.shape, generator=torch.Generator().manual_seed(0))
    compressed = jpeg(x, 50)
    assert not compressed.requires_grad
    y = with_straight_through(x, compressed)
    (y * weights).sum().backward()
    assert torch.equal(y, compressed)
    assert torch.equal(x.grad, weights)


def test_the_gradient_of_a_differentiable_stand_in_is_not_counted_twice():
    x = torch.tensor([0.25, 0.75], requires_grad=True)
    with_straight_through(x, 3 * x).sum().backward()
    assert x.grad.tolist() == [1.0, 1.0]


def test_versions_name_the_libraries():
    versions = codec_versions()
    assert versions["pillow"] == PIL.__version__
    assert all(re.match(r"\d+\.\d+", version) for version in versions.values())


@pytest.mark.parametrize(
    ("format", "options", "message"),
    [
        ("jpg", {}, "encode: format must be one of jpeg, webp, png, got 'jpg'"),
        ("jpeg", {"qualty": 5}, "encode: jpeg has no option 'qualty'; did you mean 'quality'?"),
        ("png", {"dpi": 5}, "encode: png has no option 'dpi'; it takes compress_level"),
        ("jpeg", {"quality": 0}, "encode: jpeg quality must be a whole number in [1, 100], got 0"),
        ("webp", {"quality": 75.5}, "encode: webp quality must be a whole number in [0, 100], got 75.5"),
        ("jpeg", {"quality": 110}, "encode: jpeg quality must be a whole number in [1, 100], got 110"),
        ("jpeg", {"subsampling": "4:1:1"}, "encode: jpeg subsampling must be one of 4:4:4, 4:2:2, 4:2:0, got '4:1:1'"),
    ],
)
def test_what_a_codec_does_not_take_is_refused(format, options, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        encode(np.zeros((2, 2, 3), np.uint8), format, **options)


def test_what_is_not_an_image_is_refused():
    with pytest.raises(ValueError, match=re.escape("encode: image must be (h, w, 3) uint8, got (2, 2) float64")):
        encode(np.zeros((2, 2)), "png")
    with pytest.raises(ValueError, match=re.escape("straight_through: both must have one shape, got (2,) and (3,)")):
        with_straight_through(torch.zeros(2), torch.zeros(3))
    with pytest.raises(ValueError, match=re.escape("pixels must lie in [0, 1], got [-1, 1]; clamp them first")):
        jpeg(torch.linspace(-1, 1, 12).view(1, 3, 2, 2), 75)
