"""Attacks that ask surrogates: they follow those and never ask the evaluated target."""

from __future__ import annotations

import pytest
import torch

from redteam.attacks.chain import Chain
from redteam.attacks.fgsm import FGSM
from redteam.attacks.jpeg import JPEG
from redteam.attacks.pgd import PGD
from redteam.objective import BOTH, Ensemble
from redteam.protocols.detection import Square, attack_batch, identity_batch
from redteam.files import FileFormat
from redteam.record import Cell
from redteam.seeding import SampleRNG
from redteam.target import Access, Detector
from redteam.targets.fakes import Brightness, Linear

CPU = torch.device("cpu")


def rows(target, attack, images, surrogates):
    place = {"data": "d", "target": "t", "defense": "none", "goal": "evade+frame"}
    cells = Cell(**place, attack="identity", kind="identity", control=True), Cell(**place, attack="a", kind="pgd", params=attack.params(), strength=attack.strengths())
    from redteam.attacks.identity import Identity

    clean = identity_batch(Square(cells[0], Identity(), target, FileFormat(), 1, len(images)), images, ["0"] * len(images)).records
    square = Square(cells[1], attack, target, FileFormat(), 1, len(images), surrogates=surrogates)
    return attack_batch(square, images, ["0"] * len(images), {row.id: row for row in clean}).records


def test_it_follows_the_surrogate_and_the_evaluated_target_is_never_asked(grey_images):
    images, target, other = grey_images(8), Linear(seed=1).load("t", CPU), Linear(seed=2).load("s", CPU)
    objective = BOTH.on(target.with_access(Access.NONE), images, surrogates={"s": other})
    attack = PGD(eps=8 / 255, steps=3, surrogates=("s",))
    transferred = attack.run(objective, SampleRNG.of(1, "a", {}, images.ids)).pixels
    white_box = PGD(eps=8 / 255, steps=3).run(BOTH.on(other, images), SampleRNG.of(1, "a", {}, images.ids)).pixels
    assert torch.equal(transferred, white_box)
    assert all(cost.queries == 0 for cost in target.ledger.take(images.ids))


def test_without_surrogates_the_target_is_asked(grey_images):
    images, target = grey_images(4), Linear().load("t", CPU)
    FGSM().run(BOTH.on(target, images), SampleRNG.of(1, "a", {}, images.ids))
    assert all(cost.backwards == 1 for cost in target.ledger.take(images.ids))


def test_an_ensemble_averages_losses_and_gradients_and_succeeds_only_on_all(grey_images):
    images, targets = grey_images(6), {"a": Linear(seed=1).load("a", CPU), "b": Brightness().load("b", CPU)}
    objective = BOTH.on(Linear().load("t", CPU), images, surrogates=targets).through(("a", "b"))
    members = [BOTH.on(target, images) for target in targets.values()]
    x = images.pixels
    assert isinstance(objective, Ensemble)
    assert torch.allclose(objective.loss(x), (members[0].loss(x) + members[1].loss(x)) / 2)
    assert torch.allclose(objective.gradient(x), (members[0].gradient(x) + members[1].gradient(x)) / 2)
    assert torch.equal(objective.margin(x), torch.maximum(members[0].margin(x), members[1].margin(x)))
    assert torch.equal(objective.succeeded(x), members[0].succeeded(x) & members[1].succeeded(x))
    assert objective.subset([1, 3]).images.ids == (images.ids[1], images.ids[3])


def test_the_row_keeps_questions_to_surrogates_apart(grey_images):
    images, target = grey_images(4), Brightness().load("t", CPU).with_access(Access.DECISIONS)
    found = rows(target, PGD(eps=8 / 255, steps=5, surrogates=("s", "u")), images, {"s": Brightness().load("s", CPU).apart(), "u": Linear().load("u", CPU).apart()})
    for row in found:
        assert (row.cost["queries"], row.cost["backwards"], row.cost["surrogate_queries"], row.cost["surrogate_backwards"]) == (0, 0, 10, 10)


def test_a_surrogate_with_a_zero_gradient_is_warned_of(grey_images):
    flat = Detector("flat", lambda x: (x * 0).sum((1, 2, 3)), Access.GRADIENTS)
    found = rows(Brightness().load("t", CPU), PGD(eps=8 / 255, steps=2, random_start=False, surrogates=("flat",)), grey_images(4), {"flat": flat})
    assert all("zero_gradient" in row.warnings for row in found)


def test_a_target_that_is_its_own_surrogate_has_two_accounts(grey_images):
    images, target = grey_images(4), Brightness().load("t", CPU)
    found = rows(target, PGD(eps=8 / 255, steps=2, surrogates=("t",)), images, {"t": target.apart()})
    assert all((row.cost["queries"], row.cost["surrogate_queries"]) == (0, 2) for row in found)
    assert target.ledger.take(images.ids)[0].queries == 0


def test_each_stage_of_a_chain_asks_its_own(grey_images):
    images, target, other = grey_images(4), Linear(seed=1).load("t", CPU), Linear(seed=2).load("s", CPU)
    chain = Chain(stages=(PGD(steps=2, surrogates=("s",)), FGSM(), JPEG()), names=("a", "b", "c"))
    chain.run(BOTH.on(target, images, surrogates={"s": other}), SampleRNG.of(1, "a", {}, images.ids))
    assert [target.ledger.take(images.ids)[0].backwards, other.ledger.take(images.ids)[0].backwards] == [1, 2]
    assert (chain.access(), chain.asked_instead()) == (Access.GRADIENTS, ("s",))
    assert Chain(stages=(PGD(surrogates=("s",)), JPEG()), names=("a", "b")).access() is Access.NONE


def test_success_grows_with_likeness_of_the_surrogate(grey_images):
    """A target is its own best surrogate; one that looks at something else carries nothing over."""
    images, target = grey_images(24, step=2), Brightness().load("t", CPU)
    same = rows(target, PGD(eps=16 / 255, steps=4, surrogates=("s",)), images, {"s": Brightness().load("s", CPU).apart()})
    unlike = rows(target, PGD(eps=16 / 255, steps=4, surrogates=("s",)), images, {"s": Linear(seed=5).load("s", CPU).apart()})
    successes = [sum(bool(row.outcome["success"]) for row in found) for found in (same, unlike)]
    assert successes[0] > successes[1]


@pytest.mark.parametrize("attack", [PGD, FGSM])
def test_with_surrogates_nothing_is_needed_of_the_target(attack):
    assert attack(surrogates=("s",)).access() is Access.NONE
    assert attack().access() is Access.GRADIENTS
