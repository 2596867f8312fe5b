"""Each step of the input stanza against torchvision's transforms and Pillow."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import TypeAdapter, ValidationError
from torchvision.transforms import v2

from redteam.imaging.grid import from_levels
from redteam.targets.preprocessing import Input, ResizeStep

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
LEVEL = 1 / 255
PILLOW = {"bilinear": v2.InterpolationMode.BILINEAR, "bicubic": v2.InterpolationMode.BICUBIC, "lanczos": v2.InterpolationMode.LANCZOS}


def picture(height=37, width=53, n=2):
    generator = torch.Generator().manual_seed(height * 1000 + width)
    coarse = torch.rand(n, 3, height // 4 + 2, width // 4 + 2, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear", align_corners=True)
    return from_levels((smooth * 255).round())


def through_pillow(transform, pixels):
    """torchvision on 8-bit Pillow images, as a published test script runs it."""
    images = [Image.fromarray((x * 255).byte().permute(1, 2, 0).numpy()) for x in (pixels + 1e-4).clamp(0, 1)]
    return torch.stack([v2.functional.to_dtype(v2.functional.to_image(transform(image)), torch.float32, scale=True) for image in images])


@pytest.mark.parametrize("kernel", PILLOW)
@pytest.mark.parametrize(("before", "size"), [((37, 53), 16), ((37, 53), (20, 64)), ((12, 9), 32)])
def test_stretching_is_what_pillow_does_to_a_level(kernel, before, size):
    """Up to Pillow's rounding, and clipping, between its two passes: hence no picture that overshoots, and half a level more."""
    pixels = from_levels((picture(*before) * 128 + 64).round())
    height, width = (size, size) if isinstance(size, int) else size
    want = through_pillow(v2.Resize((height, width), PILLOW[kernel]), pixels)
    got = Input(resize=ResizeStep(size=size, kernel=kernel)).apply(pixels)
    assert got.shape == want.shape
    assert (got - want).abs().max() <= 1.5 * LEVEL


@pytest.mark.parametrize("before", [(37, 53), (100, 151), (151, 100), (64, 64), (299, 300), (33, 1000)])
def test_the_shortest_side_and_a_crop_follow_torchvision(before):
    pixels = picture(*before, n=1)
    want = through_pillow(v2.Compose([v2.Resize(64), v2.CenterCrop(56)]), pixels)
    got = Input(resize=ResizeStep(size=64, fit="shortest"), crop=56).apply(pixels)
    assert got.shape == want.shape == (1, 3, 56, 56)
    assert (got - want).abs().max() <= 1.01 * LEVEL
    assert Input(resize=ResizeStep(size=64, fit="shortest")).apply(pixels).shape == through_pillow(v2.Resize(64), pixels).shape


@pytest.mark.parametrize("antialias", [True, False])
def test_antialias_is_torch_s(antialias):
    pixels = picture()
    want = v2.functional.resize(pixels, [16, 16], v2.InterpolationMode.BILINEAR, antialias=antialias)
    assert torch.allclose(Input(resize=ResizeStep(size=16, antialias=antialias)).apply(pixels), want, atol=1e-6)


@pytest.mark.parametrize(("before", "crop"), [((37, 53), 32), ((37, 53), 37), ((20, 30), 32), ((20, 60), (31, 33)), ((21, 21), 40)])
def test_the_centre_crop_pads_with_black_before_the_normalisation(before, crop):
    pixels = picture(*before)
    steps = v2.Compose([v2.CenterCrop(crop), v2.Normalize(MEAN, STD)])
    assert torch.allclose(Input(crop=crop, mean=MEAN, std=STD).apply(pixels), steps(pixels), atol=1e-6)


def test_mean_and_std_are_torchvision_s():
    pixels = picture()
    assert torch.allclose(Input(mean=MEAN, std=STD).apply(pixels), v2.functional.normalize(pixels, MEAN, STD), atol=1e-6)


