"""One table over every registered attack: what each must do whatever it does."""

from __future__ import annotations

import json
import random
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter

from redteam import registry
from redteam.attack import Attack, Tier
from redteam.component import field_docs
from redteam.files import to_grid, within
from redteam.objective import BOTH
from redteam.seeding import SampleRNG
from redteam.target import Access, AccessError
from redteam.targets.fakes import Brightness, Linear

CPU = torch.device("cpu")
NAMES = registry.names("attacks")
VARIANTS = {  # settings beside the defaults that take another way through the code
    "pgd": [{"norm": "l2", "eps": 0.3, "steps": 5}, {"random_start": False, "steps": 3}, {"eps": 2.7 / 255, "step": 1 / 255}],
    "noise": [{"norm": "l2", "eps": 0.3}, {"eps": 2.7 / 255}],
    "resize": [{"restore": False}, {"scale": 0.7, "kernel": "nearest"}],
    "torchattacks": [{"method": "PGDRS", "eps": 2.7 / 255, "args": {"steps": 2, "noise_batch_size": 2}}],
}


def make(name: str, **params: object) -> Attack:
    cls = registry.get("attacks", name)
    if name == "chain":
        stages = tuple(registry.get("attacks", stage)(**given) for stage, given in (("blur", {}), ("pgd", {"norm": "l2", "eps": 0.3, "steps": 3}), ("pgd", {"steps": 2}), ("jpeg", {})))
        return cls(stages=stages, names=("blur", "l2", "pgd", "jpeg"), **params)
    return cls(**{"method": "FGSM"} | params) if name == "torchattacks" else cls(**params)


ATTACKS = [pytest.param(make(name, **params), id=f"{name}{i or ''}") for name in NAMES for i, params in enumerate([{}, *VARIANTS.get(name, [])])]
every_attack = pytest.mark.parametrize("attack", ATTACKS)
TARGETS = {"linear": Linear(), "brightness": Brightness()}


def run(attack, images, target=None, seed=1):
    target = target or Linear().load("t", CPU)
    objective = BOTH.on(target, images, budget=attack.budget())
    return attack.perturb(objective, SampleRNG.of(seed, "contract", attack.params(), images.ids))


def stages(attack):
    return getattr(attack, "stages", (attack,))


@every_attack
def test_the_result_is_the_same_images_in_range_and_inside_the_budget(attack, make_images):
    images = make_images(5, 16, 12)
    result = run(attack, images)
    assert (result.ids, result.groups) == (images.ids, images.groups)
    assert torch.equal(result.labels, images.labels)
    assert result.pixels.dtype == torch.float32
    assert 0 <= result.pixels.min() and result.pixels.max() <= 1
    assert attack.geometric or result.pixels.shape == images.pixels.shape
    budget = attack.budget()
    saved = to_grid(result.pixels, images.pixels, budget)
    assert within(saved, images.pixels, budget).all()
    if budget and budget.norm == "linf":
        assert ((saved - images.pixels).abs() * 255).max().round() == int(budget.eps * 255 + 1e-3)


@every_attack
def test_the_input_is_left_as_it_is(attack, make_images):
    images = make_images(3, 16, 12)
    before = images.pixels.clone()
    result = run(attack, images)
    assert torch.equal(images.pixels, before)
    assert type(attack).__name__ == "Identity" or not torch.equal(result.pixels, before)


@every_attack
@pytest.mark.parametrize("target", TARGETS)
def test_batch_size_and_order_change_no_bit(attack, target, make_images):
    if attack.tier is not Tier.SAMPLE:
        pytest.skip("exact for a frozen micro-batch only")
    images, loaded = make_images(32), TARGETS[target].load("t", CPU)
    whole = run(attack, images, loaded).pixels
    for size in (1, 7):
        parts = [run(attack, images.subset(range(at, min(at + size, 32))), loaded).pixels for at in range(0, 32, size)]
        assert torch.equal(torch.cat(parts), whole), size
    assert torch.equal(run(attack, images.subset(range(31, -1, -1)), loaded).pixels, whole.flip(0))


@every_attack
def test_the_same_seed_gives_the_same_bits_whatever_the_global_generators_hold(attack, make_images):
    images = make_images(3)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        first = run(attack, images).pixels
        torch.manual_seed(1)
        before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
        assert torch.equal(run(attack, images).pixels, first)
        assert torch.equal(torch.get_rng_state(), before[0])
        assert (np.random.get_state()[1] == before[1]).all()
        assert random.getstate() == before[2]


