"""Square: shapes, schedule and moves are those of the paper, one query a candidate, on files."""

from __future__ import annotations

import math

import pytest
import torch

from redteam.attacks.square import Square, bump, share
from redteam.files import within
from redteam.imaging.grid import to_levels
from redteam.objective import BOTH
from redteam.seeding import SampleRNG
from redteam.target import Access, Detector
from redteam.targets.fakes import Brightness, Linear

CPU = torch.device("cpu")


def watched(score=None):
    """A target of scores that keeps every file it was shown."""
    seen = []
    score = score or Linear(scale=500).load("t", CPU).respond
    return Detector("t", lambda x: seen.append(x.clone()) or score(x), Access.SCORES), seen


def run(attack, target, images, seed=1):
    objective = BOTH.on(target, images, budget=attack.budget())
    return attack.run(objective, SampleRNG.of(seed, "square", {}, images.ids)).pixels, objective


def test_the_share_is_halved_where_the_paper_halves_it():
    steps = [share(1.0, query / 10_000) for query in range(1, 10_001)]
    assert [i + 1 for i in range(1, 10_000) if steps[i] != steps[i - 1]] == [11, 51, 201, 501, 1001, 2001, 4001, 6001, 8001]
    assert steps[-1] == 1 / 512


@pytest.mark.parametrize("side", [1, 2, 3, 6, 9])
def test_a_bump_is_a_sum_of_rings_with_two_halves_of_opposite_sign(side):
    def hill(height, width):
        n = height // 2
        def at(r, s):
            return sum(1 / (n + 1 - k) ** 2 for k in range(n - max(abs(r - height // 2 - 1), abs(s - width // 2 - 1)) + 1))

        return [[at(r, s) for s in range(1, width + 1)] for r in range(1, height + 1)]

    left, right = hill(side, side // 2), hill(side, side - side // 2)
    expected = [[*a, *(-x for x in b)] for a, b in zip(left, right, strict=True)]
    assert torch.allclose(bump(side), torch.tensor(expected), atol=1e-6)


def test_the_first_file_is_stripes_and_each_later_one_differs_in_one_square(make_images):
    images = make_images(1, 12, 12, low=60, high=195, labels=[1])
    target, seen = watched()
    run(Square(eps=4 / 255, queries=40, stop=False), target, images)
    stripes = to_levels(seen[0]) - to_levels(images.pixels)
    assert stripes.abs().unique().tolist() == [4] and torch.equal(stripes, stripes[:, :, :1].expand_as(stripes))
    wide = []
    score = Linear(scale=500).load("t", CPU).respond
    best = seen[0]
    for file in seen[1:]:
        changed = (file != best).any(1)[0].nonzero()
        low, high = changed.amin(0), changed.amax(0)
        wide.append(int((high - low).max()) + 1)
        colours = (to_levels(file) - to_levels(images.pixels))[0, :, low[0] : high[0] + 1, low[1] : high[1] + 1].flatten(1)
        assert colours.abs().unique().tolist() == [4]
        best = file if score(file) < score(best) else best
    sides = [max(1, round((share(0.8, query / 40) * 144) ** 0.5)) for query in range(1, len(seen))]
    assert all(width <= side for width, side in zip(wide, sides, strict=True)) and sum(w == s for w, s in zip(wide, sides, strict=True)) > 30
    assert (sides[0], sides[-1]) == (4, 1)


@pytest.mark.parametrize("eps", [0.3, 1.0, 3.0])
def test_in_l2_every_file_lies_in_the_ball_and_most_fill_it(eps, make_images):
    images = make_images(2, 16, 16, low=60, high=195)
    target, seen = watched()
    run(Square(norm="l2", eps=eps, queries=40, stop=False), target, images)
    lengths = torch.cat([(files - images.pixels[: len(files)]).flatten(1).norm(dim=1) for files in seen if len(files) == 2])
    assert lengths.max() <= eps + 1e-6 and lengths.median() > 0.98 * eps


def test_a_move_in_l2_keeps_what_the_perturbation_has(make_images):
    """What one window loses the other gains: the length before clipping stays eps."""
    attack, clean = Square(norm="l2", eps=1.0), torch.full((1, 3, 20, 20), 0.5)
    rng = SampleRNG([5])
    moved = clean + attack._tiles(clean, rng)
    for side in (9, 5, 2, 1):
        moved = attack._shifted(moved, clean, side, rng)
        assert float((moved - clean).norm()) == pytest.approx(1.0, rel=1e-3)


def test_it_needs_scores_only_asks_as_often_as_it_may_and_stops_when_it_has_won(grey_images):
    images = grey_images(12, step=1)
    target = Brightness().load("t", CPU).with_access(Access.SCORES)
    found, objective = run(Square(eps=8 / 255, queries=60), target, images)
    fell, costs = objective.succeeded(found), target.ledger.take(images.ids)
    assert 0 < fell.sum() < 12 and within(found, images.pixels, objective.budget).all()
    assert all(cost.backwards == 0 for cost in costs)
    assert all(59 <= cost.queries <= 61 for cost, won in zip(costs, fell, strict=True) if not won)
    assert all(cost.queries == cost.queries_to_success + 1 or cost.cached_queries for cost, won in zip(costs, fell, strict=True) if won)
    assert max(cost.queries for cost, won in zip(costs, fell, strict=True) if won) < 40


@pytest.mark.parametrize(("norm", "eps", "least"), [("linf", 4 / 255, 0.4), ("l2", 1.0, 0.25)])
def test_on_a_linear_score_it_comes_near_the_optimum(norm, eps, least, make_images):
    """The direction has no structure that squares could use, so that this is the hard case; noise of the same size gains nothing."""
    images, spec = make_images(2, 8, 8, low=60, high=195), Linear(scale=1000)
    target = spec.load("t", CPU)
    found, objective = run(Square(norm=norm, eps=eps, queries=300, stop=False), target, images)
    gained = objective.margin(images.pixels) - objective.margin(found)
    most = 1000 * (eps if norm == "linf" else eps / math.sqrt(192))
    assert (gained > least * most).all() and (gained <= most * 1.001).all(), gained / most


def test_a_score_that_is_not_a_number_is_never_better(make_images):
    images = make_images(1, 8, 8, labels=[1])
    turn = [0]

    def moody(x):
        turn[0] += 1
        return x.flatten(1).mean(1) + (torch.nan if turn[0] % 2 == 0 else 1.0)

    target = Detector("moody", moody, Access.SCORES)
    found, _ = run(Square(queries=20, stop=False), target, images)
    assert not torch.equal(found, images.pixels)
