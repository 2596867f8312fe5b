"""A CLIP model of the user's as a detector: a tiny random one, made here, nothing downloaded."""

from __future__ import annotations

import importlib.util
import json
import string
import sys

import pytest
import torch
from safetensors.torch import save_file

from redteam.attacks.typographic import Typographic
from redteam.objective import BOTH
from redteam.seeding import SampleRNG
from redteam.target import Access
from redteam.targets.clip import CLIPTarget
from redteam.targets.weights import Weights

CPU = torch.device("cpu")
SIZE = 32
needs_transformers = pytest.mark.skipif(importlib.util.find_spec("transformers") is None, reason="transformers is not installed; pip install 'redteam[transformers]'")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Config, weights and tokenizer of a random model with 2 layers."""
    transformers = pytest.importorskip("transformers")
    path = tmp_path_factory.mktemp("clip")
    letters = [*string.ascii_lowercase, *(f"{letter}</w>" for letter in string.ascii_lowercase), "<|startoftext|>", "<|endoftext|>"]
    (path / "vocab.json").write_text(json.dumps({letter: i for i, letter in enumerate(letters)}))
    (path / "merges.txt").write_text("#version: 0.2\n")
    layers = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = layers | {"vocab_size": len(letters), "max_position_embeddings": 64, "bos_token_id": len(letters) - 2, "eos_token_id": len(letters) - 1}
    config = transformers.CLIPConfig(text_config=text, vision_config=layers | {"image_size": SIZE, "patch_size": 8}, projection_dim=12)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        transformers.CLIPModel(config).save_pretrained(path)
    return path


@needs_transformers
def test_zero_shot_scores_are_the_log_odds_of_a_softmax_over_both_prompts(folder, make_images):
    import transformers

    pixels = make_images(3, SIZE, SIZE).pixels
    target = CLIPTarget(path=folder, fake=("fake",), real=("real",)).load("c", CPU)
    model = transformers.CLIPModel.from_pretrained(folder).eval()
    tokens = transformers.CLIPTokenizerFast.from_pretrained(folder)(["fake", "real"], padding=True, return_tensors="pt")
    from redteam.targets.clip import MEAN, STD

    normal = (pixels - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
    with torch.no_grad():
        logits = model(pixel_values=normal, **tokens).logits_per_image
    assert torch.allclose(target.respond(pixels), logits[:, 0] - logits[:, 1], atol=1e-4)


@needs_transformers
def test_more_prompts_of_a_class_are_averaged_and_polarity_is_fake(folder, make_images):
    pixels = make_images(3, SIZE, SIZE).pixels
    one, other = (CLIPTarget(path=folder, fake=fake, real=real).load("c", CPU) for fake, real in ((("a", "b"), ("c",)), (("c",), ("a", "b"))))
    assert torch.allclose(one.respond(pixels), -other.respond(pixels), atol=1e-4)


@needs_transformers
def test_a_linear_probe_reads_normalised_features(folder, make_images, tmp_path):
    pixels = make_images(2, SIZE, SIZE).pixels
    weight = torch.randn(1, 12, generator=torch.Generator().manual_seed(1))
    save_file({"weight": weight, "bias": torch.tensor([0.5])}, tmp_path / "probe.safetensors")
    spec = CLIPTarget(path=folder, weights=Weights(path=tmp_path / "probe.safetensors"))
    target = spec.load("c", CPU)
    changed = CLIPTarget(path=folder, weights=Weights(path=_probe(tmp_path, -weight, -0.5))).load("c", CPU)
    assert torch.allclose(target.respond(pixels), -changed.respond(pixels), atol=1e-5)
    assert (target.respond(pixels) - 0.5).abs().max() <= weight.norm()
    assert spec.fingerprint().keys() == {"model", "weights"}


def _probe(folder, weight, bias):
    save_file({"weight": weight, "bias": torch.tensor([bias])}, folder / "other.safetensors")
    return folder / "other.safetensors"


@needs_transformers
def test_it_gives_gradients_and_takes_any_size(folder, make_images):
    target = CLIPTarget(path=folder).load("c", CPU)
    images = make_images(2, 48, 40)
    gradient = BOTH.on(target, images).gradient(images.pixels)
    assert target.access is Access.GRADIENTS
    assert (gradient.flatten(1).norm(dim=1) > 0).all()


@needs_transformers
def test_words_on_an_image_move_it(folder, make_images):
    target, images = CLIPTarget(path=folder).load("c", CPU), make_images(4, 64, 64)
    attack = Typographic(area=0.5)
    worded, blank = (one.run(BOTH.on(target, images), SampleRNG.of(1, "t", one.seeding(), images.ids)).pixels for one in (attack, attack.control()))
    assert not torch.allclose(target.respond(worded), target.respond(blank))


def test_its_own_preprocessing_file_is_read(tmp_path):
    from redteam.targets.clip import _own_input

    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"image_mean": [0.5, 0.5, 0.5], "image_std": [0.25, 0.25, 0.25]}))
    found = _own_input(tmp_path, 224)
    assert (found.mean, found.std, found.crop, found.resize.size) == ((0.5, 0.5, 0.5), (0.25, 0.25, 0.25), 224, 224)


def test_a_folder_without_a_model_says_what_must_be_there(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"^c: path .* must be a folder with config.json, as save_pretrained writes it; it is relative to the scenario$"):
        CLIPTarget(path=tmp_path).load("c", CPU)


def test_without_transformers_it_says_what_to_install(tmp_path, monkeypatch):
    (tmp_path / "config.json").write_text("{}")
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ValueError, match=r"^c: a clip target needs the package transformers; pip install 'redteam\[transformers\]'$"):
        CLIPTarget(path=tmp_path).load("c", CPU)
