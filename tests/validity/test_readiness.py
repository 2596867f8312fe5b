"""Complaints before a run: each red flag has its place in the scenario, and a sentence keeps its figures."""

from __future__ import annotations

import torch

from redteam.attacks.identity import Identity
from redteam.scenario.errors import CODES
from redteam.target import Detector
from redteam.targets.fakes import Brightness
from redteam.validity.flags import CHECKS
from redteam.validity.readiness import FLAGS, of_corpus, of_target

CPU = torch.device("cpu")


def test_every_red_flag_has_a_code_and_a_place():
    assert {check.__doc__.partition(":")[0] for check in CHECKS} == FLAGS.keys() | {"R18"}  # validate says that one of the data, with or without a target
    assert {code for code, _ in FLAGS.values()} <= CODES.keys()


def looked_at(target, images, run_cell, most=0.01, **view):
    return of_corpus(run_cell(target, Identity(), images).view(**view), None, most)


def test_a_healthy_target_raises_no_complaint(grey_images, run_cell):
    assert looked_at(Brightness().load("mine", CPU), grey_images(), run_cell, clean={"auc": {"value": 1.0, "low": 0.9, "high": 1.0}}) == []


def test_few_scores_that_are_not_numbers_are_a_warning_and_many_an_error(grey_images, run_cell):
    def nan_above(brightness):
        return Detector("mine", lambda pixels: torch.where(pixels.mean((1, 2, 3)) > brightness, torch.nan, (pixels.mean((1, 2, 3)) - 0.5) * 50), Brightness().gives())

    images, clean = grey_images(24), {"auc": {"value": 1.0, "low": 0.9, "high": 1.0}}
    for brightness, n, severity in ((0.54, 2, "warning"), (0.52, 7, "error")):
        (found,) = looked_at(nan_above(brightness), images, run_cell, clean=clean)
        assert (found.code, found.severity) == ("RT404", severity)
        assert found.message == f"The score of {n} of 24 clean images is not a finite number (unscoreable: the target gave nan)."


def test_a_recall_that_is_surely_below_half_is_named_with_its_class(grey_images, run_cell):
    clean = {"auc": {"value": 0.9, "low": 0.8, "high": 1.0}, "tpr": {"value": 0.1, "low": 0.0, "high": 0.4}, "fpr": {"value": 0.8, "low": 0.6, "high": 0.9}}
    found = looked_at(Brightness().load("mine", CPU), grey_images(), run_cell, clean=clean)
    assert [(one.code, one.about, one.message[:77]) for one in found] == [
        ("RT412", "threshold", "At its threshold the target is right about only 10 % of clean fake images; wh"),
        ("RT412", "threshold", "At its threshold the target is right about only 20 % of clean real images; wh"),
    ]
    unsure = clean | {"tpr": {"value": 0.4, "low": 0.2, "high": 0.6}, "fpr": {"value": 0.6, "low": 0.4, "high": 0.8}}
    assert looked_at(Brightness().load("mine", CPU), grey_images(), run_cell, clean=unsure) == []


def test_train_mode_that_was_declared_is_not_the_target_s_fault():
    declared = "model_in_train_mode: the scenario declares mode train, so dropout and batch statistics are live and a score may depend on its neighbours"
    stubborn = "model_in_train_mode: the module stays in train mode although eval() was called; scores may vary from call to call"
    assert of_target([declared, "weights from w.pth: taken from 'model'"]) == []
    assert [(one.code, one.severity) for one in of_target([stubborn])] == [("RT406", "error")]
