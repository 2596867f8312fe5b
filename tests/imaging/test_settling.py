"""An attacker who saves 8-bit files ends on the best grid point of the ball."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from redteam.files import Budget, within
from redteam.imaging.grid import from_levels, to_levels
from redteam.imaging.settling import settle

seeds = st.integers(0, 2**31)


def clean_and_moved(seed, n=3, size=6, reach=0.02):
    generator = torch.Generator().manual_seed(seed)
    clean = from_levels(torch.randint(0, 256, (n, 3, size, size), generator=generator))
    return clean, (clean + reach * torch.randn(clean.shape, generator=generator)).clamp(0, 1)


def steps(settled, clean):
    return to_levels(settled).long() - to_levels(clean).long()


@settings(deadline=None)
@given(seed=seeds, eps=st.floats(0, 12), reach=st.floats(0, 0.05), norm=st.sampled_from(["linf", "l2"]))
def test_the_result_is_on_the_grid_inside_the_ball_and_on_the_side_of_the_perturbation(seed, eps, reach, norm):
    clean, moved = clean_and_moved(seed, reach=reach)
    settled = settle(moved, clean, norm, eps / 255)
    assert torch.equal(from_levels(to_levels(settled)), settled)
    assert within(settled, clean, Budget(norm, eps / 255)).all()
    assert (steps(settled, clean).sign() * (moved - clean).sign() >= 0).all()


def best_sum(weights, room, square):
    """The largest sum of weight times whole steps whose squares add to at most `square`, by trying all."""
    ranges = [range(min(int(r), math.isqrt(int(square))) + 1) for r in room]
    return max(sum(w * a for w, a in zip(weights, choice, strict=True)) for choice in itertools.product(*ranges) if sum(a * a for a in choice) <= square)


@settings(deadline=None, max_examples=60)
@given(seed=seeds, radius=st.floats(0.5, 4.0))
def test_l2_reaches_the_best_whole_steps_up_to_one_that_does_not_fit(seed, radius):
    clean, moved = clean_and_moved(seed, n=1, size=1)
    pair = torch.cat([clean, clean.flip(1)], 2), torch.cat([moved, moved.flip(1)], 2)  # six entries
    settled = settle(pair[1], pair[0], "l2", radius / 255)
    weights = ((pair[1] - pair[0]) * 255).abs().flatten()
    levels = to_levels(pair[0]).flatten()
    room = torch.where((pair[1] - pair[0]).flatten() > 0, 255 - levels, levels)
    got = float((weights * steps(settled, pair[0]).abs().flatten()).sum())
    assert got >= best_sum(weights.tolist(), room.tolist(), radius**2) - float(weights.max()) - 1e-3


def best_equal(entries, radius):
    """The largest sum of whole steps over entries of equal weight: a everywhere, and a + 1 where it still fits."""
    square = radius**2 * (1 + 1e-9)
    a = math.isqrt(int(square / entries))
    return a * entries + min(entries, int((square - a * a * entries) / (2 * a + 1)))


@pytest.mark.parametrize("eps", [0.02, 0.1, 0.25, 0.5, 1.0])
@pytest.mark.parametrize("spread", [0.0, 1e-6, 0.01])
def test_equal_entries_get_as_many_whole_steps_as_the_ball_holds(eps, spread):
    """Such a perturbation rounds to all or nothing, yet part of it fits."""
    clean = from_levels(torch.full((2, 3, 16, 16), 128))
    generator = torch.Generator().manual_seed(0)
    signs = torch.randint(0, 2, clean.shape, generator=generator) * 2 - 1
    sizes = 1 + spread * torch.randn(clean.shape, generator=generator)
    moved = clean + signs * sizes * eps / math.sqrt(clean[0].numel())
    away = steps(settle(moved, clean, "l2", eps), clean) * signs
    assert away.flatten(1).sum(1).tolist() == [best_equal(clean[0].numel(), eps * 255)] * 2


def test_the_ball_is_filled_where_plain_rounding_would_undo_everything():
    clean, moved = clean_and_moved(1, size=64, reach=0.2 / math.sqrt(3 * 64 * 64))
    assert (steps(moved, clean) == 0).float().mean() > 0.5
    length = steps(settle(moved, clean, "l2", 0.2), clean).double().flatten(1).norm(dim=1)
    assert ((50.98 <= length) & (length <= 51)).all()


def test_where_there_is_no_room_the_rest_of_the_ball_goes_elsewhere():
    clean = torch.zeros(1, 3, 4, 4)
    clean[:, :, 2:] = 128 / 255
    moved = clean - 0.01
    away = steps(settle(moved.clamp(0, 1) - 0.0, clean, "l2", 3.5 / 255), clean)
    assert away[:, :, :2].abs().sum() == 0
    assert away[:, :, 2:].sum() == -12  # 3.5 squared is 12.25


def test_nothing_moves_without_a_perturbation_or_a_budget():
    clean, moved = clean_and_moved(2)
    for norm in ("linf", "l2"):
        assert torch.equal(settle(clean, clean, norm, 0.1), clean)
        assert torch.equal(settle(moved, clean, norm, 0.0), clean)
        assert settle(clean[:0], clean[:0], norm, 0.1).shape == (0, 3, 6, 6)


def test_images_of_a_batch_do_not_touch_each_other():
    clean, moved = clean_and_moved(3, n=5)
    for norm in ("linf", "l2"):
        together = settle(moved, clean, norm, 0.05)
        alone = [settle(m[None], c[None], norm, 0.05) for m, c in zip(moved, clean, strict=True)]
        assert torch.equal(together, torch.cat(alone))


def test_linf_rounds_to_the_nearest_level_inside_the_ball():
    clean = torch.full((1, 3, 1, 2), 100 / 255)
    moved = clean + torch.tensor([0.4, 0.6, -1.5, 2.4, 2.6, -9.0]).view(1, 3, 1, 2) / 255
    assert steps(settle(moved, clean, "linf", 2.9 / 255), clean).flatten().tolist() == [0, 1, -2, 2, 2, -2]
