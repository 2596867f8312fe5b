"""Our gradient attacks beside torchattacks 3.5.1 on the same network, images, budget and steps, both judged on 8-bit files."""

from __future__ import annotations

import math
import warnings

import pytest
import torch
from torch import Tensor, nn

from redteam.attacks.pgd import PGD
from redteam.files import Budget, to_grid, within
from redteam.images import Images
from redteam.imaging.filters import gaussian_blur
from redteam.imaging.grid import round_nearest
from redteam.objective import BOTH
from redteam.seeding import SampleRNG
from redteam.target import Access, Detector

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of what it imports
    torchattacks = pytest.importorskip("torchattacks")

N, SIZE, STEPS = 192, 16, 10
BUDGETS = [Budget("linf", 1 / 255), Budget("linf", 2 / 255), Budget("l2", 0.08), Budget("l2", 0.16)]


class TwoLogits(nn.Module):
    """A one-logit network as torchattacks needs it."""

    def __init__(self, one: nn.Module) -> None:
        super().__init__()
        self.one = one

    def forward(self, pixels: Tensor) -> Tensor:
        z = self.one(pixels)
        return torch.cat([-z / 2, z / 2], 1)


@pytest.fixture(scope="module")
def network():
    """A small convolutional network with fixed random weights, its output shifted and scaled to have median 0 and spread 4 on the images."""
    with torch.random.fork_rng():
        torch.manual_seed(5)
        layers = [nn.Conv2d(3, 12, 3, padding=1), nn.ELU(), nn.Conv2d(12, 12, 3, stride=2, padding=1), nn.ELU(), nn.Flatten(), nn.Linear(12 * 64, 1)]
        model = nn.Sequential(*layers).eval().requires_grad_(False)
    with torch.no_grad():
        z = model(pixels())
        model[-1].weight.mul_(4 / z.std())
        model[-1].bias.copy_((model[-1].bias - z.median()) * 4 / z.std())
    return model


def pixels() -> Tensor:
    noise = torch.rand(N, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(6))
    smooth = gaussian_blur(noise, 1.5)
    return round_nearest((smooth - smooth.amin()) / (smooth.amax() - smooth.amin()))


@pytest.fixture(scope="module")
def images(network) -> Images:
    """Images labelled as the network calls them, so that every one is attackable."""
    names = tuple(f"i{i}" for i in range(N))
    return Images(pixels(), names, (network(pixels())[:, 0] > 0).long(), names)


def detector(network) -> Detector:
    return Detector("cnn", lambda x: network(x)[:, 0], Access.GRADIENTS)


def ours(network, images, budget):
    attack = PGD(norm=budget.norm, eps=budget.eps, step=budget.eps / 4, steps=STEPS)
    objective = BOTH.on(detector(network), images, budget=budget)
    return attack.perturb(objective, SampleRNG.of(1, "pgd", {}, images.ids)).pixels


def theirs(model, images, budget):
    method = {"linf": torchattacks.PGD, "l2": torchattacks.PGDL2}[budget.norm]
    with torch.random.fork_rng():  # it draws from the global generator
        torch.manual_seed(1)
        adversarial = method(model, eps=budget.eps, alpha=budget.eps / 4, steps=STEPS, random_start=True)(images.pixels.clone(), images.labels)
    return to_grid(adversarial.clamp(0, 1), images.pixels, budget)


def fell(network, images, adversarial):
    return BOTH.on(detector(network), images).succeeded(adversarial)


@pytest.fixture(scope="module", params=BUDGETS, ids=str)
def pair(request, network, images):
    """The budget, and both methods' adversarial images as files hold them."""
    budget = request.param
    return budget, ours(network, images, budget), theirs(TwoLogits(network), images, budget)


def test_success_rates_agree_within_two_standard_errors(network, images, pair):
    a, b = (fell(network, images, adversarial) for adversarial in pair[1:])
    only_ours, only_theirs = int((a & ~b).sum()), int((b & ~a).sum())
    difference = only_ours - only_theirs
    error = math.sqrt(only_ours + only_theirs - difference**2 / N)  # of a paired difference of counts
    assert 0.1 < a.float().mean() < 0.9
    assert abs(difference) <= max(2 * error, 1.0), (only_ours, only_theirs)


def test_our_margins_are_no_worse_than_theirs(network, images, pair):
    objective = BOTH.on(detector(network), images)
    mine, other = (objective.margin(images.pixels) - objective.margin(adversarial) for adversarial in pair[1:])
    assert mine.mean() >= 0.99 * other.mean()


def test_both_keep_the_same_budget(images, pair):
    for adversarial in pair[1:]:
        assert within(adversarial, images.pixels, pair[0]).all()


def test_a_one_logit_detector_looks_robust_to_torchattacks_and_falls_to_ours(network, images):
    """A cross-entropy over one class is constant: its PGD hands real images back unchanged, and cannot be asked about fakes at all."""
    budget = Budget("linf", 4 / 255)
    reals = images.subset(images.labels == 0)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        unchanged = torchattacks.PGD(network, eps=budget.eps, alpha=budget.eps / 4, steps=STEPS, random_start=False)(reals.pixels.clone(), reals.labels)
    assert torch.equal(round_nearest(unchanged), reals.pixels)
    assert not fell(network, reals, round_nearest(unchanged)).any()
    assert fell(network, reals, ours(network, reals, budget)).float().mean() > 0.5
    fakes = images.subset(images.labels == 1)
    with pytest.raises((IndexError, RuntimeError), match="Target 1 is out of bounds"):
        torchattacks.PGD(network, eps=budget.eps, steps=1)(fakes.pixels.clone(), fakes.labels)
    assert fell(network, fakes, ours(network, fakes, budget)).float().mean() > 0.5
