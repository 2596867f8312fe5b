"""Every accepted attack of torchattacks on small detectors with one logit: what it promises, what it finds, and what it leaves untouched."""

from __future__ import annotations

import gc
import math
import random
import re
import weakref
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from redteam.attack import Tier
from redteam.attacks.noise import Noise
from redteam.attacks.pgd import PGD
from redteam.attacks.torchattacks_adapter import TorchAttacks
from redteam.attacks.torchattacks_methods import METHODS, library
from redteam.files import Budget, to_grid, within
from redteam.images import Images
from redteam.imaging.filters import gaussian_blur
from redteam.imaging.grid import from_levels, round_nearest, to_levels
from redteam.objective import BOTH
from redteam.seeding import SampleRNG
from redteam.target import Access, AccessError, Detector
from redteam.targets.fakes import Linear

CPU = torch.device("cpu")
SIZE = 10  # one that Square of the library can tile in L2
FEW = {  # arguments that keep a method short
    **dict.fromkeys(["BIM", "RFGSM", "PGD", "TPGD", "MIFGSM", "NIFGSM", "DIFGSM", "TIFGSM", "EOTPGD", "UPGD", "PGDL2", "APGD"], {"steps": 4}),
    **dict.fromkeys(["SINIFGSM", "VMIFGSM", "VNIFGSM"], {"steps": 3}),
    **dict.fromkeys(["PIFGSM", "PIFGSMPP"], {"num_iter_set": 4}),
    **dict.fromkeys(["PGDRS", "PGDRSL2"], {"steps": 3, "noise_batch_size": 2, "noise_sd": 0.1}),
    "FAB": {"steps": 5},
    "CW": {"steps": 10, "lr": 0.05},
    **dict.fromkeys(["EADL1", "EADEN"], {"binary_search_steps": 2, "max_iterations": 10, "initial_const": 10.0}),
    "DeepFool": {"steps": 8},
    "SparseFool": {"steps": 4},
    "Square": {"n_queries": 40},
    "SPSA": {"nb_iter": 4, "nb_sample": 8},
    "OnePixel": {"steps": 3},
    "Pixle": {"restarts": 2, "max_iterations": 5, "x_dimensions": [1, 3], "y_dimensions": [1, 3]},
    "GN": {"std": 0.05},
}
ALSO = [("APGD", {"norm": "L2", "steps": 4}), ("FAB", {"norm": "L2", "steps": 4}), ("FAB", {"multi_targeted": True, "steps": 3}), ("Square", {"norm": "L2", "n_queries": 40}), ("APGD", {"n_restarts": 2, "steps": 3})]
CASES = [(method, FEW.get(method, {})) for method in METHODS] + ALSO
every_method = pytest.mark.parametrize(("method", "args"), CASES, ids=[f"{m}-{'-'.join(map(str, a.values()))}" if (m, a) in ALSO else m for m, a in CASES])
SIGNED = ["FGSM", "BIM", "RFGSM", "PGD", "MIFGSM", "NIFGSM", "EOTPGD", "UPGD", "SINIFGSM", "VMIFGSM", "VNIFGSM", "PIFGSM", "APGD"]
CLEVER = [method for method, how in METHODS.items() if how.needs is Access.GRADIENTS and method not in ("TPGD", "TIFGSM")]  # see the tests of these two


def radius(method, args):
    norm = METHODS[method].norm
    return None if norm is None else 0.3 if "l2" in (norm, args.get("norm", "").lower()) else 6 / 255


def make(method, args=None, **fields):
    args = FEW.get(method, {}) if args is None else args
    return TorchAttacks(method=method, args=args, **{"eps": radius(method, args)} | fields)


def run(attack, target, images, seed=1):
    objective = BOTH.on(target, images, budget=attack.budget())
    return attack.perturb(objective, SampleRNG.of(seed, "torchattacks", attack.params(), images.ids))


def fell(target, images, pixels):
    return BOTH.on(target, images).succeeded(pixels)


def smooth_pixels(n):
    noise = gaussian_blur(torch.rand(n, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(6)), 1.0)
    return round_nearest((noise - noise.amin()) / (noise.amax() - noise.amin()))


