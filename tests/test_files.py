"""What a file would hold: rounding that keeps budgets, and budgets measured in levels."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from redteam.files import Budget, FileFormat, to_grid, within
from redteam.imaging.grid import from_levels, to_levels


def clean_and_moved(seed, reach):
    generator = torch.Generator().manual_seed(seed)
    clean = from_levels(torch.randint(0, 256, (3, 3, 5, 6), generator=generator))
    return clean, (clean + reach * (2 * torch.rand(clean.shape, generator=generator) - 1)).clamp(0, 1)


@settings(deadline=None)
@given(seed=st.integers(0, 2**31), eps=st.floats(0, 20), norm=st.sampled_from(["linf", "l2"]))
def test_what_is_saved_never_leaves_a_budget_that_the_floats_keep(seed, eps, norm):
    clean, moved = clean_and_moved(seed, eps / 255)
    if norm == "l2":
        length = (moved - clean).flatten(1).norm(dim=1).view(-1, 1, 1, 1).clamp(min=1e-9)
        moved = clean + (moved - clean) * (eps / 255 / length).clamp(max=1)
    budget = Budget(norm, eps / 255)
    saved = to_grid(moved, clean, budget)
    assert within(saved, clean, budget).all()
    assert torch.equal(from_levels(to_levels(saved)), saved)


def test_without_a_budget_pixels_go_to_the_nearest_level():
    clean, moved = clean_and_moved(0, 0.01)
    assert torch.equal(to_grid(moved, clean, None), from_levels((moved * 255).round()))
    small = moved[..., :3]
    assert torch.equal(to_grid(small, clean, Budget("linf", 0.0)), from_levels((small * 255).round()))


@pytest.mark.parametrize(("levels", "eps", "kept"), [(8, 8 / 255, True), (9, 8 / 255, False), (8, 7.999 / 255, True), (8, 7.9 / 255, False), (0, 0.0, True), (1, 0.0, False)])
def test_linf_is_measured_in_whole_levels(levels, eps, kept):
    clean = torch.full((1, 3, 2, 2), 100 / 255)
    moved = clean.clone()
    moved[0, 1, 1, 1] = (100 + levels) / 255
    assert within(moved, clean, Budget("linf", eps)).tolist() == [kept]


@pytest.mark.parametrize(("eps", "kept"), [(5 / 255, True), (4.99 / 255, False)])
def test_l2_is_measured_over_all_pixels_of_an_image(eps, kept):
    clean = torch.full((1, 3, 2, 2), 100 / 255)
    moved = clean.clone()
    moved[0, 0, 0, 0], moved[0, 2, 1, 1] = 103 / 255, 96 / 255
    assert within(moved, clean, Budget("l2", eps)).tolist() == [kept]


def test_each_image_is_measured_by_itself():
    clean = torch.full((3, 3, 2, 2), 100 / 255)
    moved = clean.clone()
    moved[1, 0, 0, 0] = 110 / 255
    assert within(moved, clean, Budget("linf", 4 / 255)).tolist() == [True, False, True]


def test_no_budget_and_another_size_have_nothing_to_keep():
    clean = torch.zeros(2, 3, 4, 4)
    assert within(torch.ones(2, 3, 4, 4), clean, None).tolist() == [True, True]
    assert within(torch.ones(2, 3, 2, 2), clean, Budget("linf", 0.0)).tolist() == [True, True]


@pytest.mark.parametrize(("file", "options"), [(FileFormat(), None), (FileFormat(format="jpeg", quality=70), {"quality": 70, "subsampling": "4:2:0"}), (FileFormat(format="webp", quality=70), {"quality": 70})])
def test_saving_and_loading_is_what_pillow_does(file, options):
    clean, _ = clean_and_moved(4, 0.0)
    for pixels, got in zip(clean, file.save_and_load(clean), strict=True):
        array = (pixels * 255).round().byte().permute(1, 2, 0).numpy()
        buffer = io.BytesIO()
        Image.fromarray(array).save(buffer, file.format.upper(), **(options or {}))
        back = np.asarray(Image.open(buffer).convert("RGB"))
        assert (got * 255).round().byte().permute(1, 2, 0).numpy().tolist() == back.tolist()
