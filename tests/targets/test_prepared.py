"""A module is prepared on a copy, held against itself on clean images, and used only where it answers the same."""

from __future__ import annotations

import copy
import random
import re
from dataclasses import replace

import pytest
import torch
from torch import nn

from redteam.objective import BOTH
from redteam.run import preparing
from redteam.target import Threshold
from redteam.targets import prepared
from redteam.targets.adapted import Output
from redteam.targets.given import GivenTarget
from redteam.targets.prepared import Check
from redteam.targets.python import PythonTarget

CPU = torch.device("cpu")


class Net(nn.Module):
    """Two convolutions with norms; `tail` turns maps (n, 4, h, w) into one logit an image."""

    def __init__(self, tail=lambda x: 40 * x.mean((1, 2, 3))) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3, bias=False), nn.BatchNorm2d(4))
        for norm in (self.body[1], self.body[4]):
            norm.running_mean.normal_()
            norm.running_var.uniform_(0.5, 2)
        self.tail = tail

    def forward(self, x):
        return self.tail(self.body(x))


@pytest.fixture
def looked_at(make_images):
    """A module as a target that has seen clean images."""

    def look(model, n=16, **fields):
        if isinstance(model, nn.Module):
            model.eval()
        target = GivenTarget(model=model, **{"output": Output(type="logit"), **fields}).load("mine", CPU)
        target.inspect(make_images(n, 12, 12).pixels)
        return target

    return look


SAME = r"prepared: 2 of 2 batch norms folded, channels-last; on 16 clean images scores differ by at most \de-\d\d from those of the module as it is \([\de.-]+ allowed\), and decisions are the same"


def test_a_module_is_folded_and_reordered_and_gives_the_same_scores_and_gradients(looked_at, make_images):
    target, plain, images = looked_at(Net()), looked_at(Net(), prepare="off"), make_images(5, 12, 12, seed=3)
    assert re.fullmatch(SAME, target.notes[0]) and plain.notes == () == plain.checks
    (check,) = target.checks
    assert check.passed and 0 < check.difference < check.allowed == pytest.approx(1e-4 * plain.respond(make_images(16, 12, 12).pixels).abs().max().item())
    assert torch.allclose(target.respond(images.pixels), plain.respond(images.pixels), rtol=1e-5, atol=1e-5)
    gradients = [BOTH.on(each, images).gradient(images.pixels) for each in (target, plain)]
    assert torch.allclose(*gradients, rtol=1e-4, atol=1e-6) and gradients[0].abs().max() > 0


def test_the_module_itself_is_never_touched(looked_at):
    model = Net()
    before = copy.deepcopy(model.state_dict())
    parts = [(name, type(part), dict(part._forward_hooks), dict(part._forward_pre_hooks)) for name, part in model.named_modules()]
    looked_at(model)
    assert all(torch.equal(model.state_dict()[name], tensor) for name, tensor in before.items()) and model.state_dict().keys() == before.keys()
    assert [(name, type(part), dict(part._forward_hooks), dict(part._forward_pre_hooks)) for name, part in model.named_modules()] == parts
    assert model.body[0].weight.is_contiguous() and not model.body[0].weight.is_contiguous(memory_format=torch.channels_last)


def test_a_python_target_is_prepared_when_it_is_looked_at(folder, make_images):
    (folder / "net.py").write_text(
        "from torch import nn\n"
        "def build():\n"
        "    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 1))\n"
    )  # fmt: skip
    target = PythonTarget(factory="net.py:build", output=Output(type="logit"), folder=folder).load("mine", CPU)
    target.inspect(make_images(4).pixels)
    assert [note[:57] for note in target.notes] == ["the factory returned the module in train mode; it was put", "prepared: 1 of 1 batch norms folded, channels-last; on 4 "]


def test_the_check_is_in_the_facts_of_the_preparation_and_the_switch_in_the_lock(looked_at):
    target, spec = looked_at(Net()), GivenTarget(model=Net(), output=Output(type="logit"))
    (fact,) = preparing.facts(target, spec, lambda: iter(()), lambda: iter(()), probe_range=False)["prepared"]
    assert fact["steps"] == ("2 of 2 batch norms folded", "channels-last") and fact["passed"] and fact["images"] == 16 and fact["decisions_changed"] == 0
    assert {"prepare": "auto", "gradient_dtype": "float32"}.items() <= spec.params().items()


def test_a_probability_is_prepared_behind_its_sigmoid(looked_at):
    net = Net()
    target = looked_at(Net(lambda x: net.tail(x).sigmoid()), output=Output(type="prob"))
    assert target.notes[0].startswith("the final activation was taken off") and re.fullmatch(SAME, target.notes[1])


def test_another_score_or_decision_keeps_the_module_as_it_is(looked_at, make_images, monkeypatch):
    honest = prepared.fold

    def wrong(model):
        found = honest(model)
        model.body[0].bias.data += 0.5
        return found

    monkeypatch.setattr(prepared, "fold", wrong)
    monkeypatch.setattr(prepared, "_reorderable", lambda model: [])
    target = looked_at(Net())
    pattern = r"not prepared: with 2 of 2 batch norms folded, on 16 clean images scores differ by at most [\d.e+-]+ from those of the module as it is \([\de.-]+ allowed\) and \d+ decisions change; the module runs as it is"
    assert re.fullmatch(pattern, target.notes[0])
    pixels = make_images(3, 12, 12).pixels
    assert torch.equal(target.respond(pixels), looked_at(Net(), prepare="off").respond(pixels))


