"""Each flag fires on a target that is broken on purpose and is silent on a healthy one: run through the real arms."""

from __future__ import annotations

import re

import pytest
import torch

from redteam.attacks.fgsm import FGSM
from redteam.attacks.identity import Identity
from redteam.attacks.jpeg import JPEG
from redteam.attacks.noise import Noise
from redteam.attacks.pgd import PGD
from redteam.files import Budget, FileFormat
from redteam.protocols.detection_metrics import figures
from redteam.run.preparing import facts
from redteam.target import Access, Detector
from redteam.targets.adapted import AdaptedDetector, Adapter, Output
from redteam.targets.fakes import Brightness, Broken, Constant
from redteam.targets.preprocessing import Input
from redteam.targets.python import PythonTarget

CPU = torch.device("cpu")
PGD_3 = PGD(eps=8 / 255, steps=3)


def broken(fault, **changes):
    return Broken(fault=fault, **changes).load("mine", CPU)


def clean_of(arms):
    return figures(arms.identity, seed=0).metrics


@pytest.mark.parametrize("attack", [Identity(), Noise(), FGSM(), PGD_3, PGD(norm="l2", eps=0.5, steps=3), JPEG(quality=50)], ids=lambda a: type(a).__name__)
@pytest.mark.parametrize("file", [FileFormat(), FileFormat(format="jpeg", quality=95)], ids=lambda f: f.format)
def test_a_healthy_detector_raises_nothing(attack, file, grey_images, run_cell):
    arms = run_cell(Brightness().load("mine", CPU), attack, grey_images(), file=file)
    assert arms.flags(clean=clean_of(arms), lossless=file.format == "png") == {}
    assert all(row.outcome["attackable"] for row in arms.rows)


@pytest.mark.parametrize("attack", [PGD_3, FGSM()], ids=["pgd", "fgsm"])
def test_r1_an_absent_gradient(attack, grey_images, run_cell):
    raised = run_cell(broken("no_gradient"), attack, grey_images()).flags()["R1"]
    assert (raised.severity, raised.detail) == (
        "invalid",
        "The gradient was absent or not finite on 24 of 24 images, so a gradient attack measured nothing there. Let gradients through the target, or declare access: scores.",
    )


def test_r1_is_not_about_attacks_that_ask_for_none(grey_images, run_cell):
    assert run_cell(broken("no_gradient"), JPEG(), grey_images()).flags() == {}


def test_r1_a_gradient_that_is_nan_although_the_score_is_a_number(grey_images, run_cell):
    def score(pixels):
        means = pixels.flatten(1).mean(1)
        return (means - 0.5) * 50 + 0 * torch.sqrt(means - means.detach())  # the slope of a square root at 0

    raised = run_cell(Detector("mine", score, Access.GRADIENTS), PGD_3, grey_images()).flags()
    assert raised["R1"].detail.startswith("The gradient was absent or not finite on 24 of 24 images")


def test_r1_leaves_unscoreable_images_to_their_own_column(grey_images, run_cell):
    def score(pixels):
        means = pixels.flatten(1).mean(1)
        return (means - 0.5) * torch.where(means > 0.54, torch.nan, 50.0)

    arms = run_cell(Detector("mine", score, Access.GRADIENTS), PGD_3, grey_images())
    lost = [row for row in arms.rows if row.outcome["score"] is None]
    assert 0 < len(lost) < 24 and all(row.cost["broken_gradients"] for row in lost)
    assert all(row.status == "ok" and row.reason == "unscoreable: the target gave nan" for row in lost)
    assert "R1" not in arms.flags()


def test_r2_a_gradient_that_is_zero_everywhere(grey_images, run_cell):
    raised = run_cell(broken("zero_gradient"), PGD_3, grey_images()).flags()["R2"]
    assert (raised.severity, raised.detail) == (
        "invalid",
        "The gradient was zero at the start, or the attack changed no pixel, on 24 of 24 images: the target saturates or hides its gradient. Declare the output as it is (type: prob), or attack it with scores.",
    )
    assert run_cell(Constant().load("mine", CPU), FGSM(), grey_images()).flags()["R2"].severity == "invalid"


