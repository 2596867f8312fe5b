"""The user's detector as it is declared: polarity, shape, threshold, access and mode."""

from __future__ import annotations

import math
import re
import warnings

import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from safetensors.torch import save_file
from torch import nn

from redteam.attacks.pgd import PGD
from redteam.objective import BOTH
from redteam.target import Access, AccessError
from redteam.targets.adapted import ROWS_SUM_TO_ONE, Output
from redteam.targets.preprocessing import Input, ResizeStep
from redteam.targets.python import PythonTarget

CPU = torch.device("cpu")


def spec(folder, factory="mine.py:build", **changes):
    return PythonTarget(**{"factory": factory, "output": Output(type="logit"), "folder": folder, **changes})


def test_a_module_is_loaded_in_eval_mode_without_parameter_gradients(folder, make_images):
    save_file({"fc.weight": torch.tensor([[1.0, 2.0, 3.0]]), "fc.bias": torch.tensor([-3.0])}, folder / "w.safetensors")
    declared = TypeAdapter(PythonTarget).validate_python({"factory": "mine.py:build", "output": {"type": "logit"}, "args": {"scale": 2.0}, "weights": {"path": folder / "w.safetensors"}, "folder": folder})
    target = declared.load("mine", CPU)
    images = make_images(3)
    want = 2 * (images.pixels.mean((2, 3)) @ torch.tensor([1.0, 2.0, 3.0]) - 3)
    assert torch.allclose(target.respond(images.pixels), want, atol=1e-5)
    assert (target.access, target.notes) == (Access.GRADIENTS, ())
    assert BOTH.on(target, images).gradient(images.pixels).abs().min() > 0


def test_a_callable_gives_scores_and_refuses_a_gradient(folder, make_images):
    target = spec(folder, "mine.py:plain").load("mine", CPU)
    images = make_images(3)
    assert target.access is Access.SCORES
    assert torch.allclose(target.respond(images.pixels), images.pixels.mean((1, 2, 3)))
    with pytest.raises(AccessError, match="^mine gives scores; a gradient needs gradients$"):
        BOTH.on(target, images).gradient(images.pixels)
    assert spec(folder, "mine.py:plain", access="decisions").load("mine", CPU).access is Access.DECISIONS


def test_a_callable_that_claims_gradients_is_booked_as_broken(folder, make_images, run_cell):
    target = spec(folder, "mine.py:plain", access="gradients").load("mine", CPU).with_threshold(0.5)
    arms = run_cell(target, PGD(steps=2), make_images(12))
    assert arms.flags()["R1"].severity == "invalid"


SHAPES = [(lambda z: z, "(n, 1)"), (lambda z: z[:, 0], "(n,)"), (lambda z: z.squeeze(), "squeezed"), (lambda z: z[..., None, None], "(n, 1, 1, 1)"), (lambda z: z.double().numpy(), "numpy"), (lambda z: z[:, 0].tolist(), "list")]


@pytest.mark.parametrize(("end", "shape"), SHAPES, ids=[name for _, name in SHAPES])
@pytest.mark.parametrize("n", [1, 4])
def test_one_number_an_image_may_come_in_any_shape(end, shape, n, adapted, head, make_images):
    pixels = make_images(n).pixels
    scores = adapted(head(end, 10), "logit").respond(pixels)
    assert torch.allclose(scores, (pixels.mean((1, 2, 3)) - 0.5) * 10, atol=1e-5)


@pytest.mark.parametrize("n", [1, 2, 4])
@pytest.mark.parametrize("squeeze", [False, True])
def test_two_logits_are_their_difference(n, squeeze, adapted, head, make_images):
    pixels = make_images(n).pixels
    model = head(lambda z: z.squeeze() if squeeze else z, 10, classes=2)
    want = (pixels.mean((1, 2, 3)) - 0.5) * 10
    assert torch.allclose(adapted(model, "logits2").respond(pixels), want, atol=1e-5)
    assert torch.allclose(adapted(model, "logits2", fake_index=0).respond(pixels), -want, atol=1e-5)


@pytest.mark.parametrize("type_", ["logit", "prob"])
def test_a_high_number_that_means_real_is_turned_round(type_, adapted, head, grey_images):
    clean = grey_images(20)
    detector = adapted(head(lambda z: torch.sigmoid(-z) if type_ == "prob" else -z, 10), type_, positive="real")
    detector.inspect(clean.pixels)
    assert torch.allclose(detector.respond(clean.pixels), (clean.pixels.mean((1, 2, 3)) - 0.5) * 10, atol=1e-4)


