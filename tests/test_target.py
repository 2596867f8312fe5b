"""A target decides in one way, gives no more than its access, and keeps one ledger however it is wrapped."""

from __future__ import annotations

import math
import re
from dataclasses import asdict

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from redteam.target import Access, AccessError, Cost, Detector, Ledger, Threshold
from redteam.targets.fakes import Brightness, Constant, Linear

CPU = torch.device("cpu")
float32s = st.floats(width=32, allow_nan=False, allow_infinity=False)


def detector(threshold=0.0, access=Access.GRADIENTS):
    return Detector("mine", lambda pixels: pixels.flatten(1).mean(1), access, threshold)


@given(score=float32s, threshold=st.one_of(float32s, st.floats(allow_nan=False, allow_infinity=False)))
def test_margin_and_decision_say_what_score_above_threshold_says(score, threshold):
    target, scores = detector(threshold), torch.tensor([score])
    margin = target.margin(scores).item()
    assert (margin > 0) == bool(target.decide(scores)) == (scores.double().item() > threshold)
    assert margin != 0


@given(score=float32s, steps=st.integers(-2, 2))
def test_a_threshold_beside_a_score_decides_to_the_last_bit(score, steps):
    threshold = float(torch.tensor(score))
    for _ in range(abs(steps)):
        threshold = math.nextafter(threshold, math.copysign(math.inf, steps))
    target, scores = detector(threshold), torch.tensor([score])
    assert bool(target.decide(scores)) == (scores.double().item() > threshold) == (target.margin(scores).item() > 0)


def test_a_score_on_the_threshold_is_called_real():
    target = detector(0.5)
    assert target.decide(torch.tensor([0.5, math.nextafter(0.5, 0), 0.5000001])).tolist() == [0, 0, 1]
    assert target.margin(torch.tensor([0.5])).item() < 0


def test_nan_is_called_nothing_in_particular_and_has_no_margin():
    assert detector().decide(torch.tensor([math.nan])).tolist() == [0]
    assert math.isnan(detector().margin(torch.tensor([math.nan])).item())


def test_infinite_scores_are_on_their_side():
    assert detector().decide(torch.tensor([math.inf, -math.inf])).tolist() == [1, 0]


def test_access_can_be_lowered_and_not_raised():
    target = detector()
    lower = target.with_access(Access.SCORES)
    assert (target.access, lower.access) == (Access.GRADIENTS, Access.SCORES)
    assert lower.ledger is target.ledger
    with pytest.raises(AccessError, match="^mine: access can be lowered, not raised from scores to gradients$"):
        lower.with_access(Access.GRADIENTS)


def test_access_levels_are_ordered_and_spelled_as_in_a_scenario():
    assert Access.NONE < Access.DECISIONS < Access.SCORES < Access.GRADIENTS
    assert [level.word for level in Access] == ["none", "decisions", "scores", "gradients"]


def test_another_threshold_leaves_the_first_detector_alone():
    target = detector()
    other = target.with_threshold(2.0)
    assert (target.threshold, other.threshold) == (0.0, 2.0)
    assert other.ledger is target.ledger


def test_wrapping_puts_the_newest_transform_first_and_keeps_one_ledger(make_images):
    pixels = make_images(3, low=50, high=100).pixels
    target = detector()
    double = target.wrapped(lambda x: x * 2, "doubled")
    both = double.wrapped(lambda x: x + 0.1, "raised")
    assert torch.allclose(both.respond(pixels), ((pixels + 0.1) * 2).flatten(1).mean(1))
    assert torch.allclose(target.respond(pixels), pixels.flatten(1).mean(1))
    assert both.ledger is target.ledger
    assert (target.notes, both.notes) == ((), ("doubled", "raised"))


def test_a_lowered_or_rethresholded_copy_stays_wrapped(make_images):
    pixels = make_images(2).pixels
    wrapped = detector().wrapped(lambda x: 1 - x, "inverted").with_threshold(0.25).with_access(Access.DECISIONS)
    assert torch.allclose(wrapped.respond(pixels), (1 - pixels).flatten(1).mean(1))


@pytest.mark.parametrize(("answer", "got"), [(lambda p: p.mean(), "()"), (lambda p: p.flatten(1).mean(1, keepdim=True), "(3, 1)"), (lambda p: p.flatten(1)[0], "(192,)")])
def test_one_score_for_each_image_or_a_sentence(make_images, answer, got):
    target = Detector("mine", answer, Access.SCORES)
    with pytest.raises(ValueError, match=re.escape(f"mine: a detector must give one score for each image, got {got} for 3 images")):
        target.respond(make_images(3).pixels)


def test_the_ledger_counts_by_image_and_starts_again_when_taken():
    ledger = Ledger()
    ledger.book_query(["a", "b"])
    ledger.book_gradient(["a"], zero=[True], broken=[False])
    ledger.book_gradient(["a"], zero=[False], broken=[True])
    a, b, c = ledger.take(["a", "b", "c"])
    assert asdict(a) == {"queries": 3, "forwards": 3, "backwards": 2, "zero_gradients": 1, "broken_gradients": 1, "first_gradient_zero": True}
    assert b == Cost(queries=1, forwards=1)
    assert c == Cost()
    assert ledger.take(["a"]) == [Cost()]


def test_only_the_first_gradient_counts_as_the_first():
    ledger = Ledger()
    ledger.book_gradient(["a"], zero=[False], broken=[False])
    ledger.book_gradient(["a"], zero=[True], broken=[False])
    cost = ledger.take(["a"])[0]
    assert (cost.zero_gradients, cost.first_gradient_zero) == (1, False)


@pytest.mark.parametrize("given_", [{}, {"fixed": 0.5, "at_fpr": 0.01}])
def test_a_threshold_is_one_of_two_things(given_):
    with pytest.raises(ValueError, match=re.escape("threshold must be {fixed: VALUE} or {at_fpr: RATE, on: calib}, one of the two")):
        Threshold(**given_)


@pytest.mark.parametrize("given_", [{"at_fpr": 0.0}, {"at_fpr": 1.0}, {"fixed": math.nan}, {"fixed": math.inf}, {"at_fpr": 0.1, "on": "eval"}])
def test_a_threshold_is_finite_and_its_rate_inside_0_and_1(given_):
    with pytest.raises(ValidationError):
        TypeAdapter(Threshold).validate_python(given_)


def test_the_constant_fake_gives_its_score_and_a_zero_gradient(make_images):
    pixels = make_images(2).pixels.requires_grad_(True)
    scores = Constant(score=1.5).load("c", CPU).respond(pixels)
    assert scores.tolist() == [1.5, 1.5]
    assert torch.autograd.grad(scores.sum(), pixels)[0].abs().max() == 0


def test_the_linear_fake_is_the_formula_of_its_docstring(make_images):
    spec, images = Linear(scale=30.0, bias=0.7, seed=5), make_images(3, 6, 7)
    direction = spec.direction(6, 7)
    assert direction.abs().unique().tolist() == [1.0]
    expected = 0.7 + 30.0 * ((images.pixels - 0.5) * direction).double().flatten(1).mean(1)
    assert torch.allclose(spec.load("l", CPU).respond(images.pixels).double(), expected, atol=1e-5)


def test_the_brightness_fake_is_the_formula_of_its_docstring(make_images):
    images = make_images(3)
    expected = 50 * (images.pixels.double().flatten(1).mean(1) - 0.5)
    assert torch.allclose(Brightness().load("b", CPU).respond(images.pixels).double(), expected, atol=1e-5)