@pytest.mark.parametrize(("range_", "formula"), [((0, 255), lambda x: x * 255), ((-1, 1), lambda x: x * 2 - 1), ((0, 255 / 256), lambda x: x * 255 / 256)])
def test_the_range_is_what_0_and_1_become(range_, formula):
    pixels = picture()
    assert torch.allclose(Input(range=range_).apply(pixels), formula(pixels), atol=1e-4)


def test_mean_and_std_come_after_the_range():
    pixels = picture()
    caffe = (103.939, 116.779, 123.68)
    want = (pixels.flip(1) * 255 - torch.tensor(caffe).view(1, 3, 1, 1)) / torch.tensor([1.0, 2.0, 4.0]).view(1, 3, 1, 1)
    assert torch.allclose(Input(range=(0, 255), channels="bgr", mean=caffe, std=(1, 2, 4)).apply(pixels), want, atol=1e-4)


def test_grey_is_pillow_s_luma():
    pixels = picture()
    arrays = [(x * 255).round().byte().permute(1, 2, 0).numpy() for x in pixels]
    want = torch.from_numpy(np.stack([np.asarray(Image.fromarray(a).convert("L")) for a in arrays])).float()[:, None] / 255
    got = Input(channels="grey").apply(pixels)
    assert got.shape == (2, 1, 37, 53)
    assert (got - want).abs().max() <= 0.51 * LEVEL + 1e-4
    normalised = Input(channels="grey", mean=(0.5,), std=(0.25,)).apply(pixels)
    assert torch.allclose(normalised, (got - 0.5) / 0.25)


def test_channels_last_are_the_same_numbers():
    pixels = picture()
    assert torch.equal(Input(layout="nhwc", channels="bgr").apply(pixels), pixels.flip(1).permute(0, 2, 3, 1))


def test_by_default_nothing_happens():
    pixels = picture()
    assert Input().apply(pixels) is pixels
    assert torch.equal(Input(resize=ResizeStep(size=(37, 53))).apply(pixels), pixels)


@pytest.mark.parametrize(
    "given",
    [Input(resize=ResizeStep(size=16, kernel=kernel), crop=14, channels="bgr", range=(-1, 1), mean=(0.1, 0.2, 0.3), std=(1, 2, 3)) for kernel in ("bilinear", "bicubic", "lanczos")]
    + [Input(crop=60, channels="grey", layout="nhwc", range=(0, 255))],
    ids=str,
)
def test_every_step_passes_the_true_gradient(given):
    pixels = picture(20, 24, n=1).mul(0.6).add(0.2).double().requires_grad_(True)  # away from where overshoot is clipped
    weights = torch.randn(given.apply(pixels).shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    gradient = torch.autograd.grad((given.apply(pixels) * weights).sum(), pixels)[0]
    direction = torch.randn(pixels.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        step = 1e-5 * direction
        numeric = ((given.apply(pixels + step) - given.apply(pixels - step)) * weights).sum() / 2e-5
    assert (gradient * direction).sum().item() == pytest.approx(numeric.item(), rel=1e-3)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Input(mean=(0.5,)), "mean must hold 3 numbers for rgb, got 1"),
        (lambda: Input(channels="grey", std=STD), "std must hold 1 numbers for grey, got 3"),
        (lambda: Input(range=(1, 0)), "range must rise, got [1, 0]"),
        (lambda: ResizeStep(size=(4, 5), fit="shortest"), "resize: fit shortest takes one size, got [height, width]"),
    ],
)
def test_a_contradiction_is_refused_in_full(make, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        make()


@pytest.mark.parametrize("given", [{"std": [1, 1, 0]}, {"crop": 0}, {"channels": "bgra"}, {"max_batch": 0}, {"resize": {"size": 0}}, {"resize": {"size": 8, "kernel": "cubic"}}])
def test_values_out_of_range_are_refused(given):
    with pytest.raises(ValidationError):
        TypeAdapter(Input).validate_python(given)
