"""Gradients in bf16 where the user asks: scores, margins and verdicts stay float32 to the last bit."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import redteam
from redteam import precision
from redteam.attacks.pgd import PGD
from redteam.objective import BOTH
from redteam.target import Access, Detector
from redteam.targets.adapted import Adapter, Output
from redteam.targets.preprocessing import Input

CPU = torch.device("cpu")


def network() -> nn.Module:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 1), nn.Flatten(0))
    return net.eval().requires_grad_(False)


@pytest.fixture
def pair() -> tuple[Detector, Detector]:
    """The same detector with gradients in float32 and in bf16."""
    plain = Detector("net", network(), Access.GRADIENTS)
    return plain, plain.apart().differentiated_in("bf16", CPU)


def test_scores_margins_and_verdicts_are_bit_equal_and_only_the_gradient_is_coarser(pair, make_images):
    images = make_images(6, 16, 16)
    full, low = (BOTH.on(target, images) for target in pair)
    x = images.pixels
    assert torch.equal(pair[0].respond(x), pair[1].respond(x))
    for ask in ("loss", "margin", "succeeded"):
        assert torch.equal(getattr(full, ask)(x), getattr(low, ask)(x))
    for one, other in zip(full.scored(x), low.scored(x), strict=True):
        assert torch.equal(one, other)
    fine, coarse = full.gradient(x), low.gradient(x)
    assert coarse.dtype == torch.float32 and not torch.equal(fine, coarse)
    assert torch.cosine_similarity(fine.flatten(1), coarse.flatten(1)).min() > 0.98


def test_it_stays_with_the_detector_when_its_threshold_or_defense_changes(pair, make_images):
    images = make_images(4, 16, 16)
    changed = pair[1].with_threshold(0.5).wrapped(lambda x: x * 0.5, "dark")
    plain = pair[0].wrapped(lambda x: x * 0.5, "dark")
    assert torch.equal(changed.respond(images.pixels), plain.respond(images.pixels))
    assert not torch.equal(BOTH.on(changed, images).gradient(images.pixels), BOTH.on(plain, images).gradient(images.pixels))


def test_defenses_and_preprocessing_keep_full_precision(make_images):
    seen = {}

    def look(name):
        def layer(x):
            seen[name] = torch.ones(1, 1) @ torch.full((1, 1), 1.001)
            return x

        return layer

    class Model(nn.Module):
        def forward(self, x):
            return look("model")(x).mean((1, 2, 3))

    class Looking(Input):
        def apply(self, pixels):
            return look("input")(super().apply(pixels))

    adapter = Adapter(Model(), Looking(), Output(type="logit"))
    target = Detector("net", adapter, Access.GRADIENTS).differentiated_in("bf16", CPU).wrapped(look("defense"), "looks")
    images = make_images(2)
    BOTH.on(target, images).gradient(images.pixels)
    assert {name: value.dtype for name, value in seen.items()} == {"defense": torch.float32, "input": torch.float32, "model": torch.bfloat16}


def test_an_attack_in_bf16_is_scored_in_float32(make_images, run_cell):
    net = network()
    plain, low = Detector("net", net, Access.GRADIENTS), Detector("net", net, Access.GRADIENTS).differentiated_in("bf16", CPU)
    images = make_images(8, 16, 16)
    attack = PGD(eps=8 / 255, steps=3)
    full, half = run_cell(plain, attack, images), run_cell(low, attack, images)
    assert [row.outcome["score"] for row in full.identity] == [row.outcome["score"] for row in half.identity]
    assert [row.outcome["score"] for row in full.rows] != [row.outcome["score"] for row in half.rows]
    assert [row.outcome["score"] for row in half.rows] == pytest.approx([row.outcome["score"] for row in full.rows], abs=0.05)


def test_float32_changes_nothing_and_notes_nothing(pair):
    assert pair[0].differentiated_in("float32", CPU) is pair[0] and pair[0].notes == ()


@pytest.mark.parametrize(("has", "note"), [(True, precision.NOTE), (False, "gradients are computed in bf16, scores in float32; this device has no bf16 arithmetic, so float32 may cost less")])
def test_the_note_says_where_it_may_not_pay(has, note, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True, "avx512_bf16": has, "amx_bf16": False}, raising=False)
    assert precision.note(CPU) == note and precision.has_bf16(torch.device("meta"))


def test_evaluate_takes_it_and_the_module_is_never_changed(make_images):
    images, model = make_images(8, 16, 16), network()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    arguments = (model, images.pixels, images.labels.tolist(), [{"kind": "pgd", "steps": 2}])
    full, half = redteam.evaluate(*arguments), redteam.evaluate(*arguments, gradient_dtype="bf16")
    clean = [[row.outcome["score"] for row in found.records if row.attack == "identity"] for found in (full, half)]
    assert clean[0] == clean[1] and precision.NOTE in half.notes[0] + half.notes[1] and precision.NOTE not in " ".join(full.notes)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items()) and model[0].weight.is_contiguous()
    assert half.summary["targets"][0]["notes"] == half.notes[:2] and redteam.evaluate(*arguments, prepare="off").summary["targets"][0]["notes"] == []
