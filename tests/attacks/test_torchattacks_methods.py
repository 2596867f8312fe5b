"""Which classes of the library run here, why the others do not, and what their arguments must be."""

from __future__ import annotations

import re
import sys

import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from torch import nn

from redteam.attacks import torchattacks_methods
from redteam.attacks.torchattacks_adapter import TorchAttacks
from redteam.attacks.torchattacks_methods import METHODS, REFUSED, arguments, canonical, library

torchattacks = library()

REASONS = {
    "APGDT": "its targeted DLR loss reads the third and the fourth largest logit, and a target here has two; use APGD, which on two classes has no other class to aim at",
    "AutoAttack": "each of its versions contains APGDT or the DLR loss, which need three or four classes, and a target here has two; list APGD, FAB and Square, and the report takes the worst case over them",
    "Jitter": "it divides the logits by the largest of them, and of two logits only a sign is left, whose gradient is zero; use PGD",
    "LGV": "it trains copies of the model on its training data, and an attack here sees answers, never weights; use a surrogate instead",
    "MultiAttack": "it takes attack objects, which a scenario does not hold; list the attacks, and the report takes the worst case over them",
}


def exactly(message: str) -> str:
    return f"^{re.escape(message)}$"


def test_every_class_of_the_library_is_accepted_or_refused():
    assert sorted([*METHODS, *REFUSED]) == sorted(torchattacks.__all__)


@pytest.mark.parametrize("method", sorted(REFUSED))
def test_a_refused_method_says_why(method):
    with pytest.raises(ValueError, match=exactly(f"{method} of torchattacks does not run here: {REASONS[method]}")):
        TorchAttacks(method=method)


