"""Randomised targets and averaging over them: what is drawn, for whom, and what an attacker gains by asking again."""

from __future__ import annotations

import pytest
import torch

from redteam.attacks.mi import MI
from redteam.attacks.pgd import PGD
from redteam.defenses.noise import NoiseDefense
from redteam.defenses.resize import ResizeDefense
from redteam.objective import BOTH, Averaged
from redteam.protocols.detection import Square, attack_batch
from redteam.files import FileFormat
from redteam.record import Cell
from redteam.seeding import SampleRNG
from redteam.target import Access, Detector
from redteam.targets.fakes import Brightness, Linear

CPU = torch.device("cpu")
RANDOM = [NoiseDefense(sigma=0.1), ResizeDefense(smallest=0.6)]
every_random_defense = pytest.mark.parametrize("defense", RANDOM, ids=["noise", "resize"])


def behind(defense, seed=0):
    return defense.wrap(Linear(seed=seed).load("t", CPU))


def asked(target, images, seed=1):
    return BOTH.on(target, images).drawing(SampleRNG.of(seed, "asked", {}, images.ids))


@every_random_defense
def test_each_question_draws_anew_and_the_whole_run_can_be_had_again(defense, make_images):
    images, target = make_images(4, 16, 16), behind(defense)
    first, again = asked(target, images), asked(target, images)
    answers = [first.loss(images.pixels) for _ in range(3)]
    assert not torch.equal(answers[0], answers[1]) and not torch.equal(answers[1], answers[2])
    assert all(torch.equal(answer, again.loss(images.pixels)) for answer in answers)
    assert not torch.equal(answers[0], asked(target, images, seed=2).loss(images.pixels))


@every_random_defense
def test_what_an_image_draws_hangs_neither_on_its_batch_nor_on_who_was_asked_about_before(defense, make_images):
    images, target = make_images(5, 16, 16), behind(defense)
    whole = asked(target, images)
    rounds = [whole.loss(images.pixels) for _ in range(2)]
    alone = asked(target, images.subset([3]))
    assert torch.equal(alone.loss(images.pixels[3:4]), rounds[0][3:4])
    part = asked(target, images)
    part.loss(images.pixels)
    assert torch.equal(part.subset([3, 0]).loss(images.pixels[[3, 0]]), rounds[1][[3, 0]])


@every_random_defense
def test_where_nobody_says_which_image_it_is_its_pixels_decide(defense, make_images):
    images, target = make_images(5, 16, 16), behind(defense)
    answers = target.respond(images.pixels)
    assert torch.equal(answers, target.respond(images.pixels))
    assert torch.equal(answers.flip(0), target.respond(images.pixels.flip(0)))


def test_an_average_tends_to_the_expectation_and_each_time_is_booked(make_images):
    images = make_images(3, 16, 16, low=80, high=170)
    target = behind(NoiseDefense(sigma=0.05))
    truth = Linear().load("t", CPU)
    objective = asked(target, images).averaged(400)
    assert isinstance(objective, Averaged)
    one = asked(target, images).loss(images.pixels) - BOTH.on(truth, images).loss(images.pixels)
    mean = objective.loss(images.pixels) - BOTH.on(truth, images).loss(images.pixels)
    sigma = 100 * 0.05 / (3 * 16 * 16) ** 0.5  # of the mean over the pixels
    assert one.abs().max() > 0 and mean.abs().max() < 4 * sigma / 400**0.5
    assert {cost.queries for cost in target.ledger.take(images.ids)} == {401}


def test_answers_are_averaged_and_decisions_are_counted(make_images):
    images = make_images(2, labels=[1, 1])
    script = iter([[1.0, -4.0], [2.0, 1.0], [-1.5, 1.0]] * 4)
    target = Detector("t", lambda x: torch.tensor(next(script)) + 0 * x.flatten(1).sum(1), Access.GRADIENTS)
    averaged = BOTH.on(target, images).averaged(3)
    assert averaged.loss(images.pixels).tolist() == pytest.approx([0.5, -2 / 3])
    assert averaged.margin(images.pixels).tolist() == pytest.approx([0.5, -2 / 3])
    assert averaged.margin_and_gradient(images.pixels)[0].tolist() == pytest.approx([0.5, -2 / 3])
    target.randomised = True  # else the answer about a file is remembered
    assert averaged.succeeded(images.pixels).tolist() == [False, False]  # one of three decisions each, though one mean is below 0
    assert averaged.subset([1]).images.ids == (images.ids[1],)


def test_every_optimised_attack_averages_by_its_field(make_images):
    images, target = make_images(2, 16, 16), behind(NoiseDefense())
    attack = MI(steps=3, eot=5)
    attack.run(asked(target, images), SampleRNG.of(1, "mi", {}, images.ids))
    assert {cost.backwards for cost in target.ledger.take(images.ids)} == {15} == {attack.gradients()}


def test_averaging_surrogates_asks_each_of_them_so_often(make_images):
    images, surrogates = make_images(2), {"a": Brightness().load("a", CPU), "b": Linear().load("b", CPU)}
    objective = BOTH.on(Linear().load("t", CPU), images, surrogates=surrogates)
    MI(steps=2, eot=3, surrogates=("a", "b")).run(objective, SampleRNG.of(1, "mi", {}, images.ids))
    assert [target.ledger.take(images.ids)[0].backwards for target in surrogates.values()] == [6, 6]


def test_a_shattering_defense_falls_only_to_the_attack_that_averages(grey_images):
    """Noise on a detector with a steep threshold for every pixel: one gradient says nothing about the mean, many do."""
    images = grey_images(8, step=2)
    gradient_noise = Detector("t", lambda x: torch.sin(400 * x).flatten(1).mean(1) * 2 + 60 * (x.flatten(1).mean(1) - 0.5), Access.GRADIENTS)
    target = NoiseDefense(sigma=0.02).wrap(gradient_noise)
    judged = BOTH.on(NoiseDefense(sigma=0.02).wrap(gradient_noise), images).averaged(1)
    gained = []
    for eot in (1, 30):
        attack = PGD(eps=4 / 255, steps=4, random_start=False, eot=eot)
        adv = attack.run(asked(target, images), SampleRNG.of(1, "pgd", {}, images.ids)).pixels
        gained.append((judged.margin(images.pixels) - judged.margin(adv)).mean().item())
    assert gained[1] > 1.5 * gained[0]


def test_the_final_score_is_not_what_the_attacker_drew_and_a_row_can_be_had_again(grey_images):
    images, target = grey_images(6), behind(NoiseDefense(sigma=0.2))
    cell = Cell(data="d", target="t", defense="noise", attack="a", kind="pgd", goal="evade+frame")
    attack = PGD(eps=1 / 255, steps=1)

    def scores(ids):
        part = images.subset(ids)
        return [row.outcome["score"] for row in attack_batch(Square(cell, attack, target, FileFormat(), 7, 6), part, ["0"] * len(part), {}).records]

    seen = scores([0, 1, 2, 3, 4, 5])
    assert scores([0, 1, 2, 3, 4, 5]) == seen
    assert scores([4, 2]) == [seen[4], seen[2]]
