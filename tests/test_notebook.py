"""redteam.evaluate: what it takes, what it gives, what it refuses, and that it leaves everything as it was."""

from __future__ import annotations

import gc
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import redteam
from redteam.notebook import EvaluationError
from redteam.record import Record

N = 24


@pytest.fixture
def images() -> torch.Tensor:
    """Noise around a brightness that tells the labels apart, on the 8-bit grid."""
    generator = torch.Generator().manual_seed(0)
    levels = torch.randint(-20, 21, (N, 3, 16, 16), generator=generator) + torch.tensor([100, 150])[torch.arange(N) % 2].view(-1, 1, 1, 1)
    return levels.float() / 255


@pytest.fixture
def labels() -> list[int]:
    return [i % 2 for i in range(N)]


class Net(nn.Module):
    """Brightness as a logit, behind parts that train mode changes."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.drop, self.scale = nn.BatchNorm2d(3), nn.Dropout(0.5), nn.Parameter(torch.tensor(60.0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (self.drop(self.norm(x)).mean((1, 2, 3)) - 0.49) * self.scale


def test_it_gives_records_figures_a_table_and_a_report(images, labels, tmp_path):
    found = redteam.evaluate(Net(), images, labels, [{"kind": "pgd", "steps": 3, "eps": "32/255"}, {"kind": "jpeg", "quality": {"sweep": [90, 50]}}])
    assert {type(row) for row in found.records} == {Record} and len(found.records) == N * 5
    assert [cell["label"] for cell in found.summary["cells"]] == ["identity", "noise eps=0.1255", "pgd eps=0.1255", "jpeg quality=90", "jpeg quality=50"]
    auc = {cell["label"]: cell["metrics"]["auc"]["value"] for cell in found.summary["cells"]}
    assert auc["identity"] == 1.0 and auc["pgd eps=0.1255"] < auc["noise eps=0.1255"]
    assert repr(found) == "Evaluation of 24 images under pgd eps=0.1255, jpeg quality=90, jpeg quality=50; print(evaluation.table()) shows the figures"
    assert "images / model / none" in found.table() and "  pgd, eps" in found.table() and "gates" not in found.table()
    assert found.report(tmp_path) == tmp_path / "report.html" and "pgd, eps" in (tmp_path / "report.html").read_text()
    assert found.report(tmp_path / "mine.html").is_file()
    html = found._repr_html_()
    assert html.startswith("<table>") and ">pgd, eps" in html and "<style" not in html and "<script" not in html


def scores(found, attack: str = "identity") -> list[float]:
    return [row.outcome["score"] for row in found.records if row.attack == attack]


def test_images_may_come_in_every_usual_form(images, labels, tmp_path):
    from PIL import Image

    levels = (images * 255).round().to(torch.uint8)
    arrays = levels.permute(0, 2, 3, 1).numpy()
    pictures = [Image.fromarray(array) for array in arrays]
    paths = [tmp_path / f"{i}.png" for i in range(N)]
    for picture, path in zip(pictures, paths, strict=True):
        picture.save(path)
    wanted = scores(redteam.evaluate(Net().eval(), images, labels, []))
    for form in (levels, arrays, arrays / np.float64(255), list(images), pictures, paths, [str(path) for path in paths]):
        assert scores(redteam.evaluate(Net().eval(), form, labels, [])) == wanted
    assert scores(redteam.evaluate(Net().eval(), images, torch.tensor(labels).bool(), [])) == wanted


def test_the_module_is_given_back_as_it_was(images, labels):
    net = Net()
    net.drop.eval()
    net.norm.weight.requires_grad_(False)
    net.scale.grad = torch.tensor(7.0)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    found = redteam.evaluate(net, images, labels, [{"kind": "pgd", "steps": 2}])
    assert (net.training, net.norm.training, net.drop.training) == (True, True, False)
    assert [parameter.requires_grad for parameter in net.parameters()] == [True, False, True] and net.scale.grad == 7.0
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    assert not net._forward_hooks and not net._forward_pre_hooks
    assert found.notes == ["the module was in train mode; while it was evaluated it was in eval mode"]


def test_it_is_given_back_when_something_goes_wrong(images, labels):
    class Fails(Net):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("out of luck")

    net = Fails()
    with pytest.raises(EvaluationError, match="^model could not be prepared: RuntimeError: out of luck$"):
        redteam.evaluate(net, images, labels)
    assert net.training and net.scale.requires_grad


def test_no_random_generator_and_no_switch_is_touched(images, labels):
    def noisy(x: torch.Tensor) -> torch.Tensor:
        random.random(), np.random.rand(), torch.rand(1)  # noqa: NPY002 - a model may
        return x.mean((1, 2, 3)) * 60 - 29

    random.seed(1), np.random.seed(1), torch.manual_seed(1)  # noqa: NPY002
    states = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # noqa: NPY002
    switches = torch.get_deterministic_debug_mode(), torch.is_grad_enabled(), torch.get_num_threads(), torch.get_default_dtype()
    redteam.evaluate(noisy, images, labels, ["jpeg"])
    assert (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()) == states  # noqa: NPY002
    assert (torch.get_deterministic_debug_mode(), torch.is_grad_enabled(), torch.get_num_threads(), torch.get_default_dtype()) == switches


def test_where_it_is_called_does_not_matter(images, labels):
    attacks = [{"kind": "pgd", "steps": 2}]
    net = Net()
    wanted = scores(redteam.evaluate(net, images, labels, attacks), "pgd")
    with torch.no_grad():
        assert scores(redteam.evaluate(net, images, labels, attacks), "pgd") == wanted
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        assert scores(redteam.evaluate(net, images.clone(), labels, attacks), "pgd") == wanted
        assert torch.is_inference_mode_enabled() and torch.is_autocast_enabled("cpu")


def test_a_callable_gives_scores_and_no_gradients(images, labels):
    with pytest.raises(EvaluationError, match="evaluate: RT301 attacks.0: pgd needs gradients but target 'model' gives scores"):
        redteam.evaluate(lambda x: x.mean((1, 2, 3)) * 60 - 29, images, labels, ["pgd"], access="scores")
    found = redteam.evaluate(lambda x: x.mean((1, 2, 3)) * 60 - 29, images, labels, ["jpeg"])
    assert found.summary["targets"][0]["access"] == "scores"


def test_polarity_threshold_and_defenses_are_those_of_a_scenario(images, labels):
    plain = redteam.evaluate(Net().eval(), images, labels, ["jpeg"], defenses=["none", {"kind": "jpeg", "quality": 60}])
    assert [(d["id"], d["params"].get("quality")) for d in plain.summary["defenses"]] == [("none", None), ("jpeg", 60)]
    turned = redteam.evaluate(lambda x: torch.sigmoid(29 - 60 * x.mean((1, 2, 3))), images, labels, [], output={"type": "prob", "positive": "real"}, threshold=0.5)
    assert turned.summary["thresholds"][0]["how"] == "fixed" and {row.outcome["decision"] == row.label for row in turned.records} == {True}
    calibrated = redteam.evaluate(Net().eval(), images[:16], labels[:16], [], threshold={"at_fpr": 0.25}, calib=(images[16:], labels[16:]))
    assert calibrated.summary["thresholds"][0] | {"value": None} == {"target": "model", "defense": "none", "value": None, "how": "at_fpr", "negatives": 4, "at_fpr": 0.25}


def test_groups_are_the_sources_that_intervals_know(images, labels):
    found = redteam.evaluate(Net().eval(), images, labels, ["jpeg"], groups=[i // 12 for i in range(N)])
    assert {cell["verdict"] for cell in found.summary["cells"]} == {"unresolvable"}
    assert {row.group for row in found.records} == {"0", "1"}


def test_masks_reach_the_images(images, labels):
    masks = torch.zeros(N, 1, 16, 16)
    masks[1::2, :, :8] = 1
    found = redteam.evaluate(Net().eval(), images, labels, ["jpeg"], masks=masks)
    assert found.records


def test_an_image_that_cannot_be_read_costs_its_row_and_is_said(images, labels, tmp_path):
    found = redteam.evaluate(Net().eval(), [*images[1:], tmp_path / "absent.png"], [*labels[1:], 1], ["jpeg"])
    assert [row.status for row in found.records].count("error") == 2
    assert found.notes[-1] == "1 of 24 rows of images model none: identity have no outcome; the records say why under reason"
    assert found.notes[-1] in found.table() and "have no outcome" in found._repr_html_()


def test_a_run_directory_keeps_everything(images, labels, tmp_path):
    found = redteam.evaluate(Net().eval(), images, labels, ["jpeg"], run_dir=tmp_path / "runs" / "one")
    kept = {"run.json", "scenario.lock.json", "env.json", "plan.jsonl", "units", "results.jsonl", "artifacts", "summary.json", "gates.json", "junit.xml", "report.html", "report.md", "report.csv"}
    assert kept <= {path.name for path in found.path.iterdir()} and found.path == tmp_path / "runs" / "one"
    with pytest.raises(EvaluationError, match="^run_dir .*one: exists and is not empty; name a new folder$"):
        redteam.evaluate(Net().eval(), images, labels, ["jpeg"], run_dir=found.path)


def test_the_command_line_reads_it_and_says_why_it_cannot_go_on(images, labels, tmp_path):
    from click.testing import CliRunner

    from redteam.cli import main

    redteam.evaluate(Net().eval(), images, labels, ["jpeg"], run_dir=tmp_path / "one")
    assert CliRunner().invoke(main, ["report", str(tmp_path / "one"), "--format", "md"]).exit_code == 0
    result = CliRunner().invoke(main, ["resume", str(tmp_path / "one")])
    assert result.exit_code == 2 and result.stderr == f"{tmp_path}/one was made by redteam.evaluate(...), whose model and images are not kept; call it again\n"


def test_a_temporary_directory_goes_with_the_result(images, labels, monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    found = redteam.evaluate(Net().eval(), images, labels, ["jpeg"])
    assert found.path.parent == tmp_path and found.path.is_dir()
    del found
    gc.collect()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(EvaluationError):
        redteam.evaluate(lambda x: 1 / 0, images, labels, ["jpeg"])
    assert list(tmp_path.iterdir()) == []


def test_progress_is_told(images, labels):
    told = []
    redteam.evaluate(Net().eval(), images, labels, ["jpeg"], progress=lambda done, total: told.append((done, total)))
    assert told == [(0, 3), (1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"attacks": [{"kind": "pgd", "epsilon": 1}]}, "evaluate: RT102 attacks.0.pgd: unknown key 'epsilon'; did you mean 'eps'?"),
        ({"attacks": ["pdg"]}, "evaluate: RT109 attacks.0.pdg.kind: unknown attack 'pdg'; did you mean 'pgd'?"),
        ({"attacks": "pgd"}, "attacks must be a list, got str; write attacks=['pgd']"),
        ({"attacks": [3]}, "attacks must hold kinds and mappings, got int; write 'pgd' or {'kind': 'pgd', 'eps': '4/255'}"),
        ({"attacks": [{"kind": "pgd", "eps": {1, 2}}]}, "attacks must hold texts, numbers, lists and mappings, got set"),
        ({"defenses": ["jepg"]}, "evaluate: RT109 defenses.0.jepg.kind: unknown defense 'jepg'; did you mean 'jpeg'?"),
        ({"output": "logits"}, "evaluate: RT104 targets.0.model.output.type: must be 'logit', 'prob', 'logits2' or 'probs2', got 'logits'; did you mean 'logits2'?"),
        ({"input": {"men": [1]}}, "evaluate: RT102 targets.0.model.input: unknown key 'men'; did you mean 'mean'?"),
        ({"threshold": {"at_fpr": 0.1}}, "evaluate: RT305 targets.0.model.threshold: a threshold at a false-positive rate needs calibration data"),
        ({"calib": (torch.zeros(1, 3, 8, 8), [0])}, "calib has no use without a threshold that is set on it; give threshold={'at_fpr': 0.05}, or leave calib out"),
        ({"seed": -1}, "seed must be an integer in [0, 2^63), got -1"),
        ({"model": 3}, "model must be a module or a callable, got int"),
        ({"labels": [0, 1]}, "labels must be as many as images, 24, got 2"),
        ({"labels": [2] * N}, "labels[0] must be 0 (real) or 1 (fake), got 2"),
        ({"groups": ["a"]}, "groups must be as many as images, 24, got 1"),
        ({"ids": ["a"] * N}, "ids must be unique: an image's randomness and its records hang on its id"),
        ({"images": torch.zeros(N, 8, 8, 3)}, "images[0] must be (3, h, w), as tensors are, got (8, 8, 3)"),
        ({"images": np.zeros((N, 3, 8, 8), np.uint8)}, "images[0] must be (h, w, 3), as arrays are, got (3, 8, 8)"),
        ({"images": torch.full((N, 3, 8, 8), 200.0)}, "images[0] must be uint8, or lie in [0, 1], got torch.float32 in [200, 200]; what your network is fed stands under input, since attacks move pixels"),
        ({"images": []}, "images must hold at least one image, got none"),
        ({"masks": torch.zeros(N, 1, 4, 4)}, "masks[0] must be as large as its image, (16, 16), got (4, 4)"),
        ({"threshold": {"at_fpr": 0.1}, "calib": "same"}, "data.calib: 24 images of images are in eval too"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_one_clear_sentence(images, labels, changes, sentence):
    asked = {"model": Net().eval(), "images": images, "labels": labels} | changes
    if asked.get("calib") == "same":
        asked["calib"] = (images, labels)
    with pytest.raises(EvaluationError) as caught:
        redteam.evaluate(**asked)
    assert str(caught.value).startswith(sentence)
    assert caught.value.__cause__ is None


def test_a_bug_keeps_its_own_error(images, labels, monkeypatch):
    monkeypatch.setattr("redteam.run.inline.finalise", lambda *_: int("x"))
    with pytest.raises(ValueError, match="invalid literal") as caught:
        redteam.evaluate(Net().eval(), images, labels, ["jpeg"])
    assert not isinstance(caught.value, EvaluationError)


def test_importing_redteam_stays_light():
    script = "import sys, redteam\nprint(sorted({'torch', 'numpy', 'pydantic', 'rich', 'yaml'} & set(sys.modules)), hasattr(redteam, 'evalute'))"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=Path(redteam.__file__).parent.parent).stdout == "[] False\n"
