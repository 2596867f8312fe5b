"""What is remembered of files: the same content is the same file, near copies are noticed, and neither is mistaken for the other."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from redteam.imaging.grid import from_levels
from redteam.memory import BUCKETS, LOOKBACK, Memory, Sent, Told, sketch


def levels(entries: int, seed: int = 0, low: int = 40, high: int = 216) -> np.ndarray:
    return np.random.default_rng(seed).integers(low, high, entries).astype(np.uint8)


def moved(base: np.ndarray, rms: float, seed: int = 1) -> np.ndarray:
    """Exactly `rms` levels away: a share of the entries by whole levels."""
    step = max(1, int(np.ceil(rms)))
    some = np.random.default_rng(seed).permutation(len(base))[: round(len(base) * rms**2 / step**2)]
    away = base.copy()
    away[some] += step
    return away


def test_the_same_content_of_the_same_image_is_the_same_file_and_nothing_else_is():
    memory, pixels = Memory(), from_levels(torch.randint(0, 256, (2, 3, 4, 6), generator=torch.Generator().manual_seed(0)))
    first = memory.files(["a", "b"], pixels)
    assert [file.told for file in first] == [None, None]
    first[0].keep(Told(True, -1.5))
    assert memory.files(["a"], pixels[:1])[0].told == Told(True, -1.5)
    one_level = pixels[:1].clone()
    one_level[0, 2, 3, 5] += 1 / 255 if one_level[0, 2, 3, 5] < 0.5 else -1 / 255
    assert memory.files(["a"], one_level)[0].told is None
    assert memory.files(["b"], pixels[:1])[0].told is None  # another image's answer is not this one's
    assert memory.files(["a"], pixels[:1].reshape(1, 3, 6, 4))[0].told is None  # another size


@pytest.mark.parametrize("entries", [100, 3 * 32 * 32, 3 * 127 * 5, 3 * 128 * 128])
@pytest.mark.parametrize(("rms", "near"), [(0.0, True), (0.5, True), (0.75, True), (1.4, False), (4.0, False)])
def test_a_file_is_near_an_earlier_one_within_one_level_root_mean_square(entries, rms, near):
    sent, base = Sent(), levels(entries)
    assert not sent.resembles(sketch(base), entries)
    assert sent.resembles(sketch(moved(base, rms)), entries) is near


@pytest.mark.parametrize("where", ["column", "row", "block", "scattered"])
def test_a_sketch_keeps_distances_wherever_the_change_is(where):
    change = np.zeros((3, 128, 128))
    if where == "scattered":
        change[np.random.default_rng(2).random(change.shape) < 0.01] = 8
    else:
        change[{"column": np.s_[:, :, 17], "row": np.s_[:, 40], "block": np.s_[:, 30:42, 70:82]}[where]] = 8
    base = levels(change.size)
    found = np.sqrt(np.square(sketch(base) - sketch((base + change.ravel()).astype(np.uint8))).sum())
    assert found == pytest.approx(np.linalg.norm(change), rel=0.3)


def test_a_small_image_s_sketch_is_exact():
    a, b = levels(BUCKETS), levels(BUCKETS, seed=5)
    assert np.square(sketch(a) - sketch(b)).sum() == np.square(a.astype(float) - b).sum()


def test_every_earlier_file_counts_until_it_is_forgotten():
    entries = 300
    sent, base = Sent(), levels(entries)
    sent.resembles(sketch(base), entries)
    for seed in range(1, LOOKBACK):
        assert not sent.resembles(sketch(levels(entries, seed)), entries)
    assert sent.resembles(sketch(base), entries)  # the oldest, still known; it is now the newest too
    for seed in range(LOOKBACK, 2 * LOOKBACK):
        assert not sent.resembles(sketch(levels(entries, seed)), entries)
    assert not sent.resembles(sketch(base), entries)


def test_another_size_of_the_picture_is_compared_with_its_own_size_only():
    sent = Sent()
    assert not sent.resembles(np.zeros(BUCKETS, np.float32), 3000)
    assert not sent.resembles(np.zeros(12, np.float32), 12)