@pytest.fixture(scope="module")
def network():
    """A small convolutional network with one logit, fixed random weights, median 0 and spread 2 on the images."""
    with torch.random.fork_rng():
        torch.manual_seed(5)
        model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ELU(), nn.Flatten(), nn.Linear(8 * SIZE * SIZE, 1)).eval().requires_grad_(False)
    with torch.no_grad():
        z = model(smooth_pixels(50))
        model[-1].weight.mul_(2 / z.std())
        model[-1].bias.copy_((model[-1].bias - z.median()) * 2 / z.std())
    return model


def detector(network):
    return Detector("cnn", lambda pixels: network(pixels)[:, 0], Access.GRADIENTS)


@pytest.fixture(scope="module")
def images(network):
    """Images labelled as the network calls them, so that every one is attackable; the closest to the threshold first."""
    pixels = smooth_pixels(50)
    z = network(pixels)[:, 0]
    order = z.abs().argsort()[2:]  # not those that float32 cannot tell from the threshold
    names = tuple(f"i{i}" for i in range(48))
    return Images(pixels[order], names, (z[order] > 0).long(), names)


@every_method
@pytest.mark.parametrize("kind", ["linear", "cnn"])
def test_an_attack_keeps_its_promises(method, args, kind, network, images, capsys):
    target = Linear(scale=20.0).load("t", CPU) if kind == "linear" else detector(network)
    some = replace(images.subset(range(3)), masks=torch.ones(3, 1, SIZE, SIZE))
    attack, before = make(method, args), some.pixels.clone()
    result = run(attack, target, some)
    assert (result.ids, result.groups) == (some.ids, some.groups)
    assert torch.equal(result.labels, some.labels) and torch.equal(result.masks, some.masks)
    assert torch.equal(some.pixels, before)
    assert result.pixels.shape == before.shape and result.pixels.dtype == torch.float32
    assert 0 <= result.pixels.min() and result.pixels.max() <= 1
    assert within(to_grid(result.pixels, before, attack.budget()), before, attack.budget()).all()
    if attack.budget() or METHODS[method].minimal:
        assert torch.equal(round_nearest(result.pixels), result.pixels)  # what is handed on is what a file holds
    assert capsys.readouterr() == ("", "")


@every_method
def test_the_ledger_holds_every_question_on_its_images_account(method, args, network, images):
    asked = torch.zeros(3, dtype=torch.int64)
    some = images.subset(range(3))

    def score(pixels):
        nonlocal asked
        asked[[0] if len(pixels) == 1 else slice(None)] += 1
        return network(pixels)[:, 0]

    attack, target = make(method, args), Detector("t", score, Access.GRADIENTS)
    run(attack, target, some)
    costs = target.ledger.take(some.ids)
    assert sum(cost.forwards for cost in costs) == asked.sum()
    for cost in costs:
        assert cost.queries == cost.forwards
        assert cost.backwards <= attack.steps
        assert (cost.backwards > 0) == (attack.needs is Access.GRADIENTS)
        assert (cost.queries > 0) == (attack.needs is not Access.NONE)


@every_method
def test_the_seed_alone_decides_and_no_global_generator_moves(method, args, network, images):
    attack, some = make(method, args), images.subset([0, 20])
    with torch.random.fork_rng():
        torch.manual_seed(0)
        first = run(attack, detector(network), some).pixels
        torch.manual_seed(1)
        np.random.seed(1)
        random.seed(1)
        before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
        assert torch.equal(run(attack, detector(network), some).pixels, first)
        assert torch.equal(torch.get_rng_state(), before[0])
        assert (np.random.get_state()[1] == before[1]).all()
        assert random.getstate() == before[2]


RANDOM = ["RFGSM", "PGD", "EOTPGD", "FFGSM", "PGDL2", "PGDRS", "DIFGSM", "Square", "SPSA", "OnePixel", "Pixle", "GN"]