class Two(nn.Module):
    """A one-logit network as two opposite logits."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3 * 64, generator=torch.Generator().manual_seed(0)))

    def forward(self, pixels):
        z = (pixels - 0.5).flatten(1) @ self.weight
        return torch.stack([-z / 2, z / 2], 1)


@pytest.fixture
def two_classes(make_images):
    model, pixels = Two(), make_images(8, low=60, high=190).pixels
    return model, pixels, model(pixels).argmax(1)


BREAKS = {  # the reasons are true: what the library does with two logits, where images survive
    "APGDT": (lambda model: torchattacks.APGDT(model, eps=1e-4, n_classes=2), IndexError, "index -3 is out of bounds"),
    "AutoAttack": (lambda model: torchattacks.AutoAttack(model, eps=1e-4, n_classes=2, seed=0), IndexError, "index -3 is out of bounds"),
    "AutoAttack rand": (lambda model: torchattacks.AutoAttack(model, eps=1e-4, n_classes=2, seed=0, version="rand"), IndexError, "index -3 is out of bounds"),
    "APGD dlr": (lambda model: torchattacks.APGD(model, loss="dlr"), IndexError, "index -3 is out of bounds"),
    "UPGD dlr": (lambda model: torchattacks.UPGD(model, loss="dlr"), IndexError, "index -3 is out of bounds"),
    "FAB L1": (lambda model: torchattacks.FAB(model, norm="L1"), UnboundLocalError, "'res'"),
    "EADL1 of 9 iterations": (lambda model: torchattacks.EADL1(model, max_iterations=9), ZeroDivisionError, "modulo by zero"),
    "JSMA unaimed": (lambda model: torchattacks.JSMA(model), IndexError, "index 2 is out of bounds"),
}


@pytest.mark.parametrize("case", BREAKS)
def test_the_library_breaks_on_two_classes_as_the_reason_says(case, two_classes):
    build, error, text = BREAKS[case]
    model, pixels, labels = two_classes
    with torch.random.fork_rng(), pytest.raises(error, match=text):
        torch.manual_seed(0)
        build(model)(pixels[labels == 1], labels[labels == 1])


def test_jitter_finds_nothing_where_pgd_fools_every_image(two_classes):
    model, pixels, labels = two_classes
    jitter = torchattacks.Jitter(model, eps=8 / 255, std=0, random_start=False)
    pgd = torchattacks.PGD(model, eps=8 / 255, random_start=False)
    assert (model(jitter(pixels, labels)).argmax(1) == labels).all()
    assert (model(pgd(pixels, labels)).argmax(1) != labels).all()


ARGUMENTS = [
    ("PGD", {"step": 4}, "unknown argument 'step' of PGD; did you mean 'steps'?"),
    ("PGD", {"zzz": 4}, "unknown argument 'zzz' of PGD; it takes alpha, steps, random_start"),
    ("VANILA", {"steps": 4}, "unknown argument 'steps' of VANILA; it takes none"),
    ("PGD", {"eps": 0.1}, "PGD must not be given eps: the radius stands beside method, where it can be swept; write eps: 8/255 there"),
    ("PIFGSM", {"max_epsilon": 0.1}, "PIFGSM must not be given max_epsilon: the radius stands beside method, where it can be swept; write eps: 8/255 there"),
    ("Square", {"seed": 1}, "Square must not be given seed: randomness comes from the scenario's seed and the image; delete it"),
    ("APGD", {"verbose": True}, "APGD must not be given verbose: a run shows its own progress; delete it"),
    ("FAB", {"n_classes": 10}, "FAB must not be given n_classes: a target here has two classes; delete it"),
    ("PIFGSMPP", {"prob": 0.5}, "PIFGSMPP must not be given prob: torchattacks 3.5.1 does not use it; delete it"),
    ("APGD", {"loss": "dlr"}, "loss of APGD must not be dlr: the DLR loss divides by the distance to the third largest logit, and a target here has two; use ce"),
    ("UPGD", {"loss": "dlr"}, "loss of UPGD must not be dlr: the DLR loss divides by the distance to the third largest logit, and a target here has two; use ce"),
    ("FAB", {"norm": "L1"}, "norm of FAB must not be L1: torchattacks 3.5.1 raises an error at its end; use Linf or L2"),
    ("Square", {"norm": "linf"}, "norm of Square must be Linf or L2, got 'linf'"),
    ("PGD", {"steps": 0}, "steps of PGD must be an integer >= 1, got 0"),
    ("PGD", {"steps": True}, "steps of PGD must be an integer >= 1, got True"),
    ("PGD", {"steps": {"sweep": [1, 2]}}, "steps of PGD must be an integer >= 1, got {'sweep': [1, 2]}"),
    ("EADEN", {"max_iterations": 9}, "max_iterations of EADEN must be an integer >= 10, got 9"),
    ("PGD", {"alpha": "2/0"}, "alpha of PGD must be a number >= 0, got '2/0'"),
    ("PGD", {"alpha": -0.1}, "alpha of PGD must be a number >= 0, got -0.1"),
    ("CW", {"c": True}, "c of CW must be a number >= 0, got True"),
    ("JSMA", {"theta": "x"}, "theta of JSMA must be a number, got 'x'"),
    ("PGD", {"random_start": 1}, "random_start of PGD must be true or false, got 1"),
    ("Pixle", {"x_dimensions": [10, 2]}, "x_dimensions of Pixle must be two pixel counts or two shares of the image in (0, 1], the smaller first, got [10, 2]"),
]


@pytest.mark.parametrize(("method", "given", "message"), ARGUMENTS, ids=[f"{method}-{next(iter(given))}-{next(iter(given.values()))}" for method, given, _ in ARGUMENTS])
def test_a_wrong_argument_is_named_with_its_repair(method, given, message):
    with pytest.raises(ValueError, match=exactly(message)):
        TorchAttacks(method=method, args=given)


@pytest.mark.parametrize(("entry", "place"), [({"method": "LGV"}, ("method",)), ({"method": "PGD", "args": {"step": 1}}, ("args",)), ({"method": "CW", "eps": 0.1}, ())])
def test_a_complaint_lands_where_its_cause_stands(entry, place):
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(TorchAttacks).validate_python(entry)
    assert [error["loc"] for error in caught.value.errors()] == [place]


def test_arguments_are_those_of_the_class_with_its_defaults():
    assert arguments("PGD", {"alpha": "2/255", "steps": 4}) == {"alpha": 2 / 255, "steps": 4, "random_start": True}
    assert arguments("CW", {"c": 0.5})["c"] == 0.5
    assert arguments("JSMA", {"theta": -1})["theta"] == -1
    assert arguments("Pixle", {})["x_dimensions"] == [2, 10]


@pytest.mark.parametrize(("written", "meant"), [("pgd", "PGD"), ("Deepfool", "DeepFool"), ("ONEPIXEL", "OnePixel")])
def test_a_method_is_found_in_any_case(written, meant):
    assert canonical(written) == meant


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("PGDL3", "torchattacks has no attack 'PGDL3'; did you mean 'PGDL2'?"),
        ("qqqqqqq", f"torchattacks has no attack 'qqqqqqq'; there are {', '.join(METHODS)}"),
    ],
)
def test_a_method_that_does_not_exist_is_named_with_the_nearest(written, message):
    with pytest.raises(ValueError, match=exactly(message)):
        canonical(written)


def test_a_missing_library_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchattacks", None)
    message = (
        "torchattacks is not installed; pip install 'redteam[torchattacks]', or, where its requests~=2.25.1 or its robustbench folder would be in the way, "
        "pip install --no-deps torchattacks==3.5.1"
    )
    with pytest.raises(ValueError, match=exactly(message)):
        torchattacks_methods.library.__wrapped__()


def test_another_release_of_the_library_is_refused(monkeypatch):
    monkeypatch.setattr(torchattacks, "__version__", "4.0")
    with pytest.raises(ValueError, match=exactly("torchattacks must be 3.5.1, got 4.0; pip install torchattacks==3.5.1")):
        torchattacks_methods.library.__wrapped__()