WRONG = [
    ("logit", lambda z: torch.cat([z, z], 1), {}, "output type logit must be one number an image, got (3, 2) for 3 images; two numbers are logits2 or probs2, a mapping needs key"),
    ("prob", lambda z: z.mean(), {}, "output type prob must be one number an image, got () for 3 images; two numbers are logits2 or probs2, a mapping needs key"),
    ("logits2", lambda z: z, {}, "output type logits2 must be two numbers an image, got (3, 1) for 3 images; one number is logit or prob"),
    ("logits2", lambda z: torch.cat([z, z], 1).T, {}, "output type logits2 must be two numbers an image, got (2, 3) for 3 images; one number is logit or prob"),
    ("logit", lambda z: {"score": z}, {}, "output must say by key where the numbers are, got a dict of 'score'"),
    ("logit", lambda z: (z, z), {}, "output must say by key where the numbers are, got a tuple of 2 items"),
    ("logit", lambda z: {"score": z, "mask": z}, {"key": "logits"}, "output has no key 'logits', got a dict of 'score', 'mask'"),
    ("logit", lambda z: (z, z), {"key": 2}, "output has no key 2, got a tuple of 2 items"),
]


@pytest.mark.parametrize(("type_", "end", "stanza", "message"), WRONG)
def test_another_output_than_declared_is_said_in_full(type_, end, stanza, message, adapted, head, make_images):
    with pytest.raises(ValueError, match=f"^{re.escape('mine: ' + message)}$"):
        adapted(head(end), type_, **stanza).respond(make_images(3).pixels)


def test_logits_declared_as_a_probability_are_refused_when_the_target_is_looked_at(adapted, head, make_images):
    message = r"^mine: output type prob must lie in \[0, 1\], got \[-2.69, -1.436\]; log-odds are logit or logits2$"
    with pytest.raises(ValueError, match=message):
        adapted(head(lambda z: z + 3), "prob").inspect(make_images(3).pixels)


def test_probabilities_declared_as_two_logits_are_noted(adapted, head, grey_images, run_cell):
    clean = grey_images()
    detector = adapted(head(lambda z: z.softmax(1), classes=2), "logits2")
    detector.inspect(clean.pixels)
    assert detector.notes == (ROWS_SUM_TO_ONE,)
    raised = run_cell(detector, PGD(steps=1), clean).flags({"notes": detector.notes})["R4"]
    assert (raised.severity, raised.detail[:63]) == ("invalid", "The output is declared two logits, but on clean images they are")


@pytest.mark.parametrize(("stanza", "value", "log_odds"), [({"type": "logit"}, 1.5, 1.5), ({"type": "prob"}, 0.9, math.log(9)), ({"type": "prob", "positive": "real"}, 0.9, -math.log(9)), ({"type": "logit", "positive": "real"}, 1.5, -1.5)])
def test_a_fixed_threshold_is_on_the_detector_s_own_scale(stanza, value, log_odds, folder):
    assert spec(folder, output=Output(**stanza)).own_scale(value) == pytest.approx(log_odds)


def test_a_threshold_outside_a_probability_is_refused(folder):
    with pytest.raises(ValueError, match=re.escape("threshold: fixed must lie in (0, 1) for prob, got 1.0")):
        spec(folder, output=Output(type="prob")).own_scale(1.0)


def test_parts_of_max_batch_give_the_same_scores(adapted, head, make_images):
    sizes = []
    model = head(lambda z: sizes.append(len(z)) or z)
    pixels = make_images(5).pixels
    scores = adapted(model, "logit", input=Input(max_batch=2)).respond(pixels)
    assert sizes == [2, 2, 1]
    assert torch.equal(scores, adapted(head(lambda z: z), "logit").respond(pixels))


def test_in_place_models_work_in_parts_too(adapted, make_images):
    images = make_images(4)
    target = adapted(lambda x: x.sub_(0.5).mean((1, 2, 3)), "logit", input=Input(max_batch=3))
    assert BOTH.on(target, images).gradient(images.pixels).abs().min() > 0