@pytest.mark.parametrize("method", RANDOM)
def test_another_seed_draws_something_else(method, network, images):
    attack = make(method, FEW.get(method, {}) | ({"steps": 1} if method in ("PGD", "PGDL2", "RFGSM", "EOTPGD") else {}))
    some = images.subset(range(40, 44))  # far from the threshold: nobody stops at once
    assert not torch.equal(run(attack, detector(network), some, seed=1).pixels, run(attack, detector(network), some, seed=2).pixels)


@pytest.mark.parametrize("method", [method for method, how in METHODS.items() if how.alone])
def test_an_image_that_runs_alone_owes_nothing_to_its_batch(method, network, images):
    attack, some = make(method), images.subset([0, 30])
    assert attack.tier is Tier.SAMPLE
    whole = run(attack, detector(network), some).pixels
    assert torch.equal(run(attack, detector(network), some.subset([1])).pixels, whole[1:])


@every_method
def test_it_asks_for_no_more_access_than_it_declares(method, args, network, images):
    attack, some = make(method, args), images.subset([40])
    run(attack, detector(network).with_access(attack.needs), some)
    if attack.needs is not Access.NONE:
        with pytest.raises(AccessError):
            run(attack, detector(network).with_access(Access(attack.needs - 1)), some)


@pytest.mark.parametrize("method", SIGNED)
@pytest.mark.parametrize("scale", [20.0, 1e4])
def test_on_a_linear_score_every_pixel_goes_to_the_border_against_its_weight(method, scale, make_images):
    """Also where the detector is so sure that a cross-entropy of its answer is flat; both labels in one batch, so that rows cannot be mixed up."""
    images, spec = make_images(6, 9, 7, low=20, high=235), Linear(seed=3, scale=scale)
    args = {"steps": 8, "alpha": 6 / 255} if "alpha" in make(method).args and "steps" in make(method).args else {"steps": 10} if method == "APGD" else {}
    attack, target = make(method, args), spec.load("t", CPU)
    away = -spec.direction(9, 7) * (2 * images.labels - 1).view(-1, 1, 1, 1)
    moved = to_levels(run(attack, target, images).pixels) - to_levels(images.pixels)
    held = BOTH.on(target, images).margin(images.pixels) > 0  # APGD leaves alone what is misjudged already
    assert held.sum() >= 2
    expected = (6 * away).to(torch.int16)
    share = (moved == expected).flatten(1).float().mean(1)
    assert (share[held] > 0.95).all() if method in ("SINIFGSM", "PIFGSM", "APGD") else torch.equal(moved, expected), share


@pytest.mark.parametrize("method", CLEVER)
def test_a_breakable_detector_with_one_logit_falls(method, network, images):
    some, target = images.subset(range(10)), detector(network)
    if METHODS[method].most:
        some = images.subset(range(3))
    adversarial = run(make(method, FEW.get(method)), target, some)
    assert fell(target, some, to_grid(adversarial.pixels, some.pixels, make(method).budget())).float().mean() >= 0.9


RAW = {
    "FGSM": {}, "PGD": {"steps": 10, "random_start": False}, "MIFGSM": {"steps": 10}, "CW": {"steps": 10}, "APGD": {"steps": 10}, "FAB": {}, "Square": {"n_queries": 100},
}  # fmt: skip


@pytest.mark.parametrize("method", RAW)
def test_the_library_alone_reports_the_same_detector_as_robust(method, network, images):
    """Asked about its one logit, with the dummy labels that a single class leaves, it changes no decision; through the adapter it does."""
    reals = images.subset(images.labels == 0).subset(range(8))
    size = {"eps": 12 / 255} if METHODS[method].norm else {}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        raw = getattr(library(), method)(network, **RAW[method], **size)(reals.pixels.clone(), torch.zeros(8, dtype=torch.int64))
    assert not fell(detector(network), reals, round_nearest(raw)).any()
    ours = run(make(method, RAW[method], **size), detector(network), reals)
    assert fell(detector(network), reals, ours.pixels).float().mean() > 0.6


