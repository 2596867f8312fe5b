"""APGD: its schedule is that of the paper, its two losses agree where they must and part where they may."""

from __future__ import annotations

from itertools import islice

import pytest
import torch
from torch import nn

from redteam.attacks.apgd import APGD, checkpoints
from redteam.attacks.pgd import PGD
from redteam.objective import BOTH, Slope
from redteam.seeding import SampleRNG
from redteam.target import Access, Detector
from redteam.targets.fakes import Linear

CPU = torch.device("cpu")


def run(attack, target, images, seed=1):
    objective = BOTH.on(target, images, budget=attack.budget())
    return attack.run(objective, SampleRNG.of(seed, "apgd", {}, images.ids)).pixels, objective


def test_checkpoints_follow_the_recursion_of_the_paper():
    p = [0.0, 0.22]
    while p[-1] <= 1:
        p.append(p[-1] + max(p[-1] - p[-2] - 0.03, 0.06))
    for steps in (10, 20, 100, 1000):
        expected = [-(-round(share * steps * 1e6) // 10**6) for share in p[1:]]
        assert list(islice(checkpoints(steps), len(expected))) == expected


def bowl(scale=1.0):
    """Lowest in the middle of the ball's diagonal: a step that is too long jumps to and fro around it, a shorter one finds it."""
    return Detector("bowl", lambda x: scale * (1 + ((x.flatten(1) - 0.5 - 3.3 / 255) * 255).square().sum(1)), Access.GRADIENTS)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_the_step_shrinks_until_the_middle_of_a_bowl_is_found(norm, make_images):
    """PGD's fixed step of a quarter of the ball jumps over what lies between; a float is looked at, since the middle is no file."""
    images = make_images(2, 4, 4, labels=[1, 1], low=127, high=128)
    seen = []

    class Watched(type(BOTH.on(bowl(), images))):
        def slope(self, pixels) -> Slope:
            found = super().slope(pixels)
            seen.append(found.loss)
            return found

    eps = 8 / 255 if norm == "linf" else 0.2
    least = []
    for attack in (APGD(norm=norm, eps=eps, steps=60, stop=False), PGD(norm=norm, eps=eps, steps=60, stop=False)):
        seen.clear()
        objective = BOTH.on(bowl(), images, budget=attack.budget())
        objective.__class__ = Watched
        attack.run(objective, SampleRNG.of(1, "a", {}, images.ids))
        least.append(torch.stack(seen).amin(0))
    assert (least[0] < 1.5).all() and (least[1] > 2 * least[0]).all()


def network(seed=3):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ELU(), nn.Flatten(), nn.Linear(8 * 64, 1)).requires_grad_(False)
    return lambda x: 8 * model(x)[:, 0]


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_for_a_target_that_is_not_random_both_losses_take_the_same_path(norm, make_images):
    """Two outcomes leave the cross-entropy one degree of freedom, the margin; this is why the ensemble counts its two APGDs as two starts."""
    images, target = make_images(6), Detector("net", network(), Access.GRADIENTS)
    results = [run(APGD(norm=norm, eps=0.02 if norm == "linf" else 0.2, loss=loss, steps=20, stop=False), target, images)[0] for loss in ("ce", "margin")]
    assert torch.equal(*results)


def test_over_several_answers_the_cross_entropy_cares_for_those_that_are_fooled(make_images):
    """A coin shows one of two scores: one holds and is steep, the other is fooled. Their mean follows the steep one, the cross-entropy the other."""
    images = make_images(1, 4, 4, labels=[1], low=100, high=150)
    turn = [0]

    def coin(x):
        turn[0] += 1
        top, bottom = x[:, :, :2].flatten(1).mean(1), x[:, :, 2:].flatten(1).mean(1)
        return 4 + 30 * (top - bottom) if turn[0] % 2 else 10 * (bottom - top) - 40

    moved = {}
    for loss in ("ce", "margin"):
        found, _ = run(APGD(eps=4 / 255, loss=loss, steps=10, eot=2, stop=False), Detector("coin", coin, Access.GRADIENTS), images)
        moved[loss] = (found - images.pixels)[:, :, :2].mean().sign().item()
    assert moved == {"ce": 1.0, "margin": -1.0}


@pytest.mark.parametrize("loss", ["ce", "margin"])
@pytest.mark.parametrize("scale", [1e-3, 1e5])
def test_neither_loss_saturates(loss, scale, make_images):
    """A cross-entropy in float32 is flat for an answer of a hundred log-odds; this one is not."""
    images, score = make_images(3, low=40, high=215), Linear().load("t", CPU).respond
    attack = APGD(loss=loss, steps=20, eot=2, stop=False)
    scaled = Detector("t", lambda x: score(x).double() * scale, Access.GRADIENTS)
    assert torch.equal(run(attack, scaled, images)[0], run(attack, Linear().load("t", CPU), images)[0])


def test_more_steps_find_no_less(make_images):
    images, target = make_images(16), Detector("net", network(), Access.GRADIENTS)
    margins = [run(APGD(eps=6 / 255, steps=steps, stop=False), target, images) for steps in (5, 50)]
    few, many = (objective.margin(found) for found, objective in margins)
    assert many.mean() <= few.mean() and (many <= few + 0.3).all()


def test_restarts_keep_the_best(make_images):
    images, target = make_images(8), Detector("net", network(), Access.GRADIENTS)
    once, thrice = ([objective.margin(found) for found, objective in [run(APGD(eps=6 / 255, steps=2, restarts=n, stop=False), target, images)]][0] for n in (1, 3))
    assert (thrice <= once).all() and (thrice < once).any()