def test_r2_a_zero_gradient_on_few_images_is_an_upper_bound(grey_images, run_cell):
    def score(pixels):
        means = pixels.flatten(1).mean(1)
        return torch.where(means > 0.59, means.detach(), means).sub(0.5).mul(50)

    images = grey_images(48)
    raised = run_cell(Detector("mine", score, Access.GRADIENTS), FGSM(), images).flags()["R2"]
    assert raised.severity == "upper_bound"
    assert " on 1 of 48 images" in raised.detail


class RestsOnceItHasWon(FGSM):
    """As attacks with early stopping do: an image that is misjudged already is handed back as it was."""

    def perturb(self, objective, rng, state=None):
        clean, moved = objective.images.pixels, super().perturb(objective, rng, state).pixels
        return objective.images.with_pixels(torch.where((objective.margin(clean) < 0)[:, None, None, None], clean, moved))


def test_r2_is_silent_about_images_that_were_misjudged_before(grey_images, run_cell):
    arms = run_cell(Brightness(at=0.48).load("mine", CPU), RestsOnceItHasWon(), grey_images())
    rested = [row for row in arms.rows if "attack_noop" in row.warnings]
    assert 0 < len(rested) < 24 and not any(row.outcome["attackable"] for row in rested)
    assert "R2" not in arms.flags()


def test_r2_is_silent_where_chance_or_a_codec_is_the_attack(grey_images, run_cell):
    for attack in (Noise(), JPEG()):
        assert run_cell(broken("zero_gradient"), attack, grey_images()).flags() == {}


@pytest.mark.parametrize("fault", ["random", "neighbours"])
def test_r3_another_answer_to_the_same_question(fault, grey_images, run_cell):
    raised = run_cell(broken(fault), FGSM(), grey_images()).flags()["R3"]
    assert raised.severity == "invalid"
    pattern = r"Asked twice about the same file in another batch, the target changed \d+ of 24 decisions \(largest relative change of a score [\d.e+]+\)\. It is random, or an image's score depends on its batch\."
    assert re.fullmatch(pattern, raised.detail)


def test_r3_a_small_wobble_that_changes_no_decision_is_an_upper_bound(grey_images, run_cell):
    calls = iter(range(1000))
    target = Detector("mine", lambda pixels: (pixels.flatten(1).mean(1) - 0.5) * (50 + 0.5 * (next(calls) % 2)), Access.GRADIENTS)
    raised = run_cell(target, FGSM(), grey_images()).flags()["R3"]
    assert raised.severity == "upper_bound"
    assert "changed 0 of 24 decisions" in raised.detail


def test_r4_a_probability_declared_a_logit(grey_images, run_cell):
    target = broken("probability").with_threshold(0.5)
    raised = run_cell(target, PGD_3, grey_images()).flags()["R4"]
    assert (raised.severity, raised.detail) == (
        "invalid",
        "The output is declared a logit, but all 24 clean scores lie in [0, 1]: this looks like a probability. Declare output: {type: prob}, so that the threshold and the gradient are right.",
    )
    assert "R4" not in run_cell(target, PGD_3, grey_images()).flags({"declared_logit": False})


def test_r4_a_probability_of_being_real(grey_images, run_cell):
    target = Detector("mine", lambda pixels: -torch.sigmoid((0.5 - pixels.flatten(1).mean(1)) * 50), Access.GRADIENTS, -0.5)
    assert run_cell(target, PGD_3, grey_images()).flags()["R4"].severity == "invalid"


def test_r14_an_attack_that_leaves_its_budget(grey_images, run_cell):
    class Liar(FGSM):
        """Declares a fifth of what it takes."""

        def budget(self):
            return Budget("linf", self.eps / 5)

        def perturb(self, objective, rng, state=None):
            moved = super().perturb(objective, rng, state).pixels
            return objective.images.with_pixels(moved)

    arms = run_cell(Brightness().load("mine", CPU), Liar(eps=10 / 255), grey_images())
    raised = arms.flags()["R14"]
    assert (raised.severity, raised.detail) == ("invalid", "24 of 24 images left the attack's budget, measured in 8-bit levels; the attack is wrong, and its successes do not count.")
    assert all(row.valid is False for row in arms.rows)


