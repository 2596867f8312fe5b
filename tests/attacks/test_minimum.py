"""The smallest budget that succeeds: known on analytic targets, kept by the file, and cheaper than trying every budget."""

from __future__ import annotations

import math

import pytest
import torch

from redteam.attacks.apgd import APGD
from redteam.attacks.jpeg import JPEG
from redteam.attacks.minimum import Minimum
from redteam.attacks.noise import Noise
from redteam.attacks.pgd import PGD
from redteam.images import Images
from redteam.imaging.grid import from_levels, to_levels
from redteam.objective import BOTH
from redteam.seeding import SampleRNG
from redteam.target import Access
from redteam.targets.fakes import Brightness, Linear

CPU = torch.device("cpu")


def run(attack, target, images, seed=1):
    """Files, and the distance that each record notes."""
    objective = BOTH.on(target, images, budget=attack.budget())
    made = attack.run(objective, SampleRNG.of(seed, "minimum", attack.params(), images.ids)).pixels
    return made, [objective.notes.get(name, {}).get("distance") for name in images.ids]


def away(levels):
    """Grey images so many levels on the right side of even odds, fakes and real ones in turn."""
    greys = torch.tensor([128 + n if i % 2 == 0 else 127 - n for i, n in enumerate(levels)]).view(-1, 1, 1, 1).expand(-1, 3, 8, 8)
    names = tuple(f"i{i}" for i in range(len(levels)))
    return Images(from_levels(greys), names, torch.tensor([1 - i % 2 for i in range(len(levels))]), names)


@pytest.mark.parametrize("attack", [PGD(steps=3), PGD(steps=3, stop=False), APGD(steps=5)], ids=repr)
def test_brightness_needs_as_many_levels_as_it_is_away(attack, make_images):
    levels = [0, 1, 2, 3, 5, 8, 13, 15, 16, 40]
    _, found = run(Minimum(attack=attack, eps=16 / 255), Brightness(at=127.5 / 255).load("t", CPU), away(levels))
    expected = [(n + 1) / 255 if n < 16 else None for n in levels]
    assert found == pytest.approx(expected)


def test_a_linear_score_needs_its_known_distance_to_a_level(make_images):
    """Of n entries that all move by k levels the score changes by scale * k / 255, but where [0, 1] ends."""
    images, spec = make_images(12, 16, 16, low=60, high=195), Linear(scale=400, seed=2)
    target = spec.load("t", CPU)
    images = images.with_pixels(images.pixels)
    scores = target.respond(images.pixels)
    right = (scores > 0) == (images.labels == 1)
    _, found = run(Minimum(attack=PGD(steps=2), eps=16 / 255), target, images)
    for score, distance, ok in zip(scores.abs().tolist(), found, right.tolist(), strict=True):
        assert distance == pytest.approx(math.ceil(score / spec.scale * 255) / 255 if ok else 0.0)


def test_the_l2_distance_is_known_to_a_part_of_the_budget():
    target = Brightness(at=127.5 / 255).load("t", CPU)
    images = away([0, 3])
    attack = Minimum(attack=PGD(norm="l2", steps=4), eps=0.5, parts=50)
    made, found = run(attack, target, images)
    entries = images.pixels[0].numel()
    for i, n in enumerate((0, 3)):
        levels = n * entries + entries // 2 + 1  # one more than half of the entries must pass the middle
        a, rest = divmod(levels, entries)
        best = math.sqrt(a * a * (entries - rest) + (a + 1) ** 2 * rest) / 255
        assert best - 1e-9 <= found[i] <= best + 0.5 / 50 + 0.02
        assert found[i] == pytest.approx((made[i] - images.pixels[i]).norm().item(), abs=1e-6)


def test_the_file_that_is_handed_on_is_the_one_that_succeeds_at_the_noted_distance(make_images):
    images, target = make_images(8, 16, 16, low=60, high=195), Linear(scale=400, seed=2).load("t", CPU)
    attack = Minimum(attack=PGD(steps=3), eps=8 / 255)
    made, found = run(attack, target, images)
    judged = BOTH.on(target, images).succeeded(made)
    levels = (to_levels(made) - to_levels(images.pixels)).abs().flatten(1).amax(1)
    for won, distance, level in zip(judged.tolist(), found, levels.tolist(), strict=True):
        assert won == (distance is not None)
        assert level == (round(distance * 255) if won else 8)


def test_it_asks_less_than_all_budgets_one_after_the_other():
    images, target = away([5] * 6), Brightness(at=127.5 / 255).load("t", CPU)
    attack = Minimum(attack=PGD(steps=4, stop=False), eps=32 / 255)
    run(attack, target, images)
    for cost in target.ledger.take(images.ids):
        assert cost.backwards <= attack.gradients() <= 7 * 4
        assert cost.backwards <= 3 * 4  # 6 is found from 32 by drawing in: only budgets below it are attacked anew


def test_an_image_that_is_misjudged_as_it_is_has_no_distance_to_go():
    target = Brightness(at=127.5 / 255).load("t", CPU)
    images = away([4, 4])
    wrong = Images(images.pixels, images.ids, 1 - images.labels, images.groups)
    made, found = run(Minimum(attack=PGD(steps=2)), target, wrong)
    assert found == [0.0, 0.0]
    assert torch.equal(made, wrong.pixels)
    assert {cost.backwards for cost in target.ledger.take(images.ids)} == {0}


def test_a_batch_gives_what_each_image_gives_alone(make_images):
    images, target = make_images(6, 16, 16, low=60, high=195), Linear(scale=400, seed=2).load("t", CPU)
    attack = Minimum(attack=PGD(steps=3), eps=8 / 255)
    whole, found = run(attack, target, images)
    alone = [run(attack, target, images.subset([i])) for i in range(6)]
    assert torch.equal(whole, torch.cat([made for made, _ in alone]))
    assert found == [distance for _, (distance,) in alone]


def test_surrogates_are_hunted_where_the_attack_asks_them_and_the_target_is_never_asked(make_images):
    images, target, other = away([2, 6]), Linear().load("t", CPU).with_access(Access.NONE), Brightness(at=127.5 / 255).load("s", CPU)
    attack = Minimum(attack=PGD(steps=2, surrogates=("s",)))
    objective = BOTH.on(target, images, surrogates={"s": other}, budget=attack.budget())
    attack.run(objective, SampleRNG([1, 2]))
    assert [objective.notes[name]["distance"] for name in images.ids] == pytest.approx([3 / 255, 7 / 255])
    assert (attack.access(), attack.asked_instead()) == (Access.NONE, ("s",))
    assert all(cost.queries == 0 for cost in target.ledger.take(images.ids))


def test_chance_has_a_smallest_budget_too(make_images):
    """Of noise: an attack that asks nothing, judged by decisions alone."""
    attack = Minimum(attack=Noise(), eps=64 / 255)
    assert (attack.needs, attack.access()) == (Access.DECISIONS, Access.DECISIONS)
    images, target = make_images(24, 4, 4, low=100, high=155), Linear(scale=50, seed=1).load("t", CPU).with_access(Access.DECISIONS)
    _, found = run(attack, target, images)
    assert any(distance for distance in found)


def test_what_has_no_budget_is_refused():
    with pytest.raises(ValueError, match="^attack: must have a budget eps that can be made smaller; take pgd, apgd or another bounded attack$"):
        Minimum(attack=JPEG())
