"""`kind: search`: operations are read as stages are, and every mistake is pointed at."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import EntryPoint

import pytest

from redteam import registry
from redteam.attacks.search import Search
from redteam.scenario.model import AttackEntry

WHOLE = "{id: worst, kind: search, pool: [{ref: jpeg, quality: {sweep: [95, 60]}}, {kind: jpeg, quality: 30}], finish: {ref: pgd}, min_psnr_db: 30}"
TRAIN = ("targets:", "  train: {kind: shelf, seed: 2}\ntargets:")


@pytest.fixture(autouse=True)
def with_search(registered: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The small components, and the search."""
    others = registry._entries
    search = {"search": EntryPoint("search", "redteam.attacks.search:Search", "redteam.attacks")}
    monkeypatch.setattr(registry, "_entries", lambda group: {**others(group), **(search if group == "attacks" else {})})
    registry.names.cache_clear()


@pytest.fixture
def entry(read: Callable, base: str) -> Callable[[str], AttackEntry]:
    """The search of the base scenario, with jpeg and pgd beside it."""
    return lambda written: read(base.replace(*TRAIN) + f"  - {written}\n")[0].attacks[-1]


def test_operations_are_referred_to_or_written_in_place_and_sweeps_are_their_choices(entry: Callable) -> None:
    found = entry(WHOLE)
    search = found.variants[0].attack
    assert (found.kind, len(found.variants), found.variants[0].strength) == ("search", 1, {"min_psnr_db": 30})
    assert isinstance(search, Search)
    assert [(operation.name, [attack.quality for attack in operation.settings]) for operation in search.pool] == [("jpeg", [95, 60]), ("jpeg2", [30])]
    assert (search.finish.name, [attack.eps * 255 for attack in search.finish.settings]) == ("pgd", [4.0])


def test_its_own_keys_can_be_swept_and_make_a_cell_each(entry: Callable) -> None:
    found = entry(WHOLE.replace("min_psnr_db: 30", "min_psnr_db: {sweep: [40, 30]}, length: {sweep: [1, 2]}"))
    assert [variant.strength for variant in found.variants] == [{"min_psnr_db": floor, "length": length} for floor in (40, 30) for length in (1, 2)]
    assert [(variant.attack.min_psnr_db, variant.attack.length, len(variant.attack.pool)) for variant in found.variants] == [(40, 1, 2), (40, 2, 2), (30, 1, 2), (30, 2, 2)]


def test_a_referred_attack_brings_its_sweep_and_no_goal(entry: Callable, read: Callable, base: str) -> None:
    text = base.replace(*TRAIN).replace("{id: jpeg, kind: jpeg}", "{id: jpeg, kind: jpeg, quality: {sweep: [90, 80, 70]}}").replace("eps: 4/255", "eps: 4/255, goal: frame")
    search = read(text + "  - {id: worst, kind: search, goal: evade, pool: [{ref: jpeg}], finish: {ref: pgd}, min_ssim: 0.9}\n")[0].attacks[-1].variants[0].attack
    assert [attack.quality for attack in search.pool[0].settings] == [90, 80, 70]
    assert (search.goal, search.finish.settings[0].goal) == ("evade", None)