def test_tpgd_leaves_the_clean_answer_on_either_side():
    """It maximises the distance from the clean answer, whichever side that lies on, so with two classes about half of its moves help the target."""
    score = Linear(scale=20.0).load("t", CPU)
    pixels = from_levels(torch.randint(40, 215, (32, 3, 8, 8), generator=torch.Generator().manual_seed(0)))
    names = tuple(map(str, range(32)))
    some = Images(pixels, names, (score.respond(pixels) > 0).long(), names)
    moved = run(make("TPGD"), score, some).pixels
    gained = BOTH.on(score, some).margin(pixels) - BOTH.on(score, some).margin(moved)
    assert (gained.abs() > 0.3).all()
    assert 8 <= (gained > 0).sum() <= 24


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_pgd_of_the_library_and_ours_agree_within_two_standard_errors(norm, network, images):
    eps = {"linf": 2 / 255, "l2": 0.12}[norm]
    theirs = make({"linf": "PGD", "l2": "PGDL2"}[norm], {"steps": 10, "alpha": eps / 4}, eps=eps)
    ours = PGD(norm=norm, eps=eps, step=eps / 4, steps=10)
    a, b = (fell(detector(network), images, run(attack, detector(network), images).pixels) for attack in (ours, theirs))
    only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
    error = math.sqrt(only_a + only_b - (only_a - only_b) ** 2 / len(images))
    assert 0.1 < a.float().mean() < 0.9
    assert abs(only_a - only_b) <= max(2 * error, 1.0), (only_a, only_b)


@pytest.mark.parametrize("method", [method for method, how in METHODS.items() if how.minimal])
def test_the_smallest_change_survives_its_file(method, network, images):
    """Rounded to the nearest level, what the library finds is mostly undone; lengthened by as little as its file needs, it succeeds."""
    some, target = images.subset(range(8)), detector(network)
    attack = make(method)
    pixels = run(attack, target, some).pixels
    assert fell(target, some, pixels).all()
    if method in ("DeepFool", "FAB"):
        whole_ball = 6 / 255 * math.sqrt(3 * SIZE * SIZE)
        assert ((pixels - some.pixels).flatten(1).norm(dim=1) < whole_ball / 2).all()


def test_plain_rounding_would_undo_deepfool(network, images):
    some, target = images.subset(range(8)), detector(network)
    with torch.random.fork_rng():
        two = nn.Sequential(network, nn.Linear(1, 2, bias=False)).requires_grad_(False)
    two[1].weight.copy_(torch.tensor([[-0.5], [0.5]]))
    found = library().DeepFool(two, steps=8)(some.pixels.clone(), some.labels)
    assert (target.respond(found).gt(0).long() != some.labels).all()
    assert fell(target, some, round_nearest(found)).float().mean() < 0.8


@pytest.mark.parametrize(("method", "args"), [("APGD", {"steps": 5}), ("FAB", {"steps": 5})])
def test_a_failure_is_the_closest_attempt_and_not_the_image_itself(method, args, network, images):
    far, target = images.subset(range(40, 48)), detector(network)
    attack = make(method, args, eps=1 / 255)
    result = run(attack, target, far)
    assert not fell(target, far, result.pixels).any()
    before, after = (BOTH.on(target, far).margin(pixels) for pixels in (far.pixels, result.pixels))
    assert (after < before - 0.01).all()


@pytest.mark.parametrize(("method", "args"), [("PGD", {}), ("APGD", {}), ("Square", {"n_queries": 5}), ("PGDL2", {}), ("FAB", {})])
@pytest.mark.parametrize("eps", [0.0, 0.9 / 255])
def test_a_radius_below_a_level_changes_nothing_where_every_pixel_counts_by_itself(method, args, eps, network, images):
    some, attack = images.subset(range(2)), make(method, args, eps=eps)
    assert eps and attack.budget().norm == "l2" or torch.equal(run(attack, detector(network), some).pixels, some.pixels)


