"""The final sigmoid or softmax comes off, however a module applies it; where it does not, the report says so and the cell is invalid."""

from __future__ import annotations

import math
import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from redteam.attacks.pgd import PGD
from redteam.targets.activation import inverse_sigmoid, softmax_log_odds
from redteam.targets.adapted import NONE_FOUND, NOT_LAST, TAKEN_OFF


class Gate(nn.Module):
    """Squeeze-and-excitation with a sigmoid in the middle of the network, then `end`."""

    def __init__(self, end):
        super().__init__()
        self.end = end

    def forward(self, x):
        gate = torch.sigmoid(x.mean((2, 3), keepdim=True) * 3)
        return self.end(((x * gate).mean((1, 2, 3)) - 0.311)[:, None] * 200)


class InPlace(nn.Module):
    """Applies torch's sigmoid to its own logits, which it then returns."""

    def forward(self, x):
        z = (x.mean((1, 2, 3)) - 0.5) * 200
        z.sigmoid_()
        return z


def by_hand(z):
    return 1 / (1 + torch.exp(-z))


TAKEN = {  # ending: type, output stanza, what the module does with its logits, number of classes
    "nn.Sigmoid last in a Sequential": ("prob", {}, nn.Sequential(nn.Identity(), nn.Sigmoid()), 1),
    "torch.sigmoid": ("prob", {}, torch.sigmoid, 1),
    "method, squeezed": ("prob", {}, lambda z: z.sigmoid().squeeze(1), 1),
    "special.expit": ("prob", {}, torch.special.expit, 1),
    "F.softmax, one column": ("prob", {}, lambda z: F.softmax(z, dim=1)[:, 1], 2),
    "nn.Softmax": ("probs2", {}, nn.Softmax(dim=1), 2),
    "softmax, positional dim": ("probs2", {}, lambda z: torch.softmax(z, 1), 2),
    "method, last dim": ("probs2", {}, lambda z: z.softmax(-1), 2),
    "fake is class 0": ("probs2", {"fake_index": 0}, lambda z: torch.softmax(-z, 1), 2),
    "in a mapping": ("prob", {"key": "p"}, lambda z: {"features": z, "p": z.sigmoid()}, 1),
    "in a tuple": ("probs2", {"key": 1}, lambda z: (z, z.softmax(1)), 2),
    "an auxiliary head runs later": ("prob", {"key": "p"}, lambda z: {"p": z.sigmoid(), "aux": (z * 0.3 + 1).sigmoid()}, 1),
    "high means real": ("prob", {"positive": "real"}, lambda z: torch.sigmoid(-z), 1),
    "one minus": ("prob", {}, lambda z: 1 - torch.sigmoid(-z), 1),
    "clamped": ("prob", {}, lambda z: torch.sigmoid(z).clamp(1e-6, 1 - 1e-6), 1),
    "clipped by function": ("prob", {}, lambda z: torch.clip(input=torch.sigmoid(z), min=1e-7, max=1 - 1e-7), 1),
}
KEPT = {
    "written by hand": ("prob", {}, by_hand, 1, NONE_FOUND),
    "a power follows": ("prob", {}, lambda z: torch.sigmoid(z) ** 2, 1, NOT_LAST),
    "a mean of two follows": ("prob", {}, lambda z: (torch.sigmoid(z) + torch.sigmoid(z + 8)) / 2, 1, NOT_LAST),
}


def check_same_and_alive(detector, clean, probability):
    """The probability is the one that the module gave, the decision too, and the gradient lives where the probability is 0 or 1."""
    assert detector.notes == (TAKEN_OFF,)
    pixels = clean.pixels.clone().requires_grad_(True)
    scores = detector.respond(pixels)
    assert torch.allclose(scores.sigmoid(), probability, atol=1e-4)
    assert scores.abs().max() > 20  # beyond what a probability in float32 can hold
    gradient = torch.autograd.grad(scores.sum(), pixels)[0].flatten(1).abs().sum(1)
    assert (gradient > 1).all()


@pytest.mark.parametrize("name", TAKEN)
def test_it_comes_off_and_the_probabilities_stay(name, adapted, head, grey_images):
    type_, stanza, end, classes = TAKEN[name]
    clean = grey_images(40, step=2)
    detector = adapted(head(end, 400, classes), type_, **stanza)
    inverted = adapted(head(end, 400, classes), type_, **stanza)  # never inspected, so it inverts
    detector.inspect(clean.pixels)
    check_same_and_alive(detector, clean, inverted.respond(clean.pixels).sigmoid())
    assert torch.equal(detector.decide(detector.respond(clean.pixels)), clean.labels)


@pytest.mark.parametrize("model", [Gate(torch.sigmoid), InPlace()], ids=["also in the middle", "in place"])
def test_other_ways_through_a_network_make_no_difference(model, adapted, grey_images):
    clean = grey_images(60)
    detector, inverted = adapted(model, "prob"), adapted(model, "prob")
    detector.inspect(clean.pixels)
    check_same_and_alive(detector, clean, inverted.respond(clean.pixels).sigmoid())


