"""Transfer attacks: known optima, gradients through transforms, what is asked, and what carries over to a target that was never asked."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import nn

from redteam import registry
from redteam.attacks.bsr import BSR
from redteam.attacks.chain import Chain
from redteam.attacks.di import DI
from redteam.attacks.jpeg import JPEG
from redteam.attacks.mi import MI
from redteam.attacks.noise import Noise
from redteam.attacks.pgn import PGN
from redteam.attacks.si import SI
from redteam.attacks.ssm import SSM
from redteam.attacks.transfer import TransferAttack, scaled, smooth, through
from redteam.attacks.vmi import VMI
from redteam.imaging.filters import gaussian_blur
from redteam.imaging.grid import to_levels
from redteam.objective import BOTH
from redteam.seeding import SampleRNG
from redteam.target import Access, Detector
from redteam.targets.fakes import Brightness, Linear

CPU = torch.device("cpu")
ATTACKS = [MI(), MI(look_ahead=True), MI(momentum=0.0), DI(), SI(copies=3), VMI(neighbours=2), SSM(copies=2), PGN(neighbours=2), BSR(copies=3), BSR(copies=2, angle=0.0)]
every_attack = pytest.mark.parametrize("attack", ATTACKS, ids=repr)


def run(attack, target, images, seed=1):
    objective = BOTH.on(target, images, budget=attack.budget())
    return attack.perturb(objective, SampleRNG.of(seed, "transfer", attack.params(), images.ids)).pixels


def weighted(seed=0, size=16):
    """A detector that looks at every pixel with its own weight, and not linearly."""
    weights = torch.randn(3, size, size, generator=torch.Generator().manual_seed(seed))
    return Detector("t", lambda x: (x.square() * weights.to(x)).flatten(1).sum(1), Access.GRADIENTS)


def test_every_transfer_attack_is_in_this_table():
    found = {name for name in registry.names("attacks") if issubclass(registry.get("attacks", name), TransferAttack)}
    assert found == {type(attack).__name__.lower() for attack in ATTACKS}


@every_attack
def test_brightness_falls_to_a_constant_shift(attack, make_images):
    """Whatever the transform, every pixel of a brighter image makes it brighter."""
    images = make_images(4, 16, 16, low=40, high=215)
    shift = to_levels(run(attack, Brightness().load("t", CPU), images)) - to_levels(images.pixels)
    assert [row.unique().tolist() for row in shift] == [[-16], [16], [-16], [16]]


@pytest.mark.parametrize("attack", [MI(), MI(look_ahead=True), SI(copies=2), VMI(neighbours=2), PGN(neighbours=2)], ids=repr)
def test_on_a_linear_score_every_pixel_goes_to_the_border_against_its_weight(attack, make_images):
    images, spec = make_images(4, 9, 7), Linear(seed=3)
    best = (to_levels(images.pixels) - 16 * spec.direction(9, 7) * (2 * images.labels - 1).view(-1, 1, 1, 1)).clamp(0, 255)
    assert torch.equal(to_levels(run(attack, spec.load("t", CPU), images)), best.to(torch.int16))


@every_attack
def test_what_it_says_that_it_asks_is_what_is_booked(attack, make_images):
    images, target = make_images(2, 16, 16), weighted()
    run(attack, target, images)
    assert {cost.backwards for cost in target.ledger.take(images.ids)} == {attack.gradients()}
    assert attack.gradients() == attack.steps * attack.questions()


@pytest.mark.parametrize("sigma", [0.0, 1.2])
def test_the_gradient_through_a_transform_is_that_of_both_together(sigma, make_images):
    images, target = make_images(3, 16, 16, low=60, high=200), weighted()
    objective = BOTH.on(target, images)
    x = images.pixels.clone().requires_grad_(True)
    together = torch.autograd.grad((target.respond(gaussian_blur(x, sigma)) * (2 * images.labels - 1)).sum(), x)[0]
    assert torch.allclose(through(lambda y: gaussian_blur(y, sigma), objective, images.pixels), together, atol=1e-5)


def test_what_a_transform_puts_outside_is_clipped_and_still_has_a_gradient(make_images):
    images = make_images(2)
    seen = []
    target = Detector("t", lambda x: seen.append(x.detach()) or x.flatten(1).sum(1), Access.GRADIENTS)
    gradient = through(lambda x: x * 3 - 1, BOTH.on(target, images), images.pixels)
    assert 0 <= seen[0].min() and seen[0].max() <= 1
    assert torch.equal(gradient.abs(), torch.full_like(gradient, 3.0))


def test_smoothing_spreads_a_gradient_and_scaling_gives_it_mean_one():
    impulse = torch.zeros(1, 3, 9, 9)
    impulse[..., 4, 4] = 5e-30
    assert torch.allclose(scaled(impulse).abs().mean(), torch.tensor(1.0))
    spread = smooth(scaled(impulse), 1.0)
    assert (spread[0, 0, 4, 3:6] > 0).all() and spread[0, 0, 4, 4] < scaled(impulse)[0, 0, 4, 4]
    assert torch.equal(scaled(torch.zeros(2, 3, 4, 4)), torch.zeros(2, 3, 4, 4))


def test_momentum_goes_on_where_the_gradient_turns(make_images):
    """A valley in every pixel: momentum runs through its floor, without it the steps stay there."""
    images = make_images(2, low=100, high=100)
    floor = images.pixels[0] + 6.2 / 255
    target = Detector("valley", lambda x: (x - floor.to(x)).abs().flatten(1).sum(1), Access.GRADIENTS)
    fakes = images.subset(images.labels == 1)
    far, near = (to_levels(run(MI(eps=16 / 255, step=1.6 / 255, steps=8, momentum=m), target, fakes)) - 100 for m in (1.0, 0.0))
    assert far.unique().tolist() == [11]  # four steps there, and three more before the sum of the signs is back at 0
    assert (near - 6).abs().max() <= 2


def test_mi_takes_the_same_steps_as_torchattacks(make_images):
    """Dividing by the mean size takes the probability out of a cross-entropy's gradient: what is left is that of the margin."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torchattacks = pytest.importorskip("torchattacks")
    images, target = make_images(8, 16, 16), weighted()

    class TwoLogits(nn.Module):
        def __init__(self):
            super().__init__()
            self.nothing = nn.Parameter(torch.zeros(1))

        def forward(self, x):
            z = target.respond(x) / 100  # else the probability is 1 to the last bit
            return torch.stack([-z / 2, z / 2], 1)

    model = TwoLogits().eval()
    theirs = torchattacks.MIFGSM(model, eps=8 / 255, alpha=2 / 255, steps=6, decay=1.0)(images.pixels.clone(), images.labels)
    ours = run(MI(eps=8 / 255, step=2 / 255, steps=6), target, images)
    assert (to_levels(ours) == to_levels(theirs)).double().mean() > 0.995


