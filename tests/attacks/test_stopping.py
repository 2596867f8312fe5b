"""Attacks rest on an image once its file is misjudged: it costs no more, and the file that was judged is the one that is handed on."""

from __future__ import annotations

import pytest
import torch

from redteam.attack import Tier
from redteam.attacks.apgd import APGD
from redteam.attacks.autoattack import AutoAttack
from redteam.attacks.chain import Chain
from redteam.attacks.fab import FAB
from redteam.attacks.jpeg import JPEG
from redteam.attacks.pgd import PGD
from redteam.attacks.standing import Standing
from redteam.files import Budget, FileFormat
from redteam.imaging.grid import from_levels, to_levels
from redteam.objective import BOTH
from redteam.seeding import SampleRNG
from redteam.target import Access, Detector
from redteam.targets.fakes import Brightness, Linear

CPU = torch.device("cpu")
SEARCHES = [PGD(eps=16 / 255), PGD(norm="l2", eps=2.0), PGD(eps=16 / 255, restarts=2), APGD(eps=16 / 255, steps=20), APGD(norm="l2", eps=2.0, steps=20), FAB(eps=16 / 255, steps=20), AutoAttack(eps=16 / 255, steps=20, queries=40)]
every_search = pytest.mark.parametrize("attack", SEARCHES, ids=repr)


def run(attack, target, images, **given):
    objective = BOTH.on(target, images, budget=attack.budget(), **given)
    return attack.run(objective, SampleRNG.of(1, "stop", attack.params(), images.ids)), objective


@every_search
def test_who_falls_early_costs_less_and_whoever_stands_costs_all(attack, grey_images):
    images, target = grey_images(24, step=2), Brightness().load("t", CPU)
    attacked, objective = run(attack, target, images)
    fell, costs = objective.succeeded(attacked.pixels), target.ledger.take(images.ids)
    assert 0 < fell.sum() < 24
    spent = torch.tensor([float(cost.backwards) for cost in costs])
    assert (spent[~fell] == attack.gradients()).all()
    assert spent[fell].mean() < 0.5 * attack.gradients()


@every_search
def test_the_iterate_that_succeeded_is_the_one_that_is_handed_on(attack, make_images):
    """Every file that the target misjudged was the last that it was asked about, and it is the result."""
    images, asked = make_images(12, 16, 16, low=60, high=195), {}
    score = Linear(scale=1500).load("t", CPU).respond

    def watched(pixels):
        scores = score(pixels)
        asked.update({image.detach().numpy().tobytes(): value for image, value in zip(pixels, scores.tolist(), strict=True)})
        return scores

    attacked, objective = run(attack, Detector("t", watched, Access.GRADIENTS), images)
    seen = [image.numpy().tobytes() in asked for image in attacked.pixels]
    fell = objective.succeeded(attacked.pixels)
    assert fell.any() and all(seen[i] for i in range(12) if fell[i])
    assert torch.equal(attacked.pixels, from_levels(to_levels(attacked.pixels)))


@every_search
def test_a_float_that_succeeds_is_not_enough(attack, grey_images):
    """Between the levels of a file a detector with teeth is fooled; on them it is not."""
    images = grey_images(4)

    def teeth(pixels):
        off = (pixels * 255 - (pixels * 255).round()).abs().flatten(1).amax(1)
        return 1 - 20 * off + 0.01 * (pixels.flatten(1).mean(1) - 0.5)

    fakes = images.subset([0, 2])
    attacked, objective = run(attack, Detector("t", teeth, Access.GRADIENTS), fakes)
    assert not objective.succeeded(attacked.pixels).any()
    assert (objective.margin((fakes.pixels + 0.2 / 255).clamp(0, 1)) < 0).all()


@every_search
def test_what_counts_is_the_file_format_of_the_scenario(attack, grey_images):
    images, target = grey_images(24, step=2), Brightness().load("t", CPU)
    file = FileFormat(format="jpeg", quality=30)
    attacked, objective = run(attack, target, images, file=file)
    assert torch.equal(objective.succeeded(attacked.pixels), (BOTH.on(target, images).margin(file.save_and_load(attacked.pixels)) < 0))


def test_to_the_end_every_question_holds_everybody(grey_images):
    images, target = grey_images(12), Brightness().load("t", CPU)
    run(PGD(eps=16 / 255, steps=7, stop=False), target, images)
    assert [(cost.queries, cost.backwards) for cost in target.ledger.take(images.ids)] == [(7, 7)] * 12


def test_what_is_broken_already_is_asked_about_once(grey_images):
    images = grey_images(4)
    target = Brightness(at=0.9).load("t", CPU)  # calls everything real, so the fakes have passed
    attacked, _ = run(PGD(eps=4 / 255, random_start=False), target, images)
    costs = target.ledger.take(images.ids)
    assert [(cost.backwards, cost.queries) for cost in costs] == [(1, 2), (20, 20), (1, 2), (20, 20)]
    assert torch.equal(attacked.pixels[::2], images.pixels[::2])


