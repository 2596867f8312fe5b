"""Random placing: shapes and values kept, each image by its own generator, gradients that are what they should be."""

from __future__ import annotations

import pytest
import torch

from redteam.imaging.placing import PLACED, resize_and_pad, shuffle_blocks, shuffled
from redteam.seeding import SampleRNG

MOVES = {
    "pad": lambda x, rng: resize_and_pad(x, chances(rng, PLACED), 0.6),
    "pad sometimes": lambda x, rng: resize_and_pad(x, chances(rng, PLACED), 0.9, 0.5),
    "shuffle": lambda x, rng: shuffle_blocks(x, chances(rng, shuffled(3)), 3, 0.0),
    "turn": lambda x, rng: shuffle_blocks(x, chances(rng, shuffled(2)), 2, 24.0),
}
every_move = pytest.mark.parametrize("move", MOVES.values(), ids=MOVES)


def chances(rng, numbers):
    return rng.rand_like(torch.empty(len(rng), numbers))


def pictures(n=6, height=13, width=10):
    return torch.rand(n, 3, height, width, generator=torch.Generator().manual_seed(3))


@every_move
@pytest.mark.parametrize("size", [(13, 10), (1, 1), (2, 7)])
def test_shape_and_range_are_kept(move, size):
    x = pictures(6, *size)
    moved = move(x, SampleRNG(range(6)))
    assert moved.shape == x.shape
    assert 0 <= moved.min() and moved.max() <= 1


@every_move
def test_an_image_moves_by_its_own_generator_whatever_its_batch(move):
    x = pictures()
    whole = move(x, SampleRNG(range(6)))
    assert torch.equal(whole, torch.cat([move(x[i : i + 1], SampleRNG([i])) for i in range(6)]))
    assert not torch.equal(whole, move(x, SampleRNG(range(6, 12))))


@every_move
def test_its_gradient_is_that_of_a_linear_map(move):
    x, other = pictures().double().requires_grad_(True), pictures().flip(0).double()
    weights = torch.randn(x.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(6))
    gradient = torch.autograd.grad((move(x, SampleRNG(range(6))) * weights).sum(), x)[0]
    assert (gradient * other).sum().item() == pytest.approx((move(other, SampleRNG(range(6))) * weights).sum().item(), rel=1e-9)


def test_without_a_turn_the_pixels_only_change_places():
    x = pictures(4, 17, 12)
    moved = shuffle_blocks(x, chances(SampleRNG(range(4)), shuffled(3)), 3, 0.0)
    assert torch.equal(moved.flatten(2).sort(-1).values, x.flatten(2).sort(-1).values)
    assert not torch.equal(moved, x)
    colours = {tuple(colour) for colour in x[0].flatten(1).T.tolist()}
    assert all(tuple(colour) in colours for colour in moved[0].flatten(1).T.tolist())


def test_a_shrunken_image_stands_whole_on_black():
    white = torch.ones(8, 3, 20, 20)
    for image in resize_and_pad(white, chances(SampleRNG(range(8)), PLACED), 0.5):
        rows, columns = (image[0].amax(dim) > 0.999 for dim in (1, 0))
        height, width = int(rows.sum()), int(columns.sum())
        assert height == width and 10 <= height <= 20
        assert torch.allclose(image.sum(), torch.tensor(3.0 * height * width), rtol=1e-4)


def test_how_often_an_image_is_shrunk():
    white = torch.ones(400, 1, 4, 4)
    shrunk = (resize_and_pad(white, chances(SampleRNG(range(400)), PLACED), 0.25, 0.5).flatten(1).amin(1) == 0).double().mean()
    assert 0.25 < shrunk < 0.5  # half of them, less those whose random size rounds to the whole
