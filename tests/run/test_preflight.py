"""The look before a run: each target that is broken on purpose is refused with its sentence and its line, and a good one passes."""

from __future__ import annotations

import re
import time

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import roc_auc_score

from redteam.run import examiner, preflight
from redteam.run.errors import Missing, Refused
from redteam.run.examination import PER_CLASS, examine, spread
from redteam.run.ledger import RunDir
from redteam.scenario.errors import ScenarioError
from redteam.scenario.load import load
from redteam.scenario.plan import Options


@pytest.fixture
def forked(lab, monkeypatch):
    """Examiners are forked and not started: all of the real code but the imports."""
    monkeypatch.setattr("redteam.run.worker.main", examiner.main)
    monkeypatch.setattr(preflight, "_Examiner", lab.worker)
    return lab


@pytest.fixture
def bright(forked):
    """Twelve images of each class that brightness tells apart, the steepness turned down so that nothing is certain."""
    forked.both(12)
    return forked


def looked_at(lab, *targets, **changes):
    """What the look at some targets found, the first of them under the id t0."""
    declared = [{"id": f"t{i}", **target} for i, target in enumerate(targets)]
    return preflight.check(lab.write(targets=declared, **changes), Options())


def said(checked, code):
    """The one problem of that code."""
    (problem,) = [problem for problem in checked.problems if problem.code == code]
    return problem


def python(lab, source, type="logit", **more):
    """A target of the user's own source, which must define build()."""
    (lab.folder / "mine.py").write_text(f"import time\nimport torch\nfrom torch import nn\n\n{source}\n")
    return {"kind": "python", "factory": "mine.py:build", "output": {"type": type, **more.pop("output", {})}, **more}


JPEG = [{"id": "jpeg", "kind": "jpeg"}]
BRIGHT = "def build():\n    class M(nn.Module):\n        def forward(self, x):\n            return {}\n    return M()"


def test_a_good_target_is_ready_and_its_figures_are_those_of_its_scores(bright):
    checked = looked_at(bright, {"kind": "brightness", "scale": 100})
    assert (checked.ready, checked.problems, [report["verdict"] for report in checked.targets]) == (True, [], ["ready"])
    (report,) = checked.targets
    (data,) = report["data"]
    means = {label: [np.asarray(Image.open(path), dtype=np.float64).mean() / 255 for path in sorted((bright.folder / "data" / label).glob("*.png"))] for label in ("real", "fake")}
    scores = 100 * (np.array(means["real"] + means["fake"]) - 0.5)
    labels = [0] * 12 + [1] * 12
    assert data["metrics"]["auc"]["value"] == pytest.approx(roc_auc_score(labels, scores))
    assert data["metrics"]["tpr"]["value"] == pytest.approx(np.mean(scores[12:] > 0))
    assert data["metrics"]["fpr"]["value"] == pytest.approx(np.mean(scores[:12] > 0))
    found = data["scores"]
    assert (found["low"], found["high"], found["median"]) == (pytest.approx(scores.min(), abs=1e-3), pytest.approx(scores.max(), abs=1e-3), pytest.approx(np.median(scores), abs=1e-3))
    assert (found["distinct"], found["saturated"]) == (24, 0.0)
    assert data["repeat"] == {"n": 24, "largest_change": 0.0, "decisions_changed": 0}
    assert data["gradient"] == {"n": 24, "broken": 0, "zero": 0}
    assert data["latency_ms"]["score"] > 0 and data["latency_ms"]["gradient"] > 0
    assert (data["files"], data["lost"], report["access"], report["how"]) == (None, 0, "gradients", "default")


