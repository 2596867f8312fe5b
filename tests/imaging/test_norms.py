"""Lengths and projections against references written from their definitions; the box-constrained projection against linear programming and bisection."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq, linprog

from redteam.imaging.norms import each, into_ball, length, onto_plane, steepest, unit


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def uniform(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def test_lengths_are_numpy_s():
    x = normal(3, 3, 5, 4)
    for norm, order in (("linf", np.inf), ("l2", 2)):
        assert length(x, norm).tolist() == pytest.approx([np.linalg.norm(image.flatten().numpy(), order) for image in x], rel=1e-5)


@pytest.mark.parametrize("size", [1e-38, 1e-20, 1.0, 1e30])
@pytest.mark.parametrize("order", [1, 2])
def test_a_unit_has_length_one_whatever_its_size(order, size):
    x = unit(normal(2, 3, 4, 4) * size, order)
    assert x.double().flatten(1).norm(p=order, dim=1).tolist() == pytest.approx([1.0, 1.0], rel=1e-5)


def test_a_zero_stays_a_zero_and_does_not_move_its_neighbours():
    x = torch.cat([normal(1, 3, 4, 4), torch.zeros(1, 3, 4, 4)])
    assert unit(x)[1].abs().max() == 0 and steepest(x, "linf")[1].abs().max() == 0
    assert torch.equal(unit(x)[:1], unit(x[:1]))


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_projection_lands_in_the_ball_and_the_box_and_leaves_alone_what_is_there(norm):
    clean = uniform(4, 3, 6, 6)
    project = into_ball(clean, norm, 0.1)
    near = project(clean + normal(4, 3, 6, 6))
    assert 0 <= near.min() and near.max() <= 1 and (length(near - clean, norm) <= 0.1 + 1e-6).all()
    inside = (clean + 0.001 * normal(4, 3, 6, 6)).clamp(0, 1)
    assert torch.allclose(project(inside), inside, atol=1e-7)


@pytest.mark.parametrize("value", [0.05, -0.4, 1.5, -2.5])
def test_the_nearest_point_of_a_plane_in_linf_is_that_of_linear_programming(value):
    x, w = uniform(1, 3, 2, 2), normal(1, 3, 2, 2)
    n, eye, ones = 12, np.eye(12), np.ones((12, 1))
    found = linprog(
        np.r_[np.zeros(n), 1], A_ub=np.block([[eye, -ones], [-eye, -ones]]), b_ub=np.zeros(2 * n), A_eq=np.r_[w.flatten().numpy(), 0][None], b_eq=[-value],
        bounds=[*((-float(p), 1 - float(p)) for p in x.flatten()), (0, None)],
    )  # fmt: skip
    move = onto_plane(x, w, torch.tensor([value]), "linf")
    assert found.status == 0 and float(move.abs().max()) == pytest.approx(found.fun, rel=1e-4)
    assert float((w * move).sum()) == pytest.approx(-value, rel=1e-4)


@pytest.mark.parametrize("value", [0.05, -0.4, 1.5, -2.5])
def test_the_nearest_point_of_a_plane_in_l2_is_that_of_its_multiplier(value):
    """The optimum is the clipped step along the normal whose multiplier makes up the value."""
    x, w = uniform(1, 3, 2, 2), normal(1, 3, 2, 2)
    p, a = x.flatten().double().numpy(), w.flatten().double().numpy()

    def step(t: float) -> np.ndarray:
        return np.clip(p + t * a, 0, 1) - p

    t = brentq(lambda t: a @ step(t) + value, -1e3, 1e3, xtol=1e-14)
    assert np.allclose(onto_plane(x, w, torch.tensor([value]), "l2").flatten().numpy(), step(t), atol=1e-5)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_a_plane_that_the_box_does_not_reach_is_approached_as_far_as_it_goes(norm):
    x, w = uniform(1, 3, 4, 4), normal(1, 3, 4, 4)
    corner = torch.where(w > 0, 0.0, 1.0)
    assert torch.allclose(x + onto_plane(x, w, torch.tensor([1e6]), norm), corner, atol=1e-6)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_without_a_normal_nothing_moves(norm):
    assert onto_plane(uniform(2, 3, 4, 4), torch.zeros(2, 3, 4, 4), torch.tensor([1.0, -1.0]), norm).abs().max() == 0


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 10_000), scale=st.floats(1e-20, 1e20), share=st.floats(1e-4, 0.95), norm=st.sampled_from(["linf", "l2"]))
def test_the_plane_is_met_at_any_scale_and_no_neighbour_changes_a_bit(seed, scale, share, norm):
    x, w = uniform(3, 3, 5, 5, seed=seed), normal(3, 3, 5, 5, seed=seed + 1)
    reach = (w.abs() * torch.where(w > 0, x, 1 - x)).flatten(1).sum(1)  # the most that the box allows
    value = share * reach * torch.tensor([1.0, 0.3, 0.01])
    move = onto_plane(x, w * scale, value * scale, norm)
    assert ((w * move).flatten(1).sum(1, dtype=torch.float64) + value).abs().max() <= 1e-5 * value.max()
    assert (x + move).min() >= -1e-6 and (x + move).max() <= 1 + 1e-6
    assert all(torch.equal(onto_plane(x[[i]], w[[i]] * scale, value[[i]] * scale, norm), move[[i]]) for i in range(3))


def test_one_number_for_each_image_spreads_over_its_pixels():
    assert (each(torch.tensor([1.0, 2.0])) * torch.ones(2, 3, 2, 2)).flatten(1).unique(dim=1).flatten().tolist() == [1.0, 2.0]
