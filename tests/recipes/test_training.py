"""Training: a few steps, stopped and resumed, on scenes and on a folder of photographs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from redteam.data import photos
from redteam.data.camera import render
from redteam.data.corpus import CorpusError
from redteam.recipes.npr_tiny import NPRRecipe
from redteam.recipes.pairs import prepared
from redteam.recipes.pool import camera_pool, centre_crops, folder_pool
from redteam.recipes.recipe import Recipe, schedule, silent
from redteam.recipes.spectrum_tiny import SpectrumRecipe
from redteam.recipes.vae_tiny import VAERecipe

VAE = VAERecipe(steps=4, batch=2, crop=16, scenes=3, size=32, keep_every=2)
NPR = NPRRecipe(steps=4, pairs=2, scenes=3, size=32, keep_every=2)
SPECTRUM = SpectrumRecipe(steps=4, pairs=2, scenes=3, size=32, keep_every=2)


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    folder = tmp_path / "photographs"
    folder.mkdir()
    for name in ("chelsea", "coffee"):
        Image.fromarray(photos.crop(name, 1, 80)).save(folder / f"{name}.png")
    (folder / "notes.txt").write_text("not a picture")
    return folder


class Stopped(Exception):
    """Stands in for a kill."""


def stop_at(step: int) -> object:
    def progress(line: str) -> None:
        if line.startswith(f"step {step}/"):
            raise Stopped

    return progress


@pytest.mark.parametrize("recipe", [VAE, NPR, SPECTRUM], ids=lambda recipe: recipe.model.name)
def test_a_training_that_was_killed_and_resumed_gives_the_same_bits(recipe: Recipe, tmp_path: Path, photographs: Path):
    recipe = replace(recipe, data=photographs)
    name = f"{recipe.model.name}.safetensors"
    recipe.train(tmp_path / "whole")
    with pytest.raises(Stopped):
        recipe.train(tmp_path / "parts", progress=stop_at(2))
    assert not (tmp_path / "parts" / name).exists()
    figures = recipe.train(tmp_path / "parts", resume=True)
    whole, parts = load_file(tmp_path / "whole" / name), load_file(tmp_path / "parts" / name)
    assert figures["steps"] == 4 and np.isfinite(figures["loss"])
    assert whole.keys() == parts.keys() and all(torch.equal(whole[key], parts[key]) for key in whole)


def test_training_neither_reads_nor_moves_torchs_global_generator(tmp_path: Path, photographs: Path):
    recipe = VAERecipe(steps=1, batch=1, crop=16, scenes=2, size=32, data=photographs)
    state = torch.get_rng_state()
    recipe.train(tmp_path / "a")
    assert torch.equal(state, torch.get_rng_state())


def test_another_seed_gives_other_weights(tmp_path: Path, photographs: Path):
    for seed in (0, 1):
        VAERecipe(steps=1, batch=1, crop=16, scenes=2, size=32, seed=seed, data=photographs).train(tmp_path / str(seed))
    first, second = (load_file(tmp_path / str(seed) / "vae-tiny.safetensors") for seed in (0, 1))
    assert not torch.equal(first["vae.encoder.conv_in.weight"], second["vae.encoder.conv_in.weight"])


def test_the_camera_pool_holds_the_corpus_pictures_and_is_made_once(tmp_path: Path):
    lines: list[str] = []
    pool = camera_pool(tmp_path, seed=0, count=3, size=32, progress=lines.append)
    assert lines == ["pictures 3/3"]
    assert all(np.array_equal(pool[k], render(0, k, 32)) for k in range(3))
    camera_pool(tmp_path, seed=0, count=3, size=32, progress=lines.append)
    assert lines == ["pictures 3/3"]


def test_a_folder_of_photographs_gives_crops_of_each_in_turn(tmp_path: Path, photographs: Path):
    pool = folder_pool(tmp_path, photographs, seed=0, count=4, size=48, progress=silent)
    assert pool.shape == (4, 48, 48, 3)
    assert len({crop.tobytes() for crop in pool}) == 4
    assert np.array_equal(centre_crops(photographs, 64)[0], np.asarray(Image.open(photographs / "chelsea.png"))[8:72, 8:72])


def test_a_folder_without_large_enough_photographs_is_refused(tmp_path: Path, photographs: Path):
    with pytest.raises(CorpusError, match="data: .*photographs must hold photographs of at least 96 x 96, found none"):
        folder_pool(tmp_path, photographs, seed=0, count=4, size=96, progress=silent)


def test_the_learning_rate_rises_then_falls_to_zero():
    rates = [schedule(step, 200) for step in range(200)]
    assert rates[0] < rates[3] and max(rates) == pytest.approx(1.0, abs=1e-3) and rates[-1] < 1e-3


def test_prepared_pictures_keep_their_shape_and_follow_their_generator():
    picture = render(1, 0, 48)
    versions = [prepared(picture, np.random.default_rng(k)) for k in range(12)]
    assert all(version.shape == picture.shape and version.dtype == np.uint8 for version in versions)
    assert len({version.tobytes() for version in versions}) == 12
    assert np.array_equal(prepared(picture, np.random.default_rng(3)), versions[3])
