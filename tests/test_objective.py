"""The objective: one direction of signs, honest accounts, and no more than the target gives."""

from __future__ import annotations

import re

import pytest
import torch
from torch import nn

from redteam.files import Budget, FileFormat
from redteam.imaging import codecs
from redteam.imaging.grid import round_toward
from redteam.objective import BOTH, EVADE, FRAME, goal_named
from redteam.target import Access, AccessError, Detector
from redteam.targets.fakes import Broken, Linear

CPU = torch.device("cpu")


def linear(access=Access.GRADIENTS):
    return Linear().load("t", CPU).with_access(access)


def function(score, access=Access.GRADIENTS, threshold=0.0):
    return Detector("t", score, access, threshold)


def mean(pixels):
    return pixels.flatten(1).mean(1)


def test_loss_and_margin_fall_as_the_adversary_gains(make_images):
    images = make_images(4)
    objective = BOTH.on(function(mean, threshold=0.25), images)
    fakes, reals = images.labels == 1, images.labels == 0
    darker, brighter = images.pixels * 0.5, images.pixels * 0.5 + 0.5
    for measure in (objective.loss, objective.margin):
        clean, dark, bright = measure(images.pixels), measure(darker), measure(brighter)
        assert (dark[fakes] < clean[fakes]).all() and (bright[fakes] > clean[fakes]).all()  # a fake gains by looking real
        assert (dark[reals] > clean[reals]).all() and (bright[reals] < clean[reals]).all()


def test_a_margin_below_zero_is_success_and_a_wrong_decision(make_images):
    images = make_images(6)
    target = function(mean, threshold=0.5)
    objective = BOTH.on(target, images)
    wrong = target.decide(target.respond(images.pixels)) != images.labels
    assert torch.equal(objective.margin(images.pixels) < 0, wrong)
    assert torch.equal(objective.succeeded(images.pixels), wrong)
    assert 0 < wrong.sum() < 6


def test_the_loss_does_not_saturate(make_images):
    images = make_images(2)
    objective = BOTH.on(function(lambda pixels: 1e4 * mean(pixels)), images)
    assert (objective.gradient(images.pixels).abs().flatten(1).amax(1) > 1).all()


def test_the_gradient_is_that_of_the_loss(make_images):
    images = make_images(4, 5, 6)
    gradient = BOTH.on(linear(), images).gradient(images.pixels)
    expected = 100 / (3 * 5 * 6) * Linear().direction(5, 6) * (2 * images.labels - 1).view(-1, 1, 1, 1)
    assert torch.allclose(gradient, expected, rtol=1e-4)
    assert not gradient.requires_grad


@pytest.mark.parametrize(("goal", "concerned"), [(EVADE, [True, False, True]), (FRAME, [False, True, False]), (BOTH, [True, True, True])])
def test_a_goal_is_about_the_labels_that_it_wants(goal, concerned):
    assert goal.concerns(torch.tensor([1, 0, 1])).tolist() == concerned


def test_goals_are_found_by_name_and_the_default_is_both():
    assert goal_named("detector", None) is BOTH
    assert goal_named("detector", "frame") is FRAME
    with pytest.raises(ValueError, match=re.escape("goal must be one of evade+frame, evade, frame for a detector, got 'erase'")):
        goal_named("detector", "erase")


def test_a_goal_refuses_images_that_it_does_not_concern(make_images):
    message = "goal evade does not concern every image of the batch; take images.subset(goal.concerns(images.labels))"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        EVADE.on(linear(), make_images(2))


QUESTIONS = {"gradient": ("a gradient", Access.GRADIENTS), "loss": ("a loss", Access.SCORES), "margin": ("a margin", Access.SCORES), "succeeded": ("a decision", Access.DECISIONS)}


@pytest.mark.parametrize("gives", list(Access))
@pytest.mark.parametrize("question", QUESTIONS)
def test_access_is_refused_in_full_and_costs_nothing(make_images, question, gives):
    wish, needs = QUESTIONS[question]
    images = make_images(2)
    target = linear(gives)
    ask = getattr(BOTH.on(target, images), question)
    if gives >= needs:
        assert ask(images.pixels).shape[0] == 2
        return
    with pytest.raises(AccessError, match=f"^t gives {gives.word}; {wish} needs {needs.word}$"):
        ask(images.pixels)
    assert target.ledger.take(images.ids)[0].queries == 0


@pytest.mark.parametrize("question", ["loss", "margin"])
def test_no_gradient_leaks_through_a_score(make_images, question):
    weight = nn.Parameter(torch.ones(()))

    def stubborn(pixels):
        with torch.enable_grad():  # a module that turns gradients on by itself
            return mean(pixels) * weight

    images = make_images(2)
    pixels = images.pixels.clone().requires_grad_(True)
    for access in (Access.SCORES, Access.GRADIENTS):
        answer = getattr(BOTH.on(function(stubborn, access), images), question)(pixels)
        assert not answer.requires_grad
    assert pixels.grad is None and weight.grad is None