def test_r14_a_target_that_writes_into_its_input(grey_images, run_cell):
    arms = run_cell(broken("mutate"), FGSM(), grey_images())
    raised = arms.flags()["R14"]
    assert (raised.severity, raised.detail) == ("note", "The target writes into the pixels that it is given. Copies kept that from reaching other images; fix it before you compare with other tools.")


@pytest.mark.parametrize(("centre", "scale", "words"), [(127.5, 0.5, "is right about clean images with accuracy"), (0.0, 50.0, "")])
def test_r14_a_network_that_expects_another_range(centre, scale, words, grey_images, run_cell):
    """Fed [0, 1] where it wants [0, 255] it keeps the order of scores and calls everything real."""
    images = grey_images(64)
    spec = PythonTarget(factory="unused:unused", output=Output(type="logit"), input=Input(range=(0, 1) if centre else (-1, 1)))
    target = AdaptedDetector("mine", Adapter(lambda x: (x.mean((1, 2, 3)) - centre) * scale, spec.input, spec.output), Access.GRADIENTS)
    found = facts(target, spec, lambda: iter(()), lambda: iter([images]), probe_range=True)
    raised = run_cell(target, FGSM(), images).flags(found).get("R14")
    if not words:
        assert raised is None
        return
    assert (raised.severity, raised.detail) == ("invalid", f"Fed [0, 255] the network {words} 1.00, as declared with 0.50: input.range looks wrong.")


def test_r17_a_pipeline_that_is_not_the_identity(grey_images, run_cell):
    images = grey_images()
    off_grid = images.with_pixels((images.pixels + 0.4 / 255).clamp(0, 1))
    arms = run_cell(Brightness().load("mine", CPU), Identity(), off_grid)
    raised = arms.flags()["R17"]
    assert (raised.severity, raised.detail) == ("invalid", "The identity arm changed the score of 24 of 24 images although the file format loses nothing.")


def test_r17_a_codec_that_changes_answers_is_an_upper_bound(make_images, run_cell):
    images = make_images(24, 16, 16, labels=[1] * 24)

    def detail(pixels):
        return (pixels[..., 1:] - pixels[..., :-1]).abs().flatten(1).mean(1) * 100 - 30

    arms = run_cell(Detector("mine", detail, Access.GRADIENTS), Identity(), images, file=FileFormat(format="jpeg", quality=5))
    raised = arms.flags(lossless=False)["R17"]
    assert raised.severity == "upper_bound"
    assert re.fullmatch(r"Saving alone, without an attack, turned \d+ right answers wrong and 0 wrong ones right \(McNemar p = [\d.e-]+\): read every figure against the identity arm, not against the original images\.", raised.detail)


def test_r19_decisions_in_the_place_of_scores(grey_images, run_cell):
    raised = run_cell(broken("hard_labels"), JPEG(), grey_images()).flags()
    assert (raised["R19"].severity, raised["R19"].detail) == (
        "note",
        "The target gave only 2 distinct scores on 24 clean images: an AUC of decisions is balanced accuracy under another name, so none is printed. Return scores.",
    )


def test_r22_the_wrong_polarity(grey_images, run_cell):
    arms = run_cell(broken("polarity"), FGSM(), grey_images())
    raised = arms.flags(clean=clean_of(arms))["R22"]
    assert raised.severity == "invalid"
    assert re.fullmatch(
        r"On clean images real ones score above fake ones \(AUC 0\.00, 95 % interval 0\.00 to 0\.\d\d\): the polarity is wrong\. Set output\.positive or output\.fake_index\.", raised.detail
    )


def test_a_detector_that_guesses_is_not_called_the_wrong_way_round(make_images, run_cell):
    arms = run_cell(Brightness().load("mine", CPU), FGSM(), make_images(24))
    assert "R22" not in arms.flags(clean=clean_of(arms))
