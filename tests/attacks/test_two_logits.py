"""The objective as a classifier of two classes: the same decisions, the same gradient, and every question on the account of its image."""

from __future__ import annotations

import re

import pytest
import torch
from torch import nn

from redteam.attacks.two_logits import CONFIDENT, TwoLogits
from redteam.objective import BOTH
from redteam.target import Access, AccessError, Detector
from redteam.targets.fakes import Linear

CPU = torch.device("cpu")


def linear(**settings):
    return Linear(**settings).load("t", CPU)


def on_edge(bias=0.0):
    """A detector whose score is the first pixel of the image, and the threshold that it must exceed."""
    return Detector("edge", lambda pixels: pixels[:, 0, 0, 0] + bias, Access.GRADIENTS, threshold=0.5 + bias)


def test_their_softmax_is_the_sigmoid_of_the_margin(make_images):
    objective = BOTH.on(linear(scale=20.0, bias=0.3).with_threshold(0.7), make_images(6))
    pixels = objective.images.pixels
    shown = TwoLogits(objective)(pixels)
    assert torch.allclose(shown.softmax(1)[:, 1].double(), objective.margin(pixels).sigmoid(), rtol=1e-5)
    assert torch.equal(shown[:, 0], -shown[:, 1])


@pytest.mark.parametrize("bias", [0.0, 1e6])
def test_class_1_wins_exactly_while_the_target_holds(make_images, bias):
    """Also for a score that equals the threshold, which counts as real, and for one that is the next number above it."""
    images = make_images(6, labels=[1, 0, 1, 0, 1, 0])
    pixels = images.pixels.clone()
    at = torch.tensor(0.5)
    pixels[:, 0, 0, 0] = torch.stack([at, at, at.nextafter(torch.tensor(1.0)), at.nextafter(torch.tensor(1.0)), at + 0.25, at - 0.25])
    objective = BOTH.on(on_edge(bias), images)
    assert torch.equal(TwoLogits(objective)(pixels).argmax(1) == 0, objective.margin(pixels) < 0)