@pytest.mark.parametrize("name", KEPT)
def test_where_it_cannot_come_off_a_note_says_so(name, adapted, head, grey_images):
    type_, stanza, end, classes, note = KEPT[name]
    detector = adapted(head(end, 400, classes), type_, **stanza)
    clean = grey_images(40, step=2)
    detector.inspect(clean.pixels)
    assert detector.notes == (note,)
    assert detector.respond(clean.pixels).abs().max() < 17


def test_two_saturated_answers_do_not_pass_for_the_same_function(adapted, head):
    """Probabilities of exactly 0 and 1 fit many log-odds: the gentle logits tell them apart."""
    detector = adapted(head(lambda z: torch.sigmoid(z) ** 2, 1e4), "prob")
    pixels = torch.cat([torch.full((3, 3, 4, 4), 0.1), torch.full((3, 3, 4, 4), 0.9)])
    detector.inspect(pixels)
    assert detector.notes == (NOT_LAST,)


def test_a_sigmoid_in_the_middle_is_not_mistaken_for_the_last_step(adapted, grey_images):
    detector = adapted(Gate(by_hand), "prob")
    detector.inspect(grey_images(60).pixels)
    assert detector.notes == (NOT_LAST,)


def test_torchscript_hides_its_sigmoid_and_says_so(adapted, grey_images):
    clean = grey_images(40, step=2)
    module = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 1), nn.Sigmoid()).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch announces the end of TorchScript
        scripted = torch.jit.script(module)
    detector = adapted(scripted, "prob")
    detector.inspect(clean.pixels)
    assert detector.notes in ((NONE_FOUND,), (TAKEN_OFF,))
    assert torch.allclose(detector.respond(clean.pixels).sigmoid(), module(clean.pixels)[:, 0], atol=1e-4)


def test_logits_are_left_alone(adapted, head, grey_images):
    clean = grey_images(8)
    for type_, end, classes in (("logit", lambda z: z, 1), ("logits2", lambda z: z, 2)):
        detector = adapted(head(end, 400, classes), type_)
        detector.inspect(clean.pixels)
        assert detector.notes == ()
        assert torch.allclose(detector.respond(clean.pixels), (clean.pixels.mean((1, 2, 3)) - 0.5) * 400, atol=1e-4)


def test_copies_made_before_the_inspection_profit_from_it(adapted, head, grey_images):
    clean = grey_images(40, step=2)
    first = adapted(head(torch.sigmoid, 400), "prob")
    copy = first.with_threshold(1.0).wrapped(lambda x: x, "nothing")
    copy.inspect(clean.pixels)
    assert first.respond(clean.pixels).abs().max() > 20
    assert copy.respond(clean.pixels).abs().max() > 20


def test_a_saturated_probability_falls_to_pgd(adapted, head, grey_images, run_cell):
    clean = grey_images(24, step=2)
    detector = adapted(head(torch.sigmoid, 4000), "prob")
    detector.inspect(clean.pixels)
    arms = run_cell(detector, PGD(eps=32 / 255, steps=5), clean)
    assert all(row.outcome["success"] for row in arms.rows)
    assert "R2" not in arms.flags({"declared_logit": False}) and "R4" not in arms.flags({"declared_logit": False})


@pytest.mark.parametrize(("type_", "end", "flag"), [("prob", by_hand, "R2"), ("logit", torch.sigmoid, "R4")])
def test_where_the_saturation_stays_the_cell_is_invalid(type_, end, flag, adapted, head, grey_images, run_cell):
    """Judged on its numbers alone this detector withstands everything."""
    clean = grey_images(24, step=2)
    detector = adapted(head(end, 20000), type_).with_threshold(0.0 if type_ == "prob" else 0.5)
    detector.inspect(clean.pixels)
    arms = run_cell(detector, PGD(eps=2 / 255, steps=5), clean)
    assert not any(row.outcome["success"] for row in arms.rows[2:])
    raised = arms.flags({"declared_logit": type_ == "logit", "notes": detector.notes})
    assert raised[flag].severity == "invalid"


def test_softmax_log_odds_are_the_log_of_the_odds():
    logits = torch.randn(5, 7, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 3
    for dim in (1, -1, 0):
        p = logits.softmax(dim)
        assert torch.allclose(softmax_log_odds(logits, dim), torch.log(p / (1 - p)), atol=1e-10)
    far = torch.tensor([[300.0, -300.0, -300.0]], requires_grad=True)
    assert softmax_log_odds(far, 1).tolist()[0][0] == pytest.approx(600 - math.log(2))
    assert torch.autograd.grad(softmax_log_odds(far, 1)[0, 0], far)[0].flatten().tolist() == pytest.approx([1.0, -0.5, -0.5], rel=1e-5)


def test_the_inverse_of_a_sigmoid_is_finite_everywhere_and_exact_in_the_middle():
    p = torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0])
    z = inverse_sigmoid(p)
    assert z.isfinite().all()
    assert torch.allclose(z[1:4], torch.log(p / (1 - p))[1:4])
    assert (z[0].item(), z[4].item()) == (pytest.approx(-16.6355, abs=1e-3), pytest.approx(16.6355, abs=1e-3))
