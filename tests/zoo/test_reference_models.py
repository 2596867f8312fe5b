"""The reference models: architectures, their cost, and what the shipped weights are worth."""

from __future__ import annotations

import json
import re
from functools import cache

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from redteam.data import photos
from redteam.data.camera import render
from redteam.recipes.detection import auc, saved, scores
from redteam.recipes.reconstruction import as_tensor, rebuild
from redteam.zoo.model import ReferenceModel
from redteam.zoo.npr_tiny import NPRTiny, neighbour_relations
from redteam.zoo.spectrum_tiny import SpectrumTiny
from redteam.zoo.vae_tiny import VAETiny

DETECTORS = [NPRTiny, SpectrumTiny]
MODELS = [VAETiny, *DETECTORS]
FOURIER = 2 * 7**2 * 5 * 32**2 * 10 / 2  # multiply-adds of spectrum-tiny's transforms at 128 px, which the counter does not know: 5 N log2 N each
SCENES = [render(1, 5000 + index, 128) for index in range(24)]  # unseen: not in the card's measurement either
CROPS = [photos.crop(name, index, 128) for name in photos.scenes() for index in range(4)]


@cache
def regenerations() -> tuple[list[np.ndarray], list[np.ndarray]]:
    """SCENES and CROPS through the autoencoder."""
    return rebuild(SCENES, VAETiny.load()), rebuild(CROPS, VAETiny.load())


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_shipped_weights_load_strictly_frozen_and_in_evaluation_mode(model: type[ReferenceModel]):
    module = model.load()
    assert not module.training and not any(p.requires_grad for p in module.parameters())
    assert model.weights().stat().st_size <= 6e6
    assert all(torch.isfinite(value).all() for value in module.state_dict().values())


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_every_model_has_a_card_and_figures_that_name_their_command(model: type[ReferenceModel]):
    figures = json.loads(model.card().with_suffix(".json").read_text())
    assert figures["weights_sha256"] == model.sha256()
    assert figures["command"] in model.card().read_text()
    assert "small reference model" in model.card().read_text()


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_the_fractions_in_a_cards_tables_are_among_its_figures_and_settings(model: type[ReferenceModel]):
    held = json.loads(model.card().with_suffix(".json").read_text())
    known = {str(value) for part in ("figures", "recipe", "training") for value in held[part].values()}
    rows = [line for line in model.card().read_text().splitlines() if line.startswith("| ")]
    values = [number for row in rows for cell in row.split("|")[2:] for number in re.findall(r"-?\d+\.\d+", cell)]
    assert len(values) >= 9 and set(values) <= known


def test_absent_weights_are_reported_with_the_recipe_to_run(monkeypatch, tmp_path):
    monkeypatch.setattr(VAETiny, "weights", classmethod(lambda cls: tmp_path / "vae-tiny.safetensors"))
    with pytest.raises(FileNotFoundError, match="redteam train zoo/vae-tiny"):
        VAETiny.load()


@pytest.mark.parametrize("model", DETECTORS, ids=lambda model: model.name)
def test_a_detector_costs_at_most_a_hundred_million_multiply_adds(model: type[ReferenceModel]):
    with FlopCounterMode(display=False) as counter:
        model.build().eval()(torch.zeros(1, 3, 128, 128))
    assert counter.get_total_flops() / 2 + FOURIER * (model is SpectrumTiny) <= 100e6


@pytest.mark.parametrize("model", DETECTORS, ids=lambda model: model.name)
@pytest.mark.parametrize("shape", [(32, 32), (33, 47), (64, 65), (321, 100)])
def test_a_detector_takes_odd_and_even_sizes(model: type[ReferenceModel], shape: tuple[int, int]):
    logits = model.load()(torch.rand(2, 3, *shape, generator=torch.Generator().manual_seed(0)))
    assert logits.shape == (2,) and torch.isfinite(logits).all()


@pytest.mark.parametrize("model", DETECTORS, ids=lambda model: model.name)
def test_a_detectors_score_of_a_picture_does_not_depend_on_the_batch_around_it(model: type[ReferenceModel]):
    module, pixels = model.load(), as_tensor(SCENES[:5])
    with torch.no_grad():
        together, alone = module(pixels), torch.cat([module(pixels[k : k + 1]) for k in range(5)])
    assert torch.allclose(together, alone, atol=1e-4)


def test_neighbour_relations_are_the_picture_less_its_nearest_enlargement():
    images = torch.rand(2, 3, 9, 12, generator=torch.Generator().manual_seed(1))
    even = images[:, :, :8]
    expected = even - F.interpolate(F.interpolate(even, scale_factor=0.5, mode="nearest"), scale_factor=2, mode="nearest")
    assert torch.equal(neighbour_relations(images), expected)


def test_the_autoencoder_starts_as_a_linear_codec_of_orthonormal_frequencies():
    module = VAETiny.build().eval()
    basis = module.fold.weight[:, :, 0, 0]
    assert torch.allclose(basis @ basis.T, torch.eye(16), atol=1e-6)
    flat = torch.tensor([0.2, 0.5, 0.9]).reshape(1, 3, 1, 1).expand(1, 3, 8, 8)
    assert torch.allclose(module(flat), flat, atol=1e-5)


def test_reconstructions_of_unseen_scenes_are_good():
    errors = [np.mean((a.astype(float) - b) ** 2) for a, b in zip(SCENES, regenerations()[0], strict=True)]
    assert np.mean(10 * np.log10(255**2 / np.array(errors))) > 28


@pytest.mark.parametrize("model", DETECTORS, ids=lambda model: model.name)
def test_a_detector_tells_unseen_scenes_from_their_regenerations(model: type[ReferenceModel]):
    qualities = np.random.default_rng(0).integers(80, 99, len(SCENES)).tolist()
    detector = model.load()
    real = scores(detector, saved(SCENES, qualities))
    fake = scores(detector, saved(regenerations()[0], qualities))
    assert auc(real, fake) >= 0.9


@pytest.mark.parametrize("model", DETECTORS, ids=lambda model: model.name)
def test_a_detector_works_on_photographs_that_it_never_saw(model: type[ReferenceModel]):
    detector, qualities = model.load(), [90] * len(CROPS)
    assert auc(scores(detector, saved(CROPS, qualities)), scores(detector, saved(regenerations()[1], qualities))) >= 0.8


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_gradients_reach_the_pixels(model: type[ReferenceModel]):
    pixels = as_tensor([render(1, 0, 32)]).requires_grad_()
    model.load()(pixels).sum().backward()
    assert pixels.grad.abs().sum() > 0
