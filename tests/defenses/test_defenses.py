"""Each defense is one thing, does what its library does, and stands between the attacker and the target."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image

from redteam import registry
from redteam.attacks.pgd import PGD
from redteam.defense import Defense
from redteam.defenses.blur import BlurDefense
from redteam.defenses.jpeg import JPEGDefense
from redteam.imaging.filters import gaussian_blur
from redteam.objective import BOTH
from redteam.seeding import SampleRNG
from redteam.target import Access, Detector

DEFENSES = [pytest.param(registry.get("defenses", name)(), id=name) for name in registry.names("defenses")]
every_defense = pytest.mark.parametrize("defense", DEFENSES)


def weighted(seed=0):
    """A detector that looks at every pixel with its own weight, and not linearly."""
    weights = torch.randn(3, 16, 16, generator=torch.Generator().manual_seed(seed))
    return Detector("t", lambda pixels: (pixels.square() * weights.to(pixels)).flatten(1).sum(1), Access.GRADIENTS)


@every_defense
def test_exactly_one_of_wrap_retrain_and_protect_is_overridden(defense):
    overridden = [name for name in ("wrap", "retrain", "protect") if getattr(type(defense), name) is not getattr(Defense, name)]
    assert len(overridden) == 1


@every_defense
def test_it_says_what_it_is_and_how_its_gradient_passes(defense):
    assert defense.backward in ("exact", "straight_through")
    assert type(defense).summary().endswith(".")
    assert all(p.doc for p in type(defense).parameters())


@every_defense
def test_the_defended_target_is_another_with_the_same_ledger_threshold_and_access(defense, make_images):
    images = make_images(4, 16, 16)
    target = weighted().with_threshold(1.5).with_access(Access.SCORES)
    before = target.respond(images.pixels)
    defended = defense.wrap(target)
    assert (defended.ledger, defended.threshold, defended.access) == (target.ledger, 1.5, Access.SCORES)
    defended.respond(images.pixels)
    assert torch.equal(target.respond(images.pixels), before)


@every_defense
def test_a_batch_is_defended_image_by_image(defense, make_images):
    pixels = make_images(5, 16, 16).pixels
    defended = defense.wrap(weighted())
    assert torch.equal(defended.respond(pixels), torch.cat([defended.respond(image[None]) for image in pixels]))


@pytest.mark.parametrize("quality", [10, 50, 95])
def test_jpeg_shows_the_target_what_pillow_writes(quality, make_images):
    images = make_images(3, 16, 16)
    seen = []
    target = Detector("t", lambda pixels: seen.append(pixels.detach()) or pixels.flatten(1).sum(1), Access.GRADIENTS)
    JPEGDefense(quality=quality).wrap(target).respond(images.pixels)
    for pixels, got in zip(images.pixels, seen[0], strict=True):
        buffer = io.BytesIO()
        Image.fromarray((pixels * 255).round().byte().permute(1, 2, 0).numpy()).save(buffer, "JPEG", quality=quality, subsampling="4:2:0")
        assert (got * 255).round().byte().permute(1, 2, 0).numpy().tolist() == np.asarray(Image.open(buffer)).tolist()


def test_the_gradient_of_jpeg_is_the_target_s_at_the_compressed_image(make_images):
    images = make_images(2, 16, 16)
    defense, target = JPEGDefense(quality=30), weighted()
    pixels = images.pixels.clone().requires_grad_(True)
    gradient = torch.autograd.grad(defense.wrap(target).respond(pixels).sum(), pixels)[0]
    compressed = defense._compress(images.pixels).requires_grad_(True)
    assert torch.equal(gradient, torch.autograd.grad(target.respond(compressed).sum(), compressed)[0])


@pytest.mark.parametrize("sigma", [0.5, 1.0, 3.0])
def test_the_gradient_of_blur_is_exact(sigma, make_images):
    pixels = make_images(2, 16, 16, low=60, high=200).pixels.double().requires_grad_(True)
    defended = BlurDefense(sigma=sigma).wrap(weighted())
    gradient = torch.autograd.grad(defended.respond(pixels).sum(), pixels)[0]
    with torch.no_grad():
        for seed in range(3):
            direction = 1e-5 * torch.randn(pixels.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
            numeric = (defended.respond(pixels + direction) - defended.respond(pixels - direction)).sum() / 2
            assert (gradient * direction).sum().item() == pytest.approx(numeric.item(), rel=1e-5)


def test_blur_shows_the_target_the_blurred_image(make_images):
    images, target = make_images(2, 16, 16), weighted()
    defended = BlurDefense(sigma=1.3).wrap(target)
    assert torch.equal(defended.respond(images.pixels), target.respond(gaussian_blur(images.pixels, 1.3)))
    assert defended.notes == ("input blurred with sigma 1.3; its gradient is exact",)


def test_no_defense_is_the_target_itself():
    target = weighted()
    assert registry.get("defenses", "none")().wrap(target) is target


@every_defense
def test_the_attacker_sees_the_defended_target(defense, make_images):
    """Its gradient, its loss and its verdict are those of the defended detector, and its questions are booked."""
    images = make_images(4, 16, 16)
    defended = defense.wrap(weighted())
    objective = BOTH.on(defended, images)
    assert torch.equal(objective.loss(images.pixels), defended.respond(images.pixels) * (2 * images.labels - 1))
    PGD(steps=3).perturb(objective, SampleRNG.of(1, "x", {}, images.ids))
    assert [cost.backwards for cost in defended.ledger.take(images.ids)] == [3] * 4


def test_an_attack_that_knows_the_blur_gains_more_than_one_that_does_not(make_images):
    """Weights of single pixels make fine patterns, which the blur takes away again; an attacker who sees it makes coarse ones."""
    images = make_images(6, 16, 16, low=60, high=195)
    target = weighted()
    defended = BlurDefense(sigma=1.5).wrap(target)
    judged = BOTH.on(defended, images)
    rng = SampleRNG.of(1, "x", {}, images.ids)
    unaware, aware = (PGD(eps=8 / 255).perturb(BOTH.on(seen, images), rng.fork("run")).pixels for seen in (target, defended))
    clean = judged.margin(images.pixels)
    assert (clean - judged.margin(aware) > 1.5 * (clean - judged.margin(unaware))).all()