def test_a_cross_entropy_of_them_moves_along_the_objectives_gradient(make_images):
    objective = BOTH.on(linear(scale=20.0), make_images(4))
    pixels = objective.images.pixels.clone().requires_grad_(True)
    nn.CrossEntropyLoss()(TwoLogits(objective)(pixels), torch.ones(4, dtype=torch.int64)).backward()
    expected = -(1 - objective.margin(pixels).sigmoid()).float()[:, None, None, None] * objective.gradient(pixels) / 4
    assert torch.allclose(pixels.grad, expected, rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize("scale", [10.0, 1e4, 1e7])
def test_a_sure_detector_still_has_a_gradient(make_images, scale):
    objective = BOTH.on(linear(scale=scale, bias=scale), make_images(2, labels=[1, 1]))
    pixels = objective.images.pixels.clone().requires_grad_(True)
    nn.CrossEntropyLoss()(TwoLogits(objective)(pixels), torch.ones(2, dtype=torch.int64)).backward()
    assert (pixels.grad.flatten(1).abs().amax(1) > 1e-9).all()


def test_as_is_a_sure_detector_has_none(make_images):
    objective = BOTH.on(linear(scale=1.0, bias=500.0), make_images(1, labels=[1]))
    pixels = objective.images.pixels.clone().requires_grad_(True)
    shown = TwoLogits(objective, as_is=True)(pixels)
    nn.CrossEntropyLoss()(shown, torch.ones(1, dtype=torch.int64)).backward()
    assert shown[0, 1].item() == pytest.approx(250, rel=0.01)
    assert pixels.grad.abs().max() == 0


def test_the_first_answer_sets_the_scale_of_all_others(make_images):
    objective = BOTH.on(on_edge(-0.5), make_images(1, labels=[1]))
    sure = BOTH.on(Detector("t", lambda pixels: 400 * pixels[:, 0, 0, 0], Access.GRADIENTS), make_images(1, labels=[1]))
    dark, bright = torch.zeros(1, 3, 8, 8), torch.ones(1, 3, 8, 8)
    model = TwoLogits(sure)
    assert [round(model(pixels)[0, 1].item(), 3) for pixels in (bright, bright / 4, bright)] == [CONFIDENT / 2, CONFIDENT / 8, CONFIDENT / 2]
    assert TwoLogits(objective)(bright)[0, 1].item() == pytest.approx(0.25)  # a margin of 0.5 is shown as it is
    assert TwoLogits(objective)(dark)[0, 1].item() == pytest.approx(-0.25)


def test_one_gradient_is_one_question_however_often_it_is_used(make_images):
    images, target = make_images(2), linear()
    pixels = images.pixels.clone().requires_grad_(True)
    shown = TwoLogits(BOTH.on(target, images))(pixels)
    for out in (shown[0, 0], shown[0, 1], shown[1, 1]):
        torch.autograd.grad(out, pixels, retain_graph=True)
    for cost in target.ledger.take(images.ids):
        assert (cost.queries, cost.forwards, cost.backwards) == (1, 1, 1)


def test_without_a_gradient_it_asks_for_a_score_only(make_images):
    images = make_images(2)
    model = TwoLogits(BOTH.on(linear().with_access(Access.SCORES), images))
    with torch.no_grad():
        model(images.pixels.clone().requires_grad_(True))
    assert not model(images.pixels).requires_grad
    with pytest.raises(AccessError, match="^t gives scores; a gradient needs gradients$"):
        model(images.pixels.clone().requires_grad_(True))


def test_copies_of_one_image_are_asked_one_after_the_other(make_images):
    image, target = make_images(1), linear(scale=20.0)
    copies = torch.cat([image.pixels * shade for shade in (1.0, 0.5, 0.0)]).requires_grad_(True)
    objective = BOTH.on(target, image)
    model = TwoLogits(objective)
    model(copies)[:, 1].sum().backward()
    assert target.ledger.take(image.ids)[0].queries == 3
    assert torch.allclose(copies.grad, objective.gradient(image.pixels).expand(3, -1, -1, -1) / 2)
    margins = torch.cat([objective.margin(copy) for copy in copies.detach().split(1)])
    assert torch.equal(model.nearest, copies.detach()[margins.argmin()][None])


def test_rows_that_cannot_be_told_apart_are_refused(make_images):
    images = make_images(3)
    message = "objective: 3 images, got pixels of 2; each question is booked on one image, so ask once for every candidate"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        TwoLogits(BOTH.on(linear(), images))(images.pixels[:2])


def test_the_target_never_sees_pixels_outside_the_range(make_images):
    seen = []

    def score(pixels):
        seen.append(torch.aminmax(pixels.detach()))
        return pixels.flatten(1).mean(1)

    images = make_images(2)
    pixels = (images.pixels * 3 - 1).requires_grad_(True)
    TwoLogits(BOTH.on(Detector("t", score, Access.GRADIENTS), images))(pixels)[:, 1].sum().backward()
    assert [(low.item(), high.item()) for low, high in seen] == [(0.0, 1.0)]
    assert torch.equal(pixels.grad == 0, (pixels < 0) | (pixels > 1))


def test_black_and_white_pixels_have_a_gradient(make_images):
    """As they would not behind a clamp under autograd, whose derivative newer releases of torch take to be zero at its ends."""
    images = make_images(2).with_pixels(torch.tensor([0.0, 1.0]).view(2, 1, 1, 1).expand(2, 3, 8, 8).contiguous())
    pixels = images.pixels.clone().requires_grad_(True)
    TwoLogits(BOTH.on(linear(), images))(pixels)[:, 1].sum().backward()
    assert (pixels.grad != 0).all()


def test_a_gradient_lies_in_memory_as_the_pixels_do(make_images):
    """SparseFool of torchattacks flattens it with `view`, which fails where a convolution left its channels last."""
    images, weight = make_images(1), torch.ones(1, 3, 8, 8).to(memory_format=torch.channels_last)
    objective = BOTH.on(Detector("t", lambda pixels: (pixels * weight).flatten(1).sum(1), Access.GRADIENTS), images)
    assert not objective.gradient(images.pixels).is_contiguous()
    pixels = images.pixels.clone().requires_grad_(True)
    assert torch.autograd.grad(TwoLogits(objective)(pixels)[0, 1], pixels)[0].is_contiguous()