CASES = [
    ("pool: [{ref: jpeg, quality: {sweep: [95, 60]}}, {kind: jpeg, quality: 30}], ", "", "RT101 attacks.2: missing key 'pool'; a search chooses among its operations; write pool: [{ref: jpeg}, {kind: blur, sigma: {sweep: [0.5, 1.0]}}]"),
    ("[{ref: jpeg, quality: {sweep: [95, 60]}}, {kind: jpeg, quality: 30}]", "[]", "RT103 attacks.2.worst.pool: a pool must hold at least one operation, got an empty list; write pool: [{ref: jpeg}, {kind: blur, sigma: {sweep: [0.5, 1.0]}}]"),
    ("[{ref: jpeg, quality: {sweep: [95, 60]}}, {kind: jpeg, quality: 30}]", "{ref: jpeg}", "RT103 attacks.2.worst.pool: must be a list, got a mapping; start each entry with '- '"),
    (", min_psnr_db: 30", "", "RT105 attacks.2: a search must have a quality floor, got none; write min_psnr_db: 30 or min_ssim: 0.9"),
    ("min_psnr_db: 30", "min_ssim: 1.5", "RT104 attacks.2.worst.min_ssim: must lie in (0, 1], got 1.5"),
    ("min_psnr_db: 30", "min_psnr: 30", "RT102 attacks.2.worst: unknown key 'min_psnr'; did you mean 'min_psnr_db'?"),
    ("min_psnr_db: 30", "min_psnr_db: 30, queries: 100", "RT105 attacks.2: queries must be at least twice the images (each as it is, and under one chain), got 100 for 64 images; raise queries, or lower images"),
    ("min_psnr_db: 30", "min_psnr_db: 30, chains: 4", "RT105 attacks.2: chains must be more than the 4 settings of single operations, which are tried first, got 4; raise chains"),
    ("{kind: jpeg, quality: 30}", "{kind: jpeg, quality: 300}", "RT104 attacks.2.worst.pool.1.quality: must lie in [1, 100], got 300"),
    ("{kind: jpeg, quality: 30}", "{kind: jpeg, qualty: 30}", "RT102 attacks.2.worst.pool.1: unknown key 'qualty'; did you mean 'quality'?"),
    ("{kind: jpeg, quality: 30}", "{ref: jpg}", "RT213 attacks.2.worst.pool.1.ref: no attack 'jpg'; did you mean 'jpeg'?"),
    ("{kind: jpeg, quality: 30}", "jpeg", "RT211 attacks.2.worst.pool.1: a stage must be a mapping, got 'jpeg'; write {ref: pgd} or {kind: jpeg, quality: 85}"),
    ("{kind: jpeg, quality: 30}", "{ref: pgd}", "RT214 attacks.2.worst.pool.1: pgd asks the target, which only the finish may; write it as finish"),
    ("{kind: jpeg, quality: 30}", "{ref: worst}", "RT214 attacks.2.worst.pool.1: a stage must not be made of attacks itself, got worst; let it attack by itself"),
    ("{kind: jpeg, quality: 30}", "{kind: learned}", "RT214 attacks.2.worst.pool.1: learned learns before it runs, which would be once for every chain; take it out"),
    ("{kind: jpeg, quality: 30}", "{kind: jpeg, goal: evade}", "RT211 attacks.2.worst.pool.1: an operation has no goal of its own; write goal beside pool"),
    ("finish: {ref: pgd}", "finish: {ref: jpeg}", "RT214 attacks.2.worst.finish: jpeg asks the target nothing; put it into the pool"),
    ("finish: {ref: pgd}", "finish: [pgd]", "RT211 attacks.2.worst.finish: a stage must be a mapping, got a list of 1; write {ref: pgd} or {kind: jpeg, quality: 85}"),
]


@pytest.mark.parametrize(("written", "instead", "said"), CASES, ids=[said.split(": ", 1)[1][:50] for _, _, said in CASES])
def test_a_search_that_cannot_be_read_is_pointed_at(complaints: Callable[[str], str], base: str, written: str, instead: str, said: str) -> None:
    assert WHOLE.count(written) == 1
    found = complaints(base.replace(*TRAIN) + f"  - {WHOLE.replace(written, instead)}\n")
    first, rest = found.split("\n", 1)
    assert first.split(" ", 1)[1] == said
    assert first.startswith("faces.yaml:11:") and rest.count(" RT") == 0


def test_an_operation_that_moves_pixels_has_no_quality_to_hold(complaints: Callable[[str], str], base: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry.get("attacks", "jpeg"), "geometric", True)
    found = complaints(base.replace(*TRAIN) + f"  - {WHOLE}\n")
    assert "RT214 attacks.2.worst.pool.0: jpeg moves pixels or changes the size, so that no floor can be judged; take it out" in found


def test_a_search_without_training_images_is_refused(complaints: Callable[[str], str], base: str) -> None:
    found = complaints(base + f"  - {WHOLE}\n")
    assert found.split("\n")[0].endswith("worst learns before it attacks and needs training images, got no data.train; add it, with other images than data.eval")


@pytest.mark.parametrize(("gives", "finish", "said"), [("decisions", True, "gradients but target 'mine' gives decisions"), ("scores", True, "gradients but target 'mine' gives scores"), ("decisions", False, None)])
def test_it_needs_decisions_and_what_its_finish_needs(complaints: Callable, read: Callable, base: str, gives: str, finish: bool, said: str | None) -> None:
    text = base.replace(*TRAIN).replace("kind: linear", f"kind: linear, access: {gives}") + f"  - {WHOLE if finish else WHOLE.replace('finish: {ref: pgd}, ', '')}\nmatrix: {{exclude: [{{attack: pgd}}]}}\n"
    if said is None:
        assert read(text)[0].attacks[-1].variants[0].attack.finish is None
    else:
        assert f"RT301 attacks.2: worst needs {said}" in complaints(text)


def test_source_images_in_train_and_eval_are_an_error(complaints: Callable[[str], str], base: str) -> None:
    """Other pictures of the same sources: this corpus names its sources alike whatever its seed."""
    found = complaints(base.replace(*TRAIN) + f"  - {WHOLE}\n", read_data=True)
    assert found.split("\n")[0] == "faces.yaml:5:3: RT331 data.train: must share no source image with eval, got 4 that are in both (first: g0); split the data by source image"


def test_a_chain_cannot_hold_a_search(complaints: Callable[[str], str], base: str) -> None:
    found = complaints(base.replace(*TRAIN) + f"  - {WHOLE}\n  - {{id: both, chain: [{{ref: worst}}, {{ref: jpeg}}]}}\n")
    assert "RT214 attacks.3.both.chain.0: a stage must not be made of attacks itself, got worst; let it attack by itself" in found