def test_absent_gradients_are_zero_and_booked_as_broken(make_images):
    images = make_images(3)
    for score in (lambda p: mean(p).detach(), lambda p: torch.ones(len(p), requires_grad=True) * 1.0):
        target = function(score)
        gradient = BOTH.on(target, images).gradient(images.pixels)
        assert gradient.abs().max() == 0
        costs = target.ledger.take(images.ids)
        assert [(c.broken_gradients, c.zero_gradients, c.backwards, c.queries) for c in costs] == [(1, 0, 1, 1)] * 3


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_broken_gradients_are_booked_on_their_own_image_and_zeroed(make_images, bad):
    images = make_images(3)
    weights = torch.ones(3, 1, 1, 1)
    weights[1] = bad
    target = function(lambda pixels: (pixels * weights).flatten(1).sum(1))
    gradient = BOTH.on(target, images).gradient(images.pixels)
    assert gradient.isfinite().all()
    assert gradient[1].abs().max() == 0
    assert gradient[0].abs().min() == gradient[2].abs().min() == 1
    assert [c.broken_gradients for c in target.ledger.take(images.ids)] == [0, 1, 0]


@pytest.mark.parametrize("size", [3e38, 1e-45])
def test_gradients_at_the_ends_of_float32_are_neither_broken_nor_zero(make_images, size):
    images = make_images(2)
    target = function(lambda pixels: (pixels.double() * size).flatten(1).sum(1))
    BOTH.on(target, images).gradient(images.pixels)
    assert [(c.broken_gradients, c.zero_gradients) for c in target.ledger.take(images.ids)] == [(0, 0)] * 2


def test_zero_gradients_are_booked_on_their_own_image(make_images):
    images = make_images(3)
    target = function(lambda pixels: mean(pixels) * torch.tensor([1.0, 0.0, 1.0]))
    BOTH.on(target, images).gradient(images.pixels)
    assert [(c.zero_gradients, c.first_gradient_zero) for c in target.ledger.take(images.ids)] == [(0, False), (1, True), (0, False)]


def test_each_question_is_booked_once_for_each_image_and_a_subset_shares_the_accounts(make_images):
    images = make_images(4)
    target = linear()
    objective = BOTH.on(target, images)
    for question in QUESTIONS:
        getattr(objective, question)(images.pixels)
    objective.subset([2, 0]).loss(images.pixels[[2, 0]])
    objective.with_images(images.with_pixels(images.pixels * 0.5)).margin(images.pixels)
    assert [(c.queries, c.forwards, c.backwards) for c in target.ledger.take(images.ids)] == [(6, 6, 1), (5, 5, 1), (6, 6, 1), (5, 5, 1)]


def test_a_subset_has_its_own_images_and_labels(make_images):
    images = make_images(4)
    objective = BOTH.on(linear(), images, budget=Budget("linf", 0.1))
    part = objective.subset(torch.tensor([3, 1]))
    assert part.images.ids == ("image3", "image1") and len(part) == 2 and part.budget == objective.budget
    assert torch.equal(part.loss(images.pixels[[3, 1]]), objective.loss(images.pixels)[[3, 1]])


@pytest.mark.parametrize("question", QUESTIONS)
def test_asking_about_more_images_than_are_booked_is_refused(make_images, question):
    objective = BOTH.on(linear(), make_images(1))
    message = "objective: 1 images, got pixels of 7; each question is booked on one image, so ask once for every candidate"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$|^adversarial and clean must have one shape"):
        getattr(objective, question)(make_images(7).pixels)


def writes_tracked(pixels):
    return mean(pixels.sub_(0.5).div_(0.25))  # as torchvision's Normalize(inplace=True)


@pytest.mark.parametrize("target", [function(writes_tracked), Broken(fault="mutate").load("m", CPU)], ids=["tracked", "untracked"])
def test_a_target_that_writes_into_its_input_does_not_reach_the_attack(make_images, target):
    images = make_images(2)
    before = images.pixels.clone()
    objective = BOTH.on(target, images)
    for question in QUESTIONS:
        getattr(objective, question)(images.pixels)
        assert torch.equal(images.pixels, before), question


def test_in_place_preprocessing_gives_the_gradient_that_it_would_give_out_of_place(make_images):
    images = make_images(2)
    assert torch.allclose(BOTH.on(function(writes_tracked), images).gradient(images.pixels), BOTH.on(function(lambda p: mean((p - 0.5) / 0.25)), images).gradient(images.pixels))


def test_success_is_judged_on_the_grid_inside_the_budget(make_images):
    images = make_images(2, labels=[1, 1])
    seen = []
    target = function(lambda pixels: seen.append(pixels.clone()) or mean(pixels))
    moved = (images.pixels + 2.6 / 255).clamp(0, 1)
    EVADE.on(target, images, budget=Budget("linf", 2.6 / 255)).succeeded(moved)
    assert torch.equal(seen[-1], round_toward(moved, images.pixels))
    EVADE.on(target, images, file=FileFormat(format="jpeg", quality=50)).succeeded(moved)
    assert torch.equal(seen[-1], codecs.jpeg(moved, 50))


def test_a_score_that_is_nan_is_no_success(make_images):
    images = make_images(4)
    target = function(lambda pixels: mean(pixels) * torch.nan)
    assert BOTH.on(target, images).succeeded(images.pixels).tolist() == [False] * 4


def test_margin_and_gradient_are_those_of_two_questions_for_the_price_of_one(make_images):
    images, target = make_images(4), linear()
    objective = BOTH.on(target, images)
    margin, gradient = objective.margin_and_gradient(images.pixels)
    for cost in target.ledger.take(images.ids):
        assert (cost.queries, cost.forwards, cost.backwards) == (1, 1, 1)
    assert torch.equal(margin, objective.margin(images.pixels)) and margin.dtype == torch.float64
    assert torch.equal(gradient, objective.gradient(images.pixels))
    assert not margin.requires_grad