def test_decisions_are_compared_at_a_fixed_threshold(looked_at, make_images, monkeypatch):
    middle = looked_at(Net(), prepare="off").respond(make_images(16, 12, 12).pixels).median().item()
    seen = []
    checked = prepared._checked
    monkeypatch.setattr(prepared, "_checked", lambda candidate, check, probe, want: seen.append(probe.at) or checked(candidate, check, probe, want))
    looked_at(Net(), threshold=Threshold(fixed=middle))
    looked_at(Net())
    assert seen == [middle, 0.0]


def test_a_check_passes_only_with_the_same_decisions():
    check = Check(("channels-last",), images=4, difference=1e-6, allowed=1e-4)
    assert check.passed and not replace(check, decisions_changed=1).passed and not replace(check, difference=1e-3).passed and not replace(check, problem="it raises").passed


def test_a_module_that_takes_one_memory_layout_only_is_still_folded(looked_at):
    target = looked_at(Net(lambda x: x.view(len(x), -1).mean(1)))
    assert target.checks[0].steps == ("2 of 2 batch norms folded",) and target.checks[0].passed


def test_what_cannot_be_folded_is_said_with_its_reason(looked_at):
    model = Net()
    model.body[0].register_forward_hook(lambda module, args, output: output)
    (check,) = looked_at(model).checks
    assert check.steps == ("channels-last",) and check.passed
    assert check.sentence().endswith("and decisions are the same; 2 of 2 batch norms stay, since it has hooks")


class Guarded(Net):
    """Code that looks at its input before the network does."""

    def forward(self, x):
        if x.dim() == 3:
            x = x[None]
        return super().forward(x)


def test_code_that_looks_at_its_input_does_not_keep_its_parts_from_being_folded(looked_at):
    (check,) = looked_at(Guarded()).checks
    assert check.passed and check.steps == ("2 of 2 batch norms folded", "channels-last") and not check.left


def test_a_random_module_is_left_as_it_is(looked_at):
    generator = random.Random(0)
    target = looked_at(Net(lambda x: 40 * x.mean((1, 2, 3)) + generator.random()))
    assert target.notes == ("not prepared: its scores change from call to call",)


def test_a_module_that_raises_on_a_clean_image_is_left_to_those_who_score_it(looked_at):
    def tail(x):
        if len(x) > 8:
            raise OSError("no licence\nserver")
        return x.mean((1, 2, 3))

    assert looked_at(Net(tail)).notes == ("not prepared: on clean images it raises OSError: no licence",)


def test_a_module_that_cannot_be_copied_runs_as_it_is(looked_at):
    model = Net()
    model.lock = (i for i in ())
    assert looked_at(model).notes == ("not prepared: it cannot be copied (TypeError: cannot pickle 'generator' object)",)


def test_scores_that_are_not_numbers_stay_so(looked_at):
    def tail(x):
        scores = 40 * x.mean((1, 2, 3))
        return scores.masked_fill(torch.arange(len(x)) == 1, torch.nan).masked_fill(torch.arange(len(x)) == 2, torch.inf)

    assert looked_at(Net(tail)).checks[0].passed


def test_instance_norms_keep_the_memory_layout(looked_at):
    assert looked_at(nn.Sequential(nn.Conv2d(3, 4, 3), nn.InstanceNorm2d(4), nn.Flatten(), nn.Linear(400, 1))).notes == ()


@pytest.mark.parametrize("make", [lambda: nn.Sequential(nn.Flatten(), nn.Linear(432, 1)), lambda: torch.jit.trace(Net().eval(), torch.rand(1, 3, 12, 12)), lambda: lambda x: x.mean((1, 2, 3))], ids=["linear", "TorchScript", "callable"])
@pytest.mark.filterwarnings("ignore::FutureWarning")  # torch announces the end of TorchScript
def test_there_is_nothing_to_prepare_in(make, looked_at):
    assert looked_at(make()).notes == ()


def test_a_module_in_train_mode_is_left_as_it_is(folder, make_images, monkeypatch):
    monkeypatch.setattr("redteam.targets.python.load_factory", lambda address, folder: Net)
    target = PythonTarget(factory="net.py:build", output=Output(type="logit"), folder=folder, mode="train").load("mine", CPU)
    target.inspect(make_images(4, 12, 12).pixels)
    assert target.checks == ()


def test_it_is_compiled_where_the_user_asks(looked_at, make_images, monkeypatch):
    compile = torch.compile
    monkeypatch.setattr(torch, "compile", lambda model: compile(model, backend="eager"))  # as it is, without a C++ compiler
    target, plain, images = looked_at(Net(), prepare="compile"), looked_at(Net(), prepare="off"), make_images(16, 12, 12)
    assert target.checks[0].steps == ("2 of 2 batch norms folded", "channels-last", "compiled") and target.checks[0].passed
    gradients = [BOTH.on(each, images).gradient(images.pixels) for each in (target, plain)]
    assert torch.allclose(*gradients, rtol=1e-4, atol=1e-6)


def test_a_compiler_that_fails_is_named_and_the_rest_of_the_preparation_stays(looked_at, monkeypatch):
    def compile(model):
        def run(x):
            raise RuntimeError("no C++ compiler\nin sight")

        return run

    monkeypatch.setattr(torch, "compile", compile)
    target = looked_at(Net(), prepare="compile")
    assert re.fullmatch(SAME + re.escape("; it cannot be compiled (RuntimeError: no C++ compiler)"), target.notes[0]) and target.checks[0].passed
    alone = looked_at(nn.Sequential(nn.Flatten(), nn.Linear(432, 1)), prepare="compile")
    assert alone.notes == ("not prepared: it cannot be compiled (RuntimeError: no C++ compiler)",)
