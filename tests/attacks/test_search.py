"""A search over chains finds the one that breaks a target, within its budget and its floor."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import permutations, product

import pytest
import torch
from torch import Tensor

from redteam.attacks.blur import Blur
from redteam.attacks.brightness import Brightness as Darken
from redteam.attacks.compositions import Operation, Space
from redteam.attacks.findings import compositions
from redteam.attacks.gaussian_noise import GaussianNoise
from redteam.attacks.halving import Candidate, Exhausted, Purse, Seen, halved
from redteam.attacks.identity import Identity
from redteam.attacks.jpeg import JPEG
from redteam.attacks.noise import Noise
from redteam.attacks.pgd import PGD
from redteam.attacks.resize import Resize
from redteam.attacks.search import Search
from redteam.attacks.trial import Trial
from redteam.files import FileFormat
from redteam.images import Images
from redteam.measure.quality import psnr
from redteam.objective import BOTH, EVADE, Goal, Objective
from redteam.seeding import SampleRNG
from redteam.target import Access, AccessError, Detector
from redteam.targets.fakes import Brightness, Linear

CPU = torch.device("cpu")
JPEGS = Operation(name="jpeg", settings=(JPEG(quality=95), JPEG(quality=80)))
BLURS = Operation(name="blur", settings=(Blur(sigma=0.3), Blur(sigma=1.0)))
DARKER = Operation(name="dark", settings=(Darken(factor=0.97), Darken(factor=0.8)))
FINISH = Operation(name="pgd", settings=(PGD(eps=4 / 255, steps=3),))


def roughness(pixels: Tensor) -> Tensor:
    """(n, 3, h, w) -> (n,) mean absolute step between neighbours, each image by itself."""
    return torch.stack([image.diff(dim=-1).abs().double().mean() for image in pixels]).float()


def rough(at: float) -> Detector:
    """Calls rough images fake: of the operations here only a strong blur smooths enough."""
    return Detector("rough", lambda pixels: (roughness(pixels) - at) * 100, Access.GRADIENTS)


def batches(images: Images, target: Detector, goal: Goal = BOTH, size: int = 16, **options: object) -> Iterator[Objective]:
    images = images.subset(goal.concerns(images.labels))
    for start in range(0, len(images), size):
        yield goal.on(target, images.subset(range(start, min(start + size, len(images)))), **options)


def found(search: Search, images: Images, target: Detector, goal: Goal = BOTH, size: int = 16, **options: object) -> dict[str, Tensor]:
    return search.fit(batches(images, target, goal, size, **options), SampleRNG.of(1, "search", {}, ["fit"]))


def winner(search: Search, state: dict[str, Tensor]) -> str:
    return search._space.text(compositions(state)[0])


@pytest.fixture
def textured(make_images) -> Callable[..., Images]:
    """Fakes of strong noise and real images of weak noise: what the rough target tells apart."""

    def make(n: int = 32, **options: object) -> Images:
        images = make_images(n, 16, 16, **options)
        flat = 0.5 + (images.pixels - 0.5) * torch.where(images.labels == 1, 0.5, 0.02).view(-1, 1, 1, 1)
        return images.with_pixels((flat * 255).round() / 255)

    return make


def test_it_finds_the_only_operation_that_breaks_the_target(textured):
    search = Search(pool=(JPEGS, BLURS, DARKER), min_psnr_db=10, images=32, queries=2000, chains=40, goal="evade")
    state = found(search, textured(), rough(0.1), EVADE)
    assert winner(search, state) == "blur sigma=1"
    first = search.findings(state)["found"][0]
    assert (first["images"], first["kept"], first["metrics"]["attack_success_rate"]["value"]) == (16, 16, 1.0)
    assert first["absent"] == {"frame_rate": "the search looked at no such image"}


def test_it_finds_two_operations_that_break_the_target_only_together(textured):
    both = Detector("both", lambda pixels: torch.maximum((roughness(pixels) - 0.06) * 100, (pixels.flatten(1).mean(1) - 0.45) * 100), Access.DECISIONS)
    search = Search(pool=(JPEGS, BLURS, DARKER), min_psnr_db=8, images=32, queries=3000, chains=80, goal="evade")
    state = found(search, textured(), both, EVADE)
    told = search.findings(state)["found"]
    assert sorted(winner(search, state).split(", ")) == ["blur sigma=1", "dark factor=0.8"]
    alone = [chain for chain in told if len(chain["stages"]) == 1]
    assert told[0]["metrics"]["attack_success_rate"]["value"] == 1.0
    assert alone and all(chain["metrics"].get("attack_success_rate", {"value": 0.0})["value"] == 0.0 for chain in alone)


def test_the_floor_rules_out_a_chain_that_breaks_more_and_spoils_the_picture(grey_images):
    """Factor 0.8 makes every fake dark enough, at 19 dB or less; 0.97 does it to the faintest alone, at 36 dB."""
    images, target = grey_images(32), Brightness().load("t", CPU)
    lax, strict = (Search(pool=(DARKER,), min_psnr_db=floor, images=32, queries=500, length=1, goal="evade") for floor in (10, 30))
    assert winner(lax, found(lax, images, target, EVADE)) == "dark factor=0.8"
    state = found(strict, images, target, EVADE)
    assert winner(strict, state) == "dark factor=0.97"
    spoilt = strict.findings(state)["found"][1]
    assert (spoilt["stages"], spoilt["kept"], spoilt["metrics"].get("attack_success_rate", {"value": 0.0})["value"]) == ([{"name": "dark", "strength": {"factor": 0.8}}], 0, 0.0)


def test_what_the_winner_would_spoil_stays_as_it_is(grey_images, make_images):
    """The same blur costs noise much and a grey image nothing."""
    grey, rough_ones = grey_images(8), make_images(8, 16, 16, seed=3)
    images = grey.with_pixels(torch.cat([grey.pixels[:4], rough_ones.pixels[4:]]))
    search = Search(pool=(BLURS,), min_psnr_db=30, images=8, length=1)
    state = {"chains": torch.tensor([[1]])}
    objective = BOTH.on(Linear().load("t", CPU), images)
    result = search.perturb(objective, SampleRNG.of(1, "s", {}, images.ids), state)
    assert torch.equal(result.pixels[4:], images.pixels[4:])
    assert (result.pixels[:4] - images.pixels[:4]).abs().max() < 1e-6  # a grey image stays grey under blur, and keeps the floor
    assert [objective.notes[name]["kept_floor"] for name in images.ids] == [True] * 4 + [False] * 4
    assert {note["chain"] for note in objective.notes.values()} == {"blur sigma=1"}


@pytest.mark.parametrize("floor", [{"min_psnr_db": 28}, {"min_ssim": 0.9}, {"min_psnr_db": 25, "min_ssim": 0.8}])
def test_every_published_file_keeps_the_floor_after_its_codec(make_images, floor):
    images, file = make_images(12, 16, 16, low=90, high=160), FileFormat(format="jpeg", quality=90)
    search = Search(pool=(GRAIN,), images=8, length=1, **floor)
    objective = BOTH.on(Linear().load("t", CPU), images, file=file)
    for number in range(len(GRAIN.settings)):
        result = search.perturb(objective, SampleRNG.of(1, "s", {}, images.ids), {"chains": torch.tensor([[number]])})
        before, after = file.save_and_load(images.pixels), file.save_and_load((result.pixels * 255).round() / 255)
        moved = (result.pixels != images.pixels).flatten(1).any(1)
        assert (psnr(before, after) >= floor.get("min_psnr_db", 0)).all()
        assert moved.tolist() == [objective.notes[name]["kept_floor"] for name in images.ids]


GRAIN = Operation(name="grain", settings=tuple(GaussianNoise(sigma=sigma) for sigma in (0.01, 0.03, 0.05, 0.3)))


@pytest.mark.parametrize("queries", [64, 65, 100, 333, 1000, 5000])
@pytest.mark.parametrize("finish", [None, FINISH])
def test_the_budget_is_never_exceeded_and_booked_as_the_target_sees_it(textured, queries, finish):
    asked = []
    target = Detector("t", lambda pixels: (asked.append(len(pixels)), (roughness(pixels) - 0.1) * 100)[1], Access.GRADIENTS)
    search = Search(pool=(JPEGS, BLURS), finish=finish, min_psnr_db=10, images=32, queries=queries)
    state = found(search, textured(), target)
    told = search.findings(state)
    assert told["spent"] == sum(asked) <= queries
    assert told["asked"] == told["images"] == 32
    assert told["tried"] >= 1


def test_more_budget_tries_more_chains_and_the_winner_is_judged_on_all_images(textured):
    told = []
    for queries in (100, 400, 4000):
        search = Search(pool=(JPEGS, BLURS, DARKER), min_psnr_db=10, images=32, queries=queries)
        told.append(search.findings(found(search, textured(), rough(0.1))))
    assert [t["tried"] for t in told] == sorted(t["tried"] for t in told)
    assert told[-1]["tried"] == 78 == told[-1]["possible"]  # all: 6 alone, 24 of two and 48 of three
    assert told[-1]["found"][0]["images"] == 32


def test_surrogates_are_paid_for_from_the_same_purse(textured):
    images, asked = textured(), {"own": 0, "other": 0}

    def counting(name: str) -> Detector:
        def score(pixels: Tensor) -> Tensor:
            asked[name] += len(pixels)
            return (roughness(pixels) - 0.1) * 100

        return Detector(name, score, Access.GRADIENTS)

    own = counting("own").with_access(Access.DECISIONS)
    finish = replace(FINISH, settings=(PGD(eps=4 / 255, steps=3, surrogates=("s",)),))
    search = Search(pool=(JPEGS,), finish=finish, min_psnr_db=10, images=16, queries=700, length=2)
    assert (search.access(), search.asked_instead()) == (Access.DECISIONS, ("s",))
    told = search.findings(found(search, images, own, surrogates={"s": counting("other")}))
    assert told["spent"] == sum(asked.values()) <= 700
    assert asked["other"] > 0


def test_a_target_that_gives_decisions_is_searched_with_operations_alone(textured):
    images, closed = textured(), rough(0.1).with_access(Access.DECISIONS)
    search = Search(pool=(BLURS, JPEGS), min_psnr_db=10, images=32, goal="evade")
    assert (search.needs, replace(search, finish=FINISH).needs) == (Access.DECISIONS, Access.GRADIENTS)
    assert winner(search, found(search, images, closed, EVADE)) == "blur sigma=1"
    with pytest.raises(AccessError, match=re.escape("rough gives decisions; a gradient needs gradients")):
        found(replace(search, finish=FINISH), images, closed, EVADE)
    with pytest.raises(AccessError, match=re.escape("rough gives none; a decision needs decisions")):
        found(search, images, closed.with_access(Access.NONE), EVADE)


@pytest.mark.parametrize("size", [1, 5, 32])
def test_the_same_seed_finds_the_same_whatever_the_batches(textured, size):
    search = Search(pool=(JPEGS, BLURS, GRAIN), finish=FINISH, min_psnr_db=12, images=32, queries=100_000, chains=30)  # where it runs out hangs on the batches
    first, again = found(search, textured(), rough(0.1), size=16), found(search, textured(), rough(0.1), size=size)
    assert first.keys() == again.keys()
    assert all(torch.equal(first[name], again[name]) for name in first)


def test_images_that_the_target_misjudges_as_they_are_count_for_nothing(textured):
    images = textured()
    fooled = images.with_pixels(images.pixels.index_copy(0, torch.tensor([0]), torch.full((1, 3, 16, 16), 128 / 255)))  # a fake that looks real
    search = Search(pool=(BLURS,), min_psnr_db=10, images=32, length=1)
    told = search.findings(found(search, fooled, rough(0.1)))
    assert (told["asked"], told["images"]) == (32, 31)
    assert told["found"][0]["metrics"]["attack_success_rate"]["n"] == 15


def test_equal_harm_goes_to_the_chain_that_changes_less(grey_images):
    """Both settings break every image; the milder one is listed second."""
    images = grey_images(16)
    strong = Operation(name="dark", settings=(Darken(factor=0.5), Darken(factor=0.7)))
    search = Search(pool=(strong,), min_psnr_db=1, images=16, length=1, goal="evade")
    assert winner(search, found(search, images, Brightness().load("t", CPU), EVADE)) == "dark factor=0.7"


def test_a_rarer_class_counts_as_much(textured):
    images = textured(labels=[1] * 24 + [0] * 8)
    trial = Trial(batches(images, rough(0.1)), 64, 1)
    assert sorted(trial.labels) == [0] * 8 + [1] * 24
    assert trial.labels[:8].count(0) == 2  # every stretch holds both in their proportion
    assert sorted(Trial(batches(images, rough(0.1)), 16, 1).labels) == [0] * 8 + [1] * 8


def test_images_of_other_sizes_are_tried_in_batches_of_their_own(textured, make_images):
    small = make_images(8, 12, 12)
    small = replace(small, ids=tuple(f"small{i}" for i in range(8))).with_pixels(0.5 + (small.pixels - 0.5) * torch.where(small.labels == 1, 0.5, 0.02).view(-1, 1, 1, 1))
    target = rough(0.1)
    trial = Trial([*batches(textured(16), target), *batches(small, target)], 64, 1)
    assert len(trial.labels) == 24
    search = Search(pool=(BLURS,), min_psnr_db=10, images=24, length=1)
    state = search.fit([*batches(textured(16), target), *batches(small, target)], SampleRNG.of(1, "s", {}, ["fit"]))
    assert winner(search, state) == "blur sigma=1"


def test_the_control_is_the_winner_with_noise_in_the_optimised_place(textured):
    images, target = textured(8), rough(0.1)
    search = Search(pool=(JPEGS,), finish=FINISH, min_psnr_db=5, images=8, length=2)
    control = search.control()
    state = {"chains": torch.tensor([[2, 1]])}  # pgd, then JPEG 80
    objective = BOTH.on(target, images)
    result = control.perturb(objective, SampleRNG.of(1, "c", {}, images.ids), state).pixels
    rng = SampleRNG.of(1, "c", {}, images.ids)
    noisy = Noise(eps=4 / 255).perturb(objective, rng.fork("pgd"))
    assert torch.equal(result, JPEG(quality=80).perturb(objective.with_images(noisy), rng).pixels)
    assert target.ledger.take(images.ids)[0].queries == 0
    assert (control.learner(), control.needs, control.strengths(), control.goal) == (search, Access.NONE, search.strengths(), search.goal)
    assert replace(search, finish=None).control() is None


def test_without_a_state_there_is_no_winner(textured):
    images = textured(8)
    with pytest.raises(ValueError, match="^Search learns from training images and was given none"):
        Search(pool=(JPEGS,), min_psnr_db=30, images=8).perturb(BOTH.on(rough(0.1), images), SampleRNG.of(1, "s", {}, images.ids))


GOOD = {"pool": (JPEGS,), "min_psnr_db": 30}


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"min_psnr_db": None}, "a search must have a quality floor, got none; write min_psnr_db: 30 or min_ssim: 0.9"),
        ({"queries": 127}, "queries must be at least twice the images (each as it is, and under one chain), got 127 for 64 images; raise queries, or lower images"),
        ({"chains": 2}, "chains must be more than the 2 settings of single operations, which are tried first, got 2; raise chains"),
        ({"pool": (Operation(name="half", settings=(Resize(restore=False),)),)}, "half moves pixels or changes the size, so that no floor can be judged; take it out"),
        ({"pool": (FINISH,)}, "pgd asks the target, which only the finish may; write it as finish"),
        ({"finish": BLURS}, "blur asks the target nothing; put it into the pool"),
        ({"pool": (Operation(name="inner", settings=(Search(min_psnr_db=1),)),)}, "inner learns before it runs, which would be once for every chain; take it out"),
    ],
)
def test_what_cannot_be_searched_is_refused(changed, said):
    Search(**GOOD)
    with pytest.raises(ValueError, match=f"^{re.escape(said)}$"):
        Search(**GOOD | changed)


def test_nothing_to_search_on_is_said(textured):
    search = Search(pool=(JPEGS,), min_psnr_db=30, images=8, length=1)
    with pytest.raises(ValueError, match="^search: the role train must hold images that the goal is about, got none; add some$"):
        search.fit([], SampleRNG.of(1, "s", {}, ["fit"]))
    inverted = Detector("t", lambda pixels: (0.1 - roughness(pixels)) * 100, Access.DECISIONS)
    with pytest.raises(ValueError, match="^search: the target must be right about some training image, got none of 8; nothing can be broken there$"):
        found(search, textured(8), inverted)
    small = Search(pool=(JPEGS,), min_ssim=0.9, images=8, length=1)
    with pytest.raises(ValueError, match=re.escape("search: min_ssim must be judged on at least 11 x 11 pixels, got (8, 8); write min_psnr_db instead")):
        images = textured(8)
        cut = images.with_pixels(images.pixels[..., :8, :8])
        found(small, cut, rough(0.1))


@pytest.mark.parametrize("finish", [None, FINISH])
@pytest.mark.parametrize("length", [1, 2, 3])
def test_the_space_holds_every_order_once(finish, length):
    space = Space((JPEGS, BLURS, DARKER), finish, length)
    operations = [[(op.name, i) for i in range(len(op.settings))] for op in space.operations]
    every = {order for k in range(1, length + 1) for some in permutations(operations, k) for order in product(*some)}
    drawn = space.drawn(1, 10_000)
    names = {tuple((space.choices[n][0].name, space.choices[n][0].settings.index(space.choices[n][1])) for n in composition) for composition in drawn}
    assert space.count == len(drawn) == len(every)
    assert names == every
    assert [len(composition) for composition in drawn[: len(space.choices)]] == [1] * len(space.choices)
    assert space.drawn(1, 9) == drawn[:9]


def test_longer_chains_hold_the_finish_half_of_the_time():
    space = Space(tuple(Operation(name=f"op{i}", settings=tuple(Blur(sigma=1 + j / 10) for j in range(8))) for i in range(6)), FINISH, 3)
    drawn = space.drawn(1, 500)[len(space.choices) :]
    with_finish = [composition for composition in drawn if len(space.choices) - 1 in composition]
    assert 0.45 < len(with_finish) / len(drawn) < 0.55
    places = {composition.index(len(space.choices) - 1) / (len(composition) - 1) for composition in with_finish}
    assert places == {0.0, 0.5, 1.0}


def test_settings_that_differ_in_more_than_strength_are_told_apart():
    operation = Operation(name="resize", settings=(Resize(scale=0.5, kernel="bicubic"), Resize(scale=0.5, kernel="nearest")))
    assert [operation.told(attack) for attack in operation.settings] == [{"scale": 0.5, "kernel": "bicubic"}, {"scale": 0.5, "kernel": "nearest"}]


def test_halving_asks_fewer_candidates_about_more_images():
    """Later candidates break more images of any eight; where two break as many, the later one changes less."""
    asked: dict[int, int] = {}

    def look(composition: tuple[int, ...], number: int) -> Seen:
        start, end = ((0, 8), (8, 16), (16, 32), (32, 64))[number]
        asked[number] = asked.get(number, 0) + 1
        broken = torch.tensor([j % 8 < composition[0] // 3 for j in range(start, end)])
        return Seen(broken, torch.ones_like(broken), torch.full((end - start,), 1 / (1 + composition[0])))

    tried = halved([Candidate((i,), i) for i in range(20)], [j % 2 for j in range(64)], 4, look, Purse(10_000))
    assert asked == {0: 20, 1: 10, 2: 5, 3: 3}
    assert [candidate.composition for candidate in tried[:3]] == [(19,), (18,), (17,)]
    assert [len(candidate.rounds) for candidate in tried] == [4] * 3 + [3] * 2 + [2] * 5 + [1] * 10


def test_a_purse_pays_before_it_is_empty_and_not_after():
    purse = Purse(100)
    purse.grant(0.5)
    purse.pay(50)
    with pytest.raises(Exhausted):
        purse.pay(1)
    purse.grant(1)
    purse.pay(50)
    assert purse.spent == 100
    with pytest.raises(Exhausted):
        purse.pay(1)


def test_parameters_are_json_and_name_every_setting():
    params = Search(pool=(JPEGS, Operation(name="id", settings=(Identity(),))), finish=FINISH, min_psnr_db=30).params()
    assert [(part["name"], part["kind"], len(part["settings"])) for part in params["pool"]] == [("jpeg", "JPEG", 2), ("id", "Identity", 1)]
    assert params["finish"]["settings"][0]["eps"] == 4 / 255
