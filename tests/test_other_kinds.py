"""An attack never knows what it attacks: a kind of target that the engine has not heard of falls to the registered attacks, unchanged."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import ClassVar

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from redteam.attacks.fgsm import FGSM
from redteam.attacks.noise import Noise
from redteam.attacks.pgd import PGD
from redteam.files import within
from redteam.images import Images
from redteam.objective import EVADE, Goal
from redteam.seeding import SampleRNG
from redteam.target import Access, Target


class Localizer(Target):
    """Answers with the log-odds (n, 1, h, w) that each pixel is forged."""

    kind: ClassVar[str] = "localizer"

    def __init__(self, name: str, mask: Callable[[Tensor], Tensor], access: Access) -> None:
        super().__init__(name, access)
        self._mask = mask

    def respond(self, pixels: Tensor) -> Tensor:
        """Pixels (n, 3, h, w) in [0, 1] -> (n, 1, h, w) log-odds."""
        return self._mask(pixels)


class Empty(Goal):
    """Make the localizer mark nothing."""

    name = "empty"
    kind: ClassVar[str] = "localizer"

    def concerns(self, labels: Tensor) -> Tensor:
        """Forged images alone."""
        return labels == 1

    def loss(self, response: Tensor, images: Images, target: Target) -> Tensor:
        """Log-odds of the forged pixels, and of any other that comes to be marked (n,)."""
        return (functional.softplus(response) + response * images.masks).flatten(1).mean(1)

    def margin(self, response: Tensor, images: Images, target: Target) -> Tensor:
        """Log-odds of the pixel that is marked most (n,)."""
        return response.double().flatten(1).amax(1)


EMPTY = Empty()


def colourful(pixels):
    """Marks pixels whose red exceeds their blue by more than five levels."""
    return 100 * (pixels[:, :1] - pixels[:, 2:] - 5.5 / 255)


@pytest.fixture
def forged(make_images):
    """Grey pictures with a square in which red is a few levels above blue."""
    images = make_images(6, 12, 12, labels=[1] * 6, low=60, high=180)
    pixels = images.pixels.mean(1, keepdim=True).mul(255).round().div(255).repeat(1, 3, 1, 1)
    masks = torch.zeros(6, 1, 12, 12)
    masks[:, :, 3:8, 4:9] = 1
    pixels[:, :1] += masks * 10 / 255
    return Images((pixels * 255).round() / 255, images.ids, images.labels, images.groups, masks=masks)


def attack(method, target, images):
    objective = EMPTY.on(target, images, budget=method.budget())
    return objective, method.perturb(objective, SampleRNG.of(1, "test", method.params(), images.ids))


@pytest.mark.parametrize("method", [PGD(eps=4 / 255, steps=6), FGSM(eps=4 / 255), PGD(norm="l2", eps=0.5, steps=20)], ids=repr)
def test_gradient_attacks_blank_a_localizer_that_they_have_never_heard_of(forged, method):
    target = Localizer("masks", colourful, Access.GRADIENTS)
    objective, attacked = attack(method, target, forged)
    assert not objective.succeeded(forged.pixels).any()
    assert objective.succeeded(attacked.pixels).all()
    assert (target.respond(attacked.pixels) > 0).sum() == 0
    assert within(attacked.pixels, forged.pixels, method.budget()).all()
    assert torch.equal(attacked.masks, forged.masks)
    assert target.ledger.take(forged.ids)[0].backwards == getattr(method, "steps", 1)


def test_random_noise_of_that_size_does_not(forged):
    target = Localizer("masks", colourful, Access.DECISIONS)
    objective, noisy = attack(Noise(eps=4 / 255), target, forged)
    assert not objective.succeeded(noisy.pixels).any()


def test_a_goal_and_a_target_of_different_kinds_do_not_meet(forged):
    target = Localizer("masks", colourful, Access.GRADIENTS)
    with pytest.raises(ValueError, match=re.escape("goal evade is about a detector, but masks is a localizer")):
        EVADE.on(target, forged)
    assert EMPTY.on(target, forged).subset([1, 4]).images.masks.shape == (2, 1, 12, 12)