BROKEN = {  # fault: code, sentence
    "polarity": ("RT402", r"On clean images real ones score above fake ones \(AUC 0\.00, 95 % interval 0\.00 to 0\.\d+\): the polarity is wrong\. Set output\.positive or output\.fake_index\."),
    "nan": ("RT404", r"The score of 24 of 24 clean images is not a finite number \(unscoreable: the target gave nan\)\."),
    "no_gradient": ("RT407", r"The gradient was absent or not finite on 24 of 24 images, .* Let gradients through the target, or declare access: scores\."),
    "zero_gradient": ("RT407", r"The gradient was zero at the start, or the attack changed no pixel, on 24 of 24 images: .*"),
    "random": ("RT408", r"Asked twice about the same file in another batch, the target changed \d+ of 24 decisions .*\. It is random, or an image's score depends on its batch\."),
    "neighbours": ("RT408", r"Asked twice about the same file in another batch, the target changed \d+ of 24 decisions .*"),
    "probability": ("RT409", r"The output is declared a logit, but all 24 clean scores lie in \[0, 1\]: this looks like a probability\. Declare output: \{type: prob\}, .*"),
    "raise": ("RT401", r"24 of 24 clean images have no answer \(RuntimeError: broken on purpose\); limits\.max_error_rate allows 0\.01\."),
    "crash": ("RT401", r"t0 cannot be run: its process ended \(exit status 134\) while clean images are scored"),
    "hang": ("RT401", r"t0 cannot be run: no sign of life for 0\.8 s while clean images are scored"),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_target_that_is_broken_on_purpose_is_refused_at_its_line(fault, bright):
    code, sentence = BROKEN[fault]
    checked = looked_at(bright, {"kind": "broken", "fault": fault, "scale": 20}, limits={"sample_timeout_s": 0.05} if fault == "hang" else {})
    errors = [problem for problem in checked.problems if problem.severity == "error"]
    assert [problem.code for problem in errors] == ([code] if fault != "probability" else ["RT407", code])  # it saturates too
    assert re.fullmatch(sentence, errors[-1].message), errors[-1].message
    assert errors[0].path == "targets.0" and "id: t0" in errors[0].source and errors[0].mark.line == 1 + (bright.folder / "s.yaml").read_text().split("\n").index("- id: t0")
    assert (checked.ready, checked.missing, checked.targets[0]["verdict"]) == (False, False, "refused")


def test_hard_labels_and_written_input_are_warnings(bright):
    checked = looked_at(bright, {"kind": "broken", "fault": "mutate"})
    assert (checked.ready, said(checked, "RT403").severity) == (True, "warning")
    hard = looked_at(bright, {"kind": "broken", "fault": "hard_labels", "access": "scores"}, attacks=JPEG)
    assert said(hard, "RT410").message.startswith("The target gave only 2 distinct scores on 24 clean images")
    assert hard.targets[0]["verdict"] == "warned"


def test_one_score_for_all_is_refused_and_its_other_faults_are_not_listed(bright):
    checked = looked_at(bright, {"kind": "constant", "score": 3})
    assert [(problem.code, problem.message) for problem in checked.problems] == [
        ("RT405", "All 24 clean images got the same score, 3: the target does not look at them, or its weights are not loaded.")
    ]


def test_one_broken_target_does_not_keep_the_others_from_being_looked_at(bright):
    checked = looked_at(bright, {"kind": "broken", "fault": "crash"}, {"kind": "brightness"}, {"kind": "broken", "fault": "polarity"})
    assert [report["verdict"] for report in checked.targets] == ["refused", "ready", "refused"]
    assert [(problem.code, problem.path) for problem in checked.problems] == [("RT401", "targets.0"), ("RT402", "targets.2")]


def test_a_crash_while_loading_says_what_was_printed_last(bright):
    target = python(bright, "import os\ndef build():\n    print('no licence for this library', flush=True)\n    os._exit(3)")
    assert said(looked_at(bright, target), "RT401").message == "t0 cannot be run: its process ended (exit status 3; it last printed 'no licence for this library') while the target is loaded"


def test_a_hang_while_loading_is_noticed(bright, monkeypatch):
    monkeypatch.setattr(preflight, "LOADING_S", 1.5)
    target = python(bright, "def build():\n    time.sleep(1e6)")
    started = time.monotonic()
    assert said(looked_at(bright, target), "RT401").message == "t0 cannot be run: no sign of life for 1.5 s while the target is loaded"
    assert time.monotonic() - started < 60


def test_a_factory_that_raises_is_a_sentence(bright):
    message = said(looked_at(bright, python(bright, "def build():\n    raise KeyError('backbone')")), "RT401").message
    assert message == "t0 could not be prepared: KeyError: 'backbone'"


def test_weights_that_are_not_there_are_missing_and_not_wrong(bright):
    checked = looked_at(bright, python(bright, BRIGHT.format("x.mean((1, 2, 3))"), weights={"path": "w.safetensors"}), {"kind": "brightness"})
    assert said(checked, "RT401").message == f"weights: {bright.folder}/w.safetensors does not exist; the path is relative to the scenario"
    assert (checked.missing, [report["verdict"] for report in checked.targets]) == (True, ["missing", "ready"])
    assert not looked_at(bright, python(bright, BRIGHT.format("x"), weights={"path": "w.safetensors"}), {"kind": "constant"}).missing


def test_weights_that_do_not_fit_are_refused_with_what_differs(bright):
    torch.save({"state_dict": {"module.weight": torch.zeros(1, 2), "module.bias": torch.zeros(1)}}, bright.folder / "w.pth")
    target = python(bright, "def build():\n    return nn.Linear(3, 1)", weights={"path": "w.pth"})
    assert said(looked_at(bright, target), "RT401").message == (
        "t0 could not be prepared: ValueError: weights: w.pth (taken from 'state_dict', 'module.' stripped from every name) does not fit the module: "
        "0 missing; 0 unexpected; 1 of another shape (weight (1, 2) instead of (1, 3))"
    )


def test_what_was_stripped_from_weights_is_shown(bright):
    torch.save({"state_dict": {"module.scale": torch.tensor(60.0)}}, bright.folder / "w.pth")
    source = "class M(nn.Module):\n    def __init__(self):\n        super().__init__()\n        self.scale = nn.Parameter(torch.tensor(0.0))\n    def forward(self, x):\n        return (x.mean((1, 2, 3)) - 0.47) * self.scale\ndef build():\n    return M()"
    checked = looked_at(bright, python(bright, source, weights={"path": "w.pth"}))
    assert checked.ready and checked.targets[0]["notes"] == ["weights from w.pth: taken from 'state_dict'; 'module.' stripped from every name"]


def test_another_input_range_that_fits_better_is_refused_at_the_input(bright):
    checked = looked_at(bright, python(bright, BRIGHT.format("x.mean((1, 2, 3)) - 120"), input={"max_batch": 8}))
    problem = said(checked, "RT403")
    assert (problem.severity, problem.path) == ("error", "targets.0.t0.input")
    assert problem.message.startswith("Fed [0, 255] the network is right about clean images with accuracy 0.92, as declared with 0.50: input.range looks wrong.")


def test_a_module_that_stays_in_train_mode_is_refused_and_a_declared_one_is_warned_of(bright):
    source = "class M(nn.Module):\n    def __init__(self):\n        super().__init__()\n        self.drop = nn.Dropout(0.0)\n    def train(self, mode=True):\n        return super().train({})\n    def forward(self, x):\n        return (x.mean((1, 2, 3)) - 0.47) * 60\ndef build():\n    return M()"
    stubborn = said(looked_at(bright, python(bright, source.format("True"))), "RT406")
    assert (stubborn.severity, stubborn.message) == (
        "error",
        "The module stays in train mode although eval() was called; scores may vary from call to call. Let eval() through, or declare mode: train if it is published so.",
    )
    declared = looked_at(bright, python(bright, source.format("mode"), mode="train"))
    assert declared.ready and said(declared, "RT408").path == "targets.0.t0.mode"


def test_a_probability_that_saturates_is_seen_in_the_range_of_its_scores(bright):
    target = python(bright, BRIGHT.format("1 / (1 + torch.exp(-(x.mean((1, 2, 3)) - 0.47) * 4000))"), "prob")
    checked = looked_at(bright, target)
    assert checked.targets[0]["data"][0]["scores"]["saturated"] > 0.5
    assert {(problem.code, problem.severity) for problem in checked.problems} == {("RT407", "error"), ("RT410", "warning")}  # few scores are left


def test_a_target_without_gradients_is_not_asked_for_any(bright):
    checked = looked_at(bright, {"kind": "broken", "fault": "no_gradient", "access": "scores"}, attacks=JPEG)
    assert checked.ready and checked.targets[0]["data"][0]["gradient"] is None
    assert "gradient" not in checked.targets[0]["data"][0]["latency_ms"]


def test_a_coin_is_warned_of_and_too_few_images_are_not_judged(forked):
    forked.pictures("real", [100, 140] * 6)
    forked.pictures("fake", [101, 139] * 6)
    coin = looked_at(forked, {"kind": "brightness"})
    assert said(coin, "RT411").message.startswith("On clean images AUC is 0.50 (95 % interval 0.2") and coin.ready
    few = looked_at(forked, {"kind": "broken", "fault": "polarity"}, data={"eval": {"kind": "folder", "path": "data", "limit": 8}})
    assert few.ready and said(few, "RT411").path == "data.eval"
    assert said(few, "RT411").message == "There is no AUC on clean images (4 groups with label 0, fewer than 10), so polarity is not judged."


def test_the_threshold_is_the_one_that_the_run_would_calibrate(bright):
    for label in ("real", "fake"):
        (bright.folder / "calib" / label).mkdir(parents=True)
    for i, level in enumerate(range(60, 100)):
        Image.new("RGB", (32, 32), (level,) * 3).save(bright.folder / "calib" / "real" / f"{i}.png")
    Image.new("RGB", (32, 32), (200,) * 3).save(bright.folder / "calib" / "fake" / "0.png")
    target = {"kind": "brightness", "scale": 255, "at": 0.5, "threshold": {"at_fpr": 0.05, "on": "calib"}}
    checked = looked_at(bright, target, data={"eval": {"kind": "folder", "path": "data"}, "calib": {"kind": "folder", "path": "calib"}})
    report = checked.targets[0]
    assert report["threshold"] == pytest.approx(97.5 - 127.5, abs=0.01) and (report["how"], report["at_fpr"], report["negatives"]) == ("at_fpr", 0.05, 40)
    assert [(problem.code, problem.path) for problem in checked.problems] == [("RT412", "targets.0.t0.threshold")] * 2
    assert checked.problems[0].message.startswith("A false-positive rate of 5 % is not resolvable from 40 calibration images of label 0; it takes 60.")
    assert checked.problems[1].message == "At its threshold the target is right about only 0 % of clean real images; what it gets wrong already cannot be attacked."


def test_files_that_tell_the_classes_apart_are_named_at_the_corpus(forked):
    forked.both(16)
    for path in (forked.folder / "data" / "real").glob("*.png"):
        Image.open(path).save(path.with_suffix(".jpg"), quality=90)
        path.unlink()
    checked = looked_at(forked, {"kind": "brightness", "scale": 100})
    problem = said(checked, "RT333")
    assert checked.ready and (problem.severity, problem.path) == ("warning", "data.eval")
    assert "JPEG" in checked.targets[0]["data"][0]["files"] and "PNG" in checked.targets[0]["data"][0]["files"]


def test_corpora_are_looked_at_one_by_one_and_named_where_they_differ(bright):
    other = bright.folder / "other"
    for label, mean in (("real", 140), ("fake", 100)):
        (other / label).mkdir(parents=True)
        for i in range(12):
            Image.new("RGB", (32, 32), (mean + i,) * 3).save(other / label / f"{i}.png")
    data = {"eval": [{"id": "one", "kind": "folder", "path": "data"}, {"id": "two", "kind": "folder", "path": "other"}]}
    checked = looked_at(bright, {"kind": "brightness"}, data=data)
    assert [row["id"] for row in checked.targets[0]["data"]] == ["one", "two"]
    assert said(checked, "RT402").message.startswith("on two: On clean images real ones score above fake ones")
    both = looked_at(bright, {"kind": "constant"}, data=data)
    assert said(both, "RT405").message.startswith("All 24 clean images got the same score")


def test_a_sample_is_spread_evenly_over_each_class(bright):
    bright.pictures("real", range(60, 160), prefix="more")
    scenario, _ = load(bright.write())
    samples = list(scenario.data["eval"][0].corpus.samples())
    chosen = spread(samples, PER_CLASS)
    assert [sum(s.label == label for s in chosen) for label in (0, 1)] == [32, 12]
    reals = [s for s in samples if s.label == 0]
    places = np.array([reals.index(s) for s in chosen if s.label == 0])
    assert places[0] == 0 and places[-1] >= 112 - 4 and set(np.diff(places)) == {3, 4}
    assert chosen == [s for s in samples if s in chosen]


def test_what_cannot_be_checked_at_all_is_refused_as_in_a_run(bright):
    with pytest.raises(ScenarioError, match="RT109"):
        preflight.check(bright.write(targets=[{"id": "t", "kind": "nothing"}]), Options())
    fine = bright.write(targets=[{"id": "t", "kind": "brightness"}])
    with pytest.raises(Refused, match="--device abacus: torch knows no such device"):
        preflight.check(fine, Options(device="abacus"))
    with pytest.raises(Missing, match="--device cuda:9: torch cannot use it here"):
        preflight.check(fine, Options(device="cuda:9"))


def test_a_started_examiner_finds_what_stands_beside_the_scenario_and_reads_no_commands(lab):
    """The real process: user code that imports its neighbour, prints, and reads standard input."""
    lab.both(12)
    (lab.folder / "neighbour.py").write_text("GAIN = 60\n")
    source = "import sys\nfrom neighbour import GAIN\nprint('loud', sys.stdin.read())\nclass M(nn.Module):\n    def forward(self, x):\n        return (x.mean((1, 2, 3)) - 0.47) * GAIN\ndef build():\n    return M()"
    told = []
    checked = preflight.check(lab.write(targets=[{"id": "t0", **python(lab, source)}]), Options(), told.append)
    assert (checked.problems, told, checked.targets[0]["verdict"]) == ([], ["t0"], "ready")


def test_nothing_is_left_behind(bright, tmp_path, monkeypatch):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    before = sorted(path.name for path in bright.folder.iterdir() if path.name not in ("s.yaml", "scratch"))
    looked_at(bright, {"kind": "brightness"})
    assert list(scratch.iterdir()) == []
    assert sorted(path.name for path in bright.folder.iterdir() if path.name not in ("s.yaml", "scratch")) == before


def test_the_report_of_an_examination_is_made_in_this_process_too(bright, tmp_path):
    scenario, _ = load(bright.write(targets=[{"id": "t0", "kind": "brightness"}]))
    stages = []
    RunDir(tmp_path / "look").create()
    found = examine(scenario, "t0", Options(), lambda batch=None, image=None, *, stage=None: stages.append(stage), tmp_path / "look")
    assert found["data"][0]["n"] == 24 and [stage for stage in stages if stage] == ["clean images are scored", "gradients are asked for", "the target is timed"]