def test_it_says_what_it_is():
    attack = TorchAttacks(method="pgd", args={"alpha": "2/255"}, goal="evade")
    assert attack.params() == {"goal": "evade", "surrogates": [], "method": "PGD", "eps": 8 / 255, "args": {"alpha": 2 / 255, "steps": 10, "random_start": True}}
    assert (attack.budget(), attack.strengths(), attack.family, attack.tier) == (Budget("linf", 8 / 255), {"eps": 8 / 255}, "gradient", Tier.MICROBATCH)
    assert attack.control() == Noise(eps=8 / 255, goal="evade")
    pifgsm = TorchAttacks(method="PIFGSM")
    assert (pifgsm.eps, pifgsm.steps) == (16 / 255, 10)
    square = TorchAttacks(method="Square", eps=0.5, args={"norm": "L2"})
    assert (square.budget(), square.family, square.tier, square.steps) == (Budget("l2", 0.5), "score", Tier.SAMPLE, 0)
    deepfool = TorchAttacks(method="DeepFool")
    assert (deepfool.budget(), deepfool.control(), deepfool.strengths()) == (None, None, {})
    with pytest.raises(ValueError, match=f"^{re.escape('eps: DeepFool has no ball, got 0.01; delete it, or take a method that has one')}$"):
        TorchAttacks(method="DeepFool", eps=0.01)


def test_surrogates_are_asked_instead_of_the_target(network, images):
    some, target, other = images.subset(range(4)), detector(network), Linear().load("other", CPU)
    attack = make("PGD", surrogates=("other",))
    attack.run(BOTH.on(target, some, budget=attack.budget(), surrogates={"other": other}), SampleRNG.of(1, "t", {}, some.ids))
    assert [cost.queries for cost in target.ledger.take(some.ids)] == [0] * 4
    assert [cost.queries for cost in other.ledger.take(some.ids)] == [4] * 4
    with pytest.raises(ValueError, match="^surrogates: GN asks no target, got other; delete them$"):
        make("GN", surrogates=("other",))


@pytest.mark.parametrize("method", ["PGD", "Square"])
def test_nothing_holds_on_to_a_batch_afterwards(method, network, images):
    """The library's objects keep lists of what was assigned to them; a run of a million images must not be remembered there."""
    target = detector(network)
    objective = BOTH.on(target, images.subset([0]), budget=make(method).budget())
    gone = weakref.ref(objective)
    make(method).perturb(objective, SampleRNG.of(1, "t", {}, objective.images.ids))
    del objective
    gc.collect()
    assert gone() is None


SIZES = [
    ("JSMA", (64, 64), "JSMA compares all pairs of an image's 12288 numbers and can carry 6912; use smaller images, or SparseFool"),
    ("Pixle", (8, 12), "Pixle of torchattacks mistakes height for width; images must not be wider than high, got 8 x 12"),
]


@pytest.mark.parametrize(("method", "size", "message"), SIZES)
def test_a_size_that_a_method_cannot_carry_is_an_error_of_the_image(method, size, message, make_images):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        run(make(method), Linear().load("t", CPU), make_images(1, *size))


@pytest.mark.parametrize("method", ["FGSM", "PGD", "MIFGSM", "PGDL2", "APGD", "FAB", "CW", "Square"])
def test_an_image_without_a_score_stays_and_costs_the_others_nothing(method, network, images):
    """Its answers are NaN; it is handed on for the engine to call unscoreable."""
    some, attack = images.subset([5, 30]), make(method)
    dark = some.pixels[1].mean()

    def score(pixels):
        scores = network(pixels)[:, 0]
        return torch.where((pixels.flatten(1).mean(1) - dark).abs() < 1 / 255, torch.nan, scores)

    result = run(attack, Detector("t", score, Access.GRADIENTS), some).pixels
    assert result.isfinite().all()
    assert fell(detector(network), some.subset([0]), result[:1]).all() or method == "Square"


def test_a_result_that_is_nan_is_an_error_of_its_image(make_images):
    flat = Detector("t", lambda pixels: pixels.flatten(1).sum(1) * 0 + 1, Access.GRADIENTS)
    message = "torchattacks DeepFool gave NaN for image0; it divides by its gradient, which is zero or not finite there"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        run(make("DeepFool"), flat, make_images(2, labels=[1, 0]))


def test_images_wider_than_high_are_attacked_too(make_images):
    images, target = make_images(3, 8, 13), Linear(scale=20.0).load("t", CPU)
    for method in METHODS:
        if method not in ("Pixle", "JSMA"):
            assert run(make(method), target, images).pixels.shape == (3, 3, 8, 13), method