@pytest.mark.parametrize("attack", [p for p in ATTACKS if p.values[0].budget() is not None])
def test_a_zero_budget_changes_nothing(attack, make_images):
    images = make_images(4)
    nothing = replace(attack, eps=0.0)
    assert torch.equal(run(nothing, images).pixels, images.pixels)


@every_attack
def test_the_ledger_holds_what_the_attack_asked(attack, make_images):
    images, target = make_images(3, 16, 12), Linear().load("t", CPU)
    run(attack, images, target)
    gradients = sum(getattr(stage, "steps", 1) for stage in stages(attack) if stage.needs is Access.GRADIENTS)
    for cost in target.ledger.take(images.ids):
        assert (cost.queries, cost.forwards, cost.backwards) == (gradients,) * 3
        assert (cost.zero_gradients, cost.broken_gradients) == (0, 0)


@every_attack
@pytest.mark.parametrize("gives", [Access.NONE, Access.DECISIONS, Access.SCORES])
def test_it_needs_no_more_access_than_it_declares(attack, gives, make_images):
    images, target = make_images(2), Linear().load("t", CPU).with_access(gives)
    if attack.needs <= gives:
        run(attack, images, target)
        return
    assert attack.needs is Access.GRADIENTS
    with pytest.raises(AccessError, match=f"^{re.escape(f't gives {gives.word}; a gradient needs gradients')}$"):
        run(attack, images, target)


@every_attack
@pytest.mark.parametrize("size", [(1, 1), (3, 5), (17, 2)])
def test_small_and_odd_sizes_are_no_trouble(attack, size, make_images):
    images = make_images(2, *size)
    result = run(attack, images)
    assert len(result) == 2
    assert within(to_grid(result.pixels, images.pixels, attack.budget()), images.pixels, attack.budget()).all()


@every_attack
def test_masks_keep_to_the_pixels(attack, make_images):
    images = make_images(2, 16, 12)
    masked = replace(images, masks=torch.zeros(2, 1, 16, 12))
    result = run(attack, masked)
    assert result.masks.shape == (2, 1, *result.pixels.shape[2:])
    assert torch.equal(result.pixels, run(attack, images).pixels)


@every_attack
def test_a_subset_gives_its_part_of_the_whole_and_books_nobody_else(attack, make_images):
    images, target = make_images(4), Linear().load("t", CPU)
    objective = BOTH.on(target, images, budget=attack.budget())
    rng = SampleRNG.of(1, "contract", attack.params(), images.ids)
    part = attack.perturb(objective.subset([3, 1]), rng.subset([3, 1]))
    costs = target.ledger.take(images.ids)
    assert torch.equal(part.pixels, run(attack, images).pixels[[3, 1]])
    assert costs[0].queries == costs[2].queries == 0
    assert (costs[1].queries > 0) == (attack.needs > Access.NONE)


@every_attack
def test_the_control_is_the_same_budget_without_the_target(attack, make_images):
    control = attack.control()
    if all(stage.needs is Access.NONE for stage in stages(attack)):
        assert control is None
        return
    assert control.needs is Access.NONE
    assert control.budget() == attack.budget()
    assert control.goal == attack.goal
    assert control.strengths() == attack.strengths()
    images, target = make_images(2), Linear().load("t", CPU)
    run(control, images, target)
    assert target.ledger.take(images.ids)[0].queries == 0


@every_attack
def test_it_says_what_it_is_and_where_it_comes_from(attack):
    assert attack.source
    assert attack.family != "gradient" or "arXiv" in attack.source
    assert type(attack).summary().endswith(".")
    assert attack.needs in Access and attack.tier in Tier
    assert {"goal"} <= set(field_docs(type(attack)))
    assert all(isinstance(number, (int, float)) for number in attack.strengths().values())
    assert type(attack).strength is None or type(attack).strength in attack.params()


@every_attack
def test_its_parameters_are_json_and_make_it_again(attack):
    params = json.loads(json.dumps(attack.params()))
    if hasattr(attack, "stages"):
        assert [stage["name"] for stage in params["stages"]] == list(attack.names)
        return
    assert TypeAdapter(type(attack)).validate_python(params) == attack


@pytest.mark.parametrize(("name", "params"), [("noise", {}), ("noise", {"norm": "l2", "eps": 0.3}), ("pgd", {"steps": 1, "step": 1 / 255})])
def test_random_attacks_depend_on_the_seed(name, params, make_images):
    images = make_images(2)
    assert not torch.equal(run(make(name, **params), images, seed=1).pixels, run(make(name, **params), images, seed=2).pixels)