def test_the_declared_input_is_what_the_model_sees(adapted, make_images):
    seen = []
    given = Input(resize=ResizeStep(size=6), channels="bgr", range=(0, 255), layout="nhwc")
    adapted(lambda x: seen.append(x) or x.mean((1, 2, 3)), "logit", input=given).respond(make_images(2).pixels)
    assert seen[0].shape == (2, 6, 6, 3)
    assert seen[0].max() > 1


def test_the_same_model_can_be_fed_another_range_and_keeps_the_rest(adapted, make_images):
    pixels = make_images(3).pixels
    target = adapted(lambda x: x.mean((1, 2, 3)), "logit").with_threshold(0.7).wrapped(lambda x: x * 0.5, "dark")
    fed = target.fed_as((0.0, 255.0))
    assert torch.allclose(fed.respond(pixels), target.respond(pixels) * 255)
    assert (fed.threshold, fed.input_range, target.input_range) == (0.7, (0.0, 255.0), (0.0, 1.0))


class Stateful(nn.Module):
    """A network with dropout and batch statistics; `stubborn` ignores eval()."""

    def __init__(self, stubborn: bool = False) -> None:
        super().__init__()
        self.stubborn = stubborn
        self.net = nn.Sequential(nn.BatchNorm2d(3), nn.Dropout(0.5), nn.Flatten(), nn.LazyLinear(1))

    def train(self, mode: bool = True):
        return super().train(mode or self.stubborn)

    def forward(self, x):
        return self.net(x)


@pytest.mark.parametrize(
    ("mode", "stubborn", "note"),
    [
        ("eval", False, "the factory returned the module in train mode; it was put in eval mode (declare `mode: train` if it is published so)"),
        ("train", False, "model_in_train_mode: the scenario declares mode train, so dropout and batch statistics are live and a score may depend on its neighbours"),
        ("eval", True, "model_in_train_mode: the module stays in train mode although eval() was called; scores may vary from call to call"),
    ],
)
def test_a_module_in_train_mode_is_named(mode, stubborn, note, folder, monkeypatch, make_images):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # lazy modules are new in every release
        model = Stateful(stubborn)
        with torch.no_grad():
            model(make_images(2).pixels)
    monkeypatch.setattr("redteam.targets.python.load_factory", lambda address, folder: lambda: model)
    target = spec(folder, mode=mode).load("mine", CPU)
    assert target.notes[-1] == note
    assert model.training == (mode == "train" or stubborn)


def test_torchscript_loads(folder, make_images):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch announces the end of TorchScript
        torch.jit.save(torch.jit.script(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 1))), folder / "m.ts")
        (folder / "scripted.py").write_text("import torch\ndef build(path):\n    return torch.jit.load(path)\n")
        target = spec(folder, "scripted.py:build", args={"path": str(folder / "m.ts")}).load("mine", CPU)
    images = make_images(2)
    assert BOTH.on(target, images).gradient(images.pixels).abs().max() > 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"factory": "mine.py:nothing"}, "mine: factory mine.py:nothing must return a module or a callable, got int"),
        ({"factory": "mine.py:plain", "weights": {"path": "w.pt"}}, "mine: weights need a module to load into, but factory mine.py:plain returned a function"),
    ],
)
def test_a_factory_that_returns_something_else_is_said_in_full(changes, message, folder):
    declared = TypeAdapter(PythonTarget).validate_python({"output": {"type": "logit"}, "folder": folder, **changes})
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        declared.load("mine", CPU)


@pytest.mark.parametrize("given", [{"factory": "no_colon"}, {"factory": "a:b", "output": {"type": "mask"}}, {"factory": "a:b", "output": {"type": "probs2", "positive": "real"}}, {"factory": "a:b; import os"}])
def test_a_declaration_that_cannot_be_is_refused(given):
    with pytest.raises(ValidationError):
        TypeAdapter(PythonTarget).validate_python({"output": {"type": "logit"}, **given})


def test_the_fingerprint_follows_code_and_weights(folder):
    save_file({"fc.weight": torch.zeros(1, 3), "fc.bias": torch.zeros(1)}, folder / "w.safetensors")
    declared = TypeAdapter(PythonTarget).validate_python({"factory": "mine.py:build", "output": {"type": "logit"}, "folder": folder, "weights": {"path": folder / "w.safetensors"}})
    before = declared.fingerprint()
    (folder / "mine.py").write_text((folder / "mine.py").read_text() + "\n# changed\n")
    after = declared.fingerprint()
    assert before["factory"] != after["factory"] and before["weights"] == after["weights"]