def test_only_methods_that_interpolate_say_that_they_resample():
    says = {name: registry.get("attacks", name)().resamples for name in ("mi", "di", "si", "vmi", "ssm", "pgn", "bsr")}
    assert says == {"mi": False, "di": True, "si": False, "vmi": False, "ssm": False, "pgn": False, "bsr": True}
    assert not BSR(angle=0.0).resamples
    assert Chain(stages=(JPEG(), DI()), names=("a", "b")).resamples and not Chain(stages=(JPEG(), MI()), names=("a", "b")).resamples


def test_an_average_over_neighbours_carries_over_where_a_single_gradient_does_not(make_images):
    """Surrogate and target share a slope; the surrogate's own is buried under ripples finer than a level."""
    images = make_images(12, 16, 16, low=80, high=170)
    slope = Linear(seed=4).direction(16, 16)
    phase = torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(9)) * 6.3
    target = Detector("target", lambda x: (x * slope.to(x)).flatten(1).sum(1), Access.GRADIENTS)
    rippled = Detector("surrogate", lambda x: (x * slope.to(x) + 0.01 * torch.sin(x * 400 + phase.to(x))).flatten(1).sum(1), Access.GRADIENTS)
    judged = BOTH.on(target, images)
    gained = {}
    for name, attack in {"mi": MI(eps=8 / 255), "pgn": PGN(eps=8 / 255, neighbours=10), "vmi": VMI(eps=8 / 255, neighbours=10), "noise": Noise(eps=8 / 255)}.items():
        gained[name] = (judged.margin(images.pixels) - judged.margin(run(attack, rippled, images))).mean().item()
    assert gained["pgn"] > 1.5 * gained["mi"] > 0
    assert gained["vmi"] > gained["mi"]
    assert abs(gained["noise"]) < gained["mi"]