def test_on_a_surrogate_and_before_the_last_stage_of_a_chain_nothing_rests(grey_images):
    images, target, other = grey_images(6), Brightness().load("t", CPU), Brightness().load("s", CPU)
    PGD(eps=32 / 255, steps=6, surrogates=("s",)).run(BOTH.on(target, images, surrogates={"s": other}), SampleRNG.of(1, "a", {}, images.ids))
    assert [cost.backwards for cost in other.ledger.take(images.ids)] == [6] * 6
    for stages, most in (((PGD(eps=32 / 255, steps=6), JPEG()), 6), ((JPEG(), PGD(eps=32 / 255, steps=6)), 2)):
        Chain(stages=stages, names=("a", "b")).run(BOTH.on(target, images), SampleRNG.of(1, "a", {}, images.ids))
        costs = target.ledger.take(images.ids)
        assert max(cost.backwards for cost in costs) == most and len({cost.backwards for cost in costs}) <= 2


def test_the_tier_says_whether_images_leave_the_batch():
    assert (PGD().tier, PGD(stop=False).tier, PGD(surrogates=("s",)).tier) == (Tier.MICROBATCH, Tier.SAMPLE, Tier.SAMPLE)
    assert PGD().divisible and FAB().divisible and Chain(stages=(PGD(), JPEG()), names=("a", "b")).divisible
    assert Chain(stages=(PGD(), JPEG()), names=("a", "b")).tier is Tier.MICROBATCH


def test_restarts_help_where_a_descent_may_end_in_the_wrong_valley(make_images):
    """A hill stands between the image and the boundary on one side; only a start on the other side of it comes through."""
    images = make_images(48, 1, 1, labels=[1] * 48, low=128, high=128)

    def hilly(pixels):
        first = (pixels[:, 0, 0, 0] - 128 / 255) * 255 / 8  # in [-1, 1] inside the ball
        return 1 - torch.where(first > 0.4, 3 * (first - 0.4), 0.2 * (0.4 - first))

    target = Detector("t", hilly, Access.GRADIENTS)
    once, often = (run(PGD(eps=8 / 255, step=0.5 / 255, restarts=n), target, images) for n in (1, 6))
    fell = [objective.succeeded(attacked.pixels) for attacked, objective in (once, often)]
    assert 0 < fell[0].sum() < 30 and fell[1].sum() > 40


def test_restarts_without_a_random_start_are_refused():
    with pytest.raises(ValueError, match="^restarts: must be 1 without a random start, got 3; every descent would be the same$"):
        PGD(restarts=3, random_start=False)


def standing(images, **given):
    return Standing(BOTH.on(Linear().load("t", CPU), images), Budget("linf", 4 / 255), **({"stop": True} | given))


def test_who_has_fallen_is_answered_with_zeros_and_not_booked(make_images):
    images, target = make_images(4), Linear().load("t", CPU)
    left = Standing(BOTH.on(target, images), Budget("linf", 4 / 255), stop=True)
    whole = BOTH.on(Linear().load("u", CPU), images).slope(images.pixels)
    left.rest(torch.tensor([False, True, False, True]))
    part = left.slope(images.pixels)
    assert left.left.tolist() == [0, 2] and len(left) == 2
    for mine, theirs in zip(part, whole, strict=True):
        assert torch.equal(mine[[0, 2]], theirs[[0, 2]]) and mine[[1, 3]].abs().max() == 0
    assert torch.equal(left.margin(images.pixels), part.margin)
    assert [cost.queries for cost in target.ledger.take(images.ids)] == [2, 0, 2, 0]


def test_the_best_file_that_was_taken_is_kept(make_images):
    images = make_images(2)
    left = standing(images, stop=False)
    direction = Linear().direction(8, 8) * (2 * images.labels - 1).view(-1, 1, 1, 1)
    good, bad = (from_levels((to_levels(images.pixels) - size * direction).clamp(0, 255).long()) for size in (2, 1))
    assert left.take(bad).all() and left.take(good).all() and not left.take(bad).any()
    assert torch.equal(left.files, good) and not left.fallen.any()


def test_settled_pixels_are_inside_the_budget_and_who_fell_keeps_the_file(make_images):
    images = make_images(2)
    left = standing(images)
    left.check(images.pixels, torch.tensor([True, True]))
    fallen = left.fallen.clone()
    moved = left.settled((images.pixels + 0.5).clamp(0, 1))
    assert (to_levels(moved) - to_levels(images.pixels))[~fallen].abs().max() == 4
    assert torch.equal(moved[fallen], images.pixels[fallen])
