"""The sticker with words and its blank twin."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import features

from redteam.attacks.chain import Chain
from redteam.attacks.jpeg import JPEG
from redteam.attacks.typographic import Typographic
from redteam.imaging import stickers
from redteam.objective import BOTH
from redteam.seeding import SampleRNG
from redteam.targets.fakes import Brightness, Linear

SIZE = 96


@pytest.fixture
def images(make_images):
    base = make_images(8, SIZE, SIZE)
    return base.with_pixels(torch.full_like(base.pixels, 100 / 255))


def stuck(attack, images):
    """What the attack leaves, with the randomness that the engine gives it."""
    objective = BOTH.on(Linear().load("t", torch.device("cpu")), images)
    return attack.run(objective, SampleRNG.of(1, "typographic", attack.seeding(), images.ids)).pixels


def test_the_blank_control_is_identical_but_for_the_words(images):
    attack = Typographic()
    worded, blank = stuck(attack, images), stuck(attack.control(), images)
    assert attack.control().control() is None
    for one, other in zip(worded, blank, strict=True):
        paper = (other != 100 / 255).any(0)
        rows, columns = paper.nonzero().unbind(1)
        box = (slice(int(rows.min()), int(rows.max()) + 1), slice(int(columns.min()), int(columns.max()) + 1))
        assert (paper[box]).all() and paper.sum() == paper[box].numel()  # a full rectangle, and nothing else
        assert (other[:, paper] == 1).all()
        changed = (one != other).any(0)
        assert changed[box].float().mean() > 0.05
        assert not (changed & ~paper).any()


def test_words_are_chosen_by_the_label_and_places_by_the_image(images):
    pixels = stuck(Typographic(on_fakes="iii", on_reals="MMM"), images)
    darkness = ((1 - pixels) * (pixels != 100 / 255)).sum((1, 2, 3))
    assert darkness[images.labels == 1].max() < darkness[images.labels == 0].min()
    corners = {tuple((image != 100 / 255).any(0).nonzero()[0].tolist()) for image in pixels}
    assert len(corners) > 4


def test_words_and_contrast_do_not_move_the_sticker(images):
    shapes = [(stuck(attack, images) != 100 / 255).any(1) for attack in (Typographic(), Typographic(on_fakes="other", contrast=0.3), Typographic(blank=True, paper=0.8))]
    assert torch.equal(shapes[0], shapes[1]) and torch.equal(shapes[0], shapes[2])


@pytest.mark.parametrize("area", [0.02, 0.1, 0.4, 1.0])
def test_the_sticker_covers_the_area_that_it_says(images, area):
    covered = (stuck(Typographic(area=area, blank=True), images) != 100 / 255).any(1).float().mean((1, 2))
    assert torch.allclose(covered, torch.full_like(covered, area), rtol=0.05)


@pytest.mark.parametrize(("paper", "contrast", "ink"), [(1.0, 1.0, 0.0), (1.0, 0.4, 0.6), (0.2, 0.5, 0.7)])
def test_contrast_is_the_distance_of_ink_and_paper(images, paper, contrast, ink):
    sticker = Typographic(paper=paper, contrast=contrast, area=0.3)
    levels = stuck(sticker, images)[0].unique()
    assert torch.isclose(levels, torch.tensor(ink), atol=1e-3).any()
    assert levels[levels != 100 / 255].sub(paper).abs().max() <= contrast + 1e-6


def test_the_effect_of_reading_is_told_from_the_effect_of_the_sticker(images):
    """A target that sees brightness alone: nearly all of the change is the blank sticker's."""
    target = Brightness().load("t", torch.device("cpu"))
    clean, worded, blank = (target.respond(pixels).mean() for pixels in (images.pixels, stuck(Typographic(), images), stuck(Typographic(blank=True), images)))
    assert blank - clean > 2 * abs(worded - blank) > 0


def test_in_a_chain_the_control_lies_at_the_same_place(images):
    chain = Chain(stages=(Typographic(), JPEG(quality=95)), names=("words", "jpeg"))
    assert chain.control().arm == "blank sticker"
    worded, blank = stuck(chain, images), stuck(chain.control(), images)
    bright = [(pixels.mean(1) - 100 / 255).abs() > 0.2 for pixels in (worded, blank)]
    for one, other in zip(*bright, strict=True):
        edges = [[int(side) for at in where.nonzero().unbind(1) for side in (at.min(), at.max())] for where in (one, other)]
        assert np.abs(np.subtract(*edges)).max() <= 1


def test_words_fill_the_sticker_on_as_many_lines_as_fit_largest():
    one, several = stickers.ink("camera photo", 20, 200), stickers.ink("camera photo", 60, 70)
    rows = [(ink > 0.5).any(1).int() for ink in (one, several)]
    assert [int((row.diff() == 1).sum()) for row in rows] == [1, 2]


def test_letters_that_would_be_too_small_are_left_out():
    assert stickers.ink("a long sentence that nobody could read", 4, 8).sum() == 0


def test_without_freetype_it_says_what_to_install(monkeypatch):
    assert features.check("freetype2")
    monkeypatch.setattr("redteam.imaging.stickers.ImageFont.load_default", lambda size: object())
    stickers._font.cache_clear()
    with pytest.raises(ValueError, match="^text needs a Pillow with FreeType, and this one has none; install Pillow's wheel: pip install --force-reinstall Pillow$"):
        stickers._font(41)
