"""What one batch under one cell leaves in its records."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from redteam.attack import Attack
from redteam.attacks.crop import Crop
from redteam.attacks.fgsm import FGSM
from redteam.attacks.identity import Identity
from redteam.attacks.jpeg import JPEG
from redteam.attacks.pgd import PGD
from redteam.files import FileFormat
from redteam.imaging import codecs
from redteam.imaging.grid import from_levels, to_levels
from redteam.measure import quality
from redteam.record import Record, rid
from redteam.target import Access, Detector
from redteam.targets.fakes import Brightness, Broken

CPU = torch.device("cpu")


def brightness(**changes):
    return Brightness(**changes).load("mine", CPU)


def test_a_success_is_a_right_answer_turned_wrong(grey_images, run_cell):
    images = grey_images(24, step=1)
    wrong = replace(images, labels=torch.where(torch.arange(24) < 4, 1 - images.labels, images.labels))
    arms = run_cell(brightness(), FGSM(eps=6 / 255), wrong)
    for clean, row in zip(arms.identity, arms.rows, strict=True):
        was, now = clean.outcome["score"] > 0, row.outcome["score"] > 0
        assert clean.outcome["attackable"] == row.outcome["attackable"] == (was == bool(row.label))
        assert row.outcome["decision"] == int(now)
        assert row.outcome["clean_decision"] == int(was)
        assert row.outcome["success"] == (was == bool(row.label) and now != bool(row.label))
    assert [row.outcome["attackable"] for row in arms.rows[:4]] == [False] * 4
    assert {row.outcome["success"] for row in arms.rows[4:]} == {True, False}


def test_scores_are_those_of_the_file(make_images, run_cell):
    images, file = make_images(6, 16, 16), FileFormat(format="jpeg", quality=40)
    target = brightness()
    arms = run_cell(target, PGD(eps=8 / 255, steps=2), images, file=file)
    assert [row.outcome["score"] for row in arms.identity] == target.respond(codecs.jpeg(images.pixels, 40)).tolist()
    assert [row.outcome["source_score"] for row in arms.identity] == target.respond(images.pixels).tolist()
    moved = to_levels(images.pixels) - 8 * (2 * images.labels - 1).view(-1, 1, 1, 1)
    attacked = from_levels(moved.clamp(0, 255))
    assert [row.outcome["score"] for row in arms.rows] == target.respond(codecs.jpeg(attacked, 40)).tolist()
    assert all(row.valid for row in arms.rows)  # the budget is measured before the codec


def test_success_is_never_scored_on_floats(run_cell, make_images):
    """Half a level would do, but no file holds half a level."""
    images = make_images(2, labels=[1, 1])
    images = images.with_pixels(torch.full_like(images.pixels, 128 / 255))
    arms = run_cell(brightness(at=127.6 / 255), FGSM(eps=0.5 / 255), images)
    assert [row.outcome["success"] for row in arms.rows] == [False, False]
    assert [row.quality["linf_levels"] for row in arms.rows] == [0.0, 0.0]


def test_quality_is_measured_between_the_two_files(make_images, run_cell):
    images, file = make_images(3, 16, 16), FileFormat(format="jpeg", quality=60)
    arms = run_cell(brightness(), JPEG(quality=20), images, file=file)
    before, after = codecs.jpeg(images.pixels, 60), codecs.jpeg(codecs.jpeg(images.pixels, 20), 60)
    assert [row.quality["psnr_db"] for row in arms.rows] == pytest.approx(quality.psnr(before, after).tolist(), abs=1e-6)
    assert [row.quality["linf_levels"] for row in arms.rows] == (before - after).abs().mul(255).round().flatten(1).amax(1).tolist()


def test_what_is_equal_or_has_no_partner_has_no_psnr(make_images, run_cell):
    images = make_images(2, 16, 16)
    same = run_cell(brightness(), Identity(), images).rows[0]
    assert same.quality["psnr_db"] is None and same.nonfinite["quality.psnr_db"] == "+inf" and same.quality["ssim"] == 1.0
    assert run_cell(brightness(), Crop(), images).rows[0].quality == {}


def test_costs_are_each_image_s_own_and_the_clean_arm_is_free(make_images, run_cell):
    arms = run_cell(brightness(), PGD(steps=7), make_images(3))
    assert [row.cost["backwards"] for row in arms.rows] == [7, 7, 7]
    assert [row.cost["queries"] for row in arms.identity] == [0, 0, 0]


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_what_is_not_a_number_is_unscoreable_and_neither_success_nor_robust(bad, grey_images, run_cell):
    images = grey_images(6)
    calls = []

    def score(pixels):
        calls.append(len(pixels))
        means = pixels.flatten(1).mean(1)
        attacked = len(calls) > 3  # identity asks three times
        return (means - 0.5) * 50 if not attacked or pixels.requires_grad else means * 0 + bad

    rows = run_cell(Detector("mine", score, Access.GRADIENTS), JPEG(), images).rows
    for row in rows:
        assert (row.status, row.outcome["score"], row.outcome["decision"], row.outcome["success"]) == ("ok", None, None, None)
        assert row.reason.startswith("unscoreable: the target gave ")
        assert row.nonfinite["outcome.score"] in ("nan", "+inf", "-inf")
        assert Record.from_json(row.to_json()) == row


def test_an_image_without_a_clean_score_cannot_be_won(grey_images, run_cell):
    arms = run_cell(Broken(fault="nan", above=0.51).load("mine", CPU), FGSM(eps=16 / 255), grey_images(12))
    for clean, row in zip(arms.identity, arms.rows, strict=True):
        if clean.outcome["score"] is None:
            assert not clean.outcome["attackable"] and not row.outcome["attackable"]
            assert not row.outcome["success"]


def test_the_clean_arm_asks_again_in_another_batch(make_images):
    from redteam.protocols.detection import Square, identity_batch
    from redteam.record import Cell

    for n, sizes in ((1, [1, 1]), (2, [2, 1, 1]), (5, [5, 3, 2])):
        asked = []
        target = Detector("t", lambda pixels: asked.append(len(pixels)) or pixels.flatten(1).mean(1), Access.SCORES)
        cell = Cell(data="d", target="t", defense="none", attack="identity", goal="evade+frame", kind="identity", control=True)
        records = identity_batch(Square(cell, Identity(), target, FileFormat(), 1, n), make_images(n), ["0"] * n).records
        assert asked == sizes
        assert all(row.outcome["repeat_score"] == pytest.approx(row.outcome["score"]) for row in records)


def test_rows_are_named_and_seeded_by_image_and_not_by_batch(make_images, run_cell):
    images = make_images(4)
    whole = run_cell(brightness(), PGD(steps=1), images).rows
    part = run_cell(brightness(), PGD(steps=1), images.subset([2])).rows[0]
    assert part.rid == whole[2].rid == rid(whole[2].cell, "image2")
    assert part.determinism["seed"] == whole[2].determinism["seed"]
    assert part.outcome == whole[2].outcome
    assert [row.goal for row in whole] == ["evade", "frame", "evade", "frame"]


def test_a_gradient_attack_that_changes_nothing_is_named(grey_images, run_cell):
    lazy = PGD(eps=2 / 255, step=0.0, steps=1, random_start=False)
    assert all("attack_noop" in row.warnings for row in run_cell(brightness(), lazy, grey_images(4)).rows)
    assert all("attack_noop" not in row.warnings for row in run_cell(brightness(), lazy, grey_images(4), control=True).rows)
    assert all(row.warnings == () for row in run_cell(brightness(), replace(lazy, eps=0.5 / 255), grey_images(4)).rows)


def test_an_attack_that_loses_an_image_is_a_bug_with_a_sentence(make_images, run_cell):
    class Forgetful(Attack):
        """Returns half of what it is given."""

        def perturb(self, objective, rng, state=None):
            return objective.images.subset(slice(0, None, 2))

    with pytest.raises(ValueError, match="^attack: an attack must return the same images in the same order$"):
        run_cell(brightness(), Forgetful(), make_images(4))
