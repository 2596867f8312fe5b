"""The 8-bit grid: rounding keeps budgets, projection stays in the ball."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from redteam.imaging.grid import (
    from_levels,
    level_l2,
    level_linf,
    project_l2_on_grid,
    round_nearest,
    round_toward,
    to_levels,
)

seeds = st.integers(0, 2**32 - 1)


def on_grid(pixels):
    return torch.equal(from_levels(to_levels(pixels)), pixels)


def clean_and_noise(seed, shape=(3, 3, 5, 4)):
    rng = torch.Generator().manual_seed(seed)
    return from_levels(torch.randint(0, 256, shape, generator=rng)), torch.rand(shape, generator=rng) * 2 - 1


def test_all_levels_survive_the_way_there_and_back():
    levels = torch.arange(256)
    assert to_levels(from_levels(levels)).tolist() == levels.tolist()
    assert to_levels(from_levels(levels).double()).tolist() == levels.tolist()
    assert from_levels(levels.to(torch.uint8)).equal(from_levels(levels.to(torch.int16)))
    assert to_levels(from_levels(levels)).dtype == torch.int16


def test_rounding_is_to_the_nearest_level():
    x = torch.linspace(0, 1, 1001)
    assert to_levels(x).tolist() == np.rint(x.numpy() * np.float32(255)).tolist()
    assert torch.equal(round_nearest(x), from_levels(to_levels(x)))


@pytest.mark.parametrize("eps", range(1, 33))
def test_a_whole_budget_is_neither_lost_nor_exceeded(eps):
    clean = from_levels(torch.arange(256))
    for sign in (1, -1):
        adversarial = (clean + sign * eps / 255).clamp(0, 1)
        expected = (torch.arange(256) + sign * eps).clamp(0, 255)
        assert to_levels(round_toward(adversarial, clean)).tolist() == expected.tolist()


@given(seed=seeds, eps=st.floats(0, 40))
def test_rounding_toward_clean_never_exceeds_the_budget(seed, eps):
    clean, noise = clean_and_noise(seed)
    adversarial = (clean + eps / 255 * noise).clamp(0, 1)
    rounded = round_toward(adversarial, clean)
    assert on_grid(rounded)
    assert level_linf(rounded, clean).max() <= eps + 1e-3
    assert ((rounded - adversarial).abs() * 255).max() < 1
    further = (to_levels(rounded) - to_levels(clean)).abs() - (adversarial.double() - clean.double()).abs() * 255
    assert further.max() <= 1.1e-3


def test_rounding_toward_clean_is_the_floor_of_each_distance():
    clean = torch.full((6,), 100.0) / 255
    moved = torch.tensor([0.99, -0.99, 1.5, -1.5, 2.9995, 0.0])
    assert (to_levels(round_toward(clean + moved / 255, clean)) - 100).tolist() == [0, 0, 1, -1, 3, 0]


def project_by_loop(adversarial, clean, eps):
    """One image: round, then take back the entry with the smallest fraction, one at a time."""
    home = np.rint(clean.double().numpy().ravel() * 255)
    moved = adversarial.double().numpy().ravel() * 255 - home
    radius = eps * 255
    moved *= min(1.0, radius / np.linalg.norm(moved)) if moved.any() else 1.0
    levels = np.floor(np.abs(moved) + 0.5)
    fractions = {i: abs(m) % 1 for i, m in enumerate(moved) if levels[i] > abs(m)}
    for i in sorted(fractions, key=lambda i: (fractions[i], i)):
        if (levels**2).sum() <= radius**2 * (1 + 1e-9):
            break
        levels[i] -= 1
    return (home + np.sign(moved) * levels).reshape(clean.shape)


@settings(deadline=None)
@given(seed=seeds, eps=st.floats(0, 12), reach=st.floats(0, 2))
def test_the_projection_is_that_of_a_loop_and_within_the_ball(seed, eps, reach):
    clean, noise = clean_and_noise(seed)
    length = noise.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    adversarial = (clean + reach * eps / 255 * noise / length).clamp(0, 1)
    projected = project_l2_on_grid(adversarial, clean, eps / 255)
    assert on_grid(projected)
    assert level_l2(projected, clean).max() <= eps * (1 + 1e-9)
    for image, start, origin in zip(projected, adversarial, clean, strict=True):
        assert to_levels(image).tolist() == project_by_loop(start, origin, eps / 255).tolist()


def test_the_projection_only_rounds_what_stays_inside():
    clean, noise = clean_and_noise(1)
    adversarial = (clean + 3 / 255 * noise).clamp(0, 1)
    assert torch.equal(project_l2_on_grid(adversarial, clean, 1.0), round_nearest(adversarial))


def test_the_projection_keeps_an_image_that_is_on_the_sphere_already():
    clean = torch.full((1, 3, 2, 2), 100 / 255)
    moved = clean + torch.tensor([3.0, 4.0] + [0.0] * 10).view(1, 3, 2, 2) / 255
    assert level_l2(project_l2_on_grid(moved, clean, 5 / 255), clean).tolist() == [5.0]
    assert torch.equal(project_l2_on_grid(moved, clean, 0.0), clean)


def test_the_projection_takes_back_no_more_than_needed_and_uses_most_of_the_ball():
    clean = from_levels(torch.full((1, 3, 16, 16), 128))
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    adversarial = clean + 0.1 * noise / noise.norm()
    reached = level_l2(project_l2_on_grid(adversarial, clean, 0.1), clean).item() / 255
    assert 0.099 < reached <= 0.1


def test_images_of_a_batch_do_not_touch_each_other():
    clean, noise = clean_and_noise(2)
    adversarial = (clean + 0.02 * noise).clamp(0, 1)
    together = project_l2_on_grid(adversarial, clean, 0.03)
    alone = [project_l2_on_grid(a[None], c[None], 0.03) for a, c in zip(adversarial, clean, strict=True)]
    assert torch.equal(together, torch.cat(alone))


def test_distances_in_levels_are_integer_arithmetic():
    (a, _), (b, _) = clean_and_noise(3), clean_and_noise(4)
    difference = to_levels(a).numpy().astype(int) - to_levels(b).numpy().astype(int)
    assert level_linf(a, b).tolist() == np.abs(difference).max(axis=(1, 2, 3)).tolist()
    assert level_linf(a, b).dtype == torch.int64
    assert level_l2(a, b).tolist() == pytest.approx(np.sqrt((difference**2).sum(axis=(1, 2, 3))))


def test_no_gradient_leaves_the_grid():
    x = torch.full((1, 3, 2, 2), 0.4, requires_grad=True)
    clean = torch.full((1, 3, 2, 2), 100 / 255)
    assert not any(y.requires_grad for y in (round_nearest(x), round_toward(x, clean), project_l2_on_grid(x, clean, 0.01)))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: to_levels(x * 2), "pixels must lie in [0, 1], got [2, 2]; clamp them first"),
        (lambda x: to_levels(x * torch.nan), "pixels must lie in [0, 1], got [nan, nan]; clamp them first"),
        (lambda x: to_levels(x.to(torch.uint8)), "pixels must be floating point in [0, 1], got torch.uint8; from_levels takes integers"),
        (
            lambda x: round_toward(x, x * 0.5),
            "clean must lie on the 8-bit grid, got a pixel 0.5 levels off it; use round_nearest on it first",
        ),
        (lambda x: round_toward(x, x[:0]), "adversarial and clean must have one shape, got (1, 3, 2, 2) and (0, 3, 2, 2)"),
        (lambda x: level_linf(x, x[..., :1]), "two batches must have one shape, got (1, 3, 2, 2) and (1, 3, 2, 1)"),
        (lambda x: project_l2_on_grid(x, x, -1.0), "project_l2_on_grid: eps must be >= 0, got -1.0"),
    ],
)
def test_errors_say_what_was_expected_and_what_came(call, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        call(torch.ones(1, 3, 2, 2))
