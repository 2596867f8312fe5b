"""Weights hold tensors and nothing else; factories are found where the scenario says."""

from __future__ import annotations

import hashlib
import pickle
import re
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from redteam.targets.loading import Weights, factory_source, load_factory, load_weights, read_tensors

CPU = torch.device("cpu")
CONVERT = (
    " holds more than tensors, and loading it could run code; where you trust it, convert it once: "
    "safetensors.torch.save_file(torch.load(path, weights_only=False)['state_dict'], 'weights.safetensors')"
)


class Bomb:
    """A pickle of this creates a file when it is loaded."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


@pytest.fixture
def tensors():
    generator = torch.Generator().manual_seed(0)
    return {"weight": torch.randn(1, 3, generator=generator), "bias": torch.randn(1, generator=generator)}


@pytest.mark.parametrize("name", ["w.safetensors", "w.pt", "w.pth"])
def test_tensors_come_back_as_they_were_saved(name, tensors, tmp_path):
    path = tmp_path / name
    (save_file if path.suffix == ".safetensors" else torch.save)(tensors, path)
    model = nn.Linear(3, 1)
    load_weights(model, Weights(path=path, sha256=hashlib.sha256(path.read_bytes()).hexdigest()), CPU)
    assert all(torch.equal(value, tensors[key]) for key, value in model.state_dict().items())


def test_every_key_that_does_not_fit_is_listed(tensors, tmp_path):
    path = tmp_path / "w.safetensors"
    save_file({"weight": torch.zeros(2, 3), "module.bias": tensors["bias"], "extra": tensors["bias"].clone()}, path)
    model = nn.Linear(3, 1)
    before = model.weight.clone()
    message = "weights: w.safetensors does not fit the module: 1 missing (bias); 3 unexpected (extra, module.bias, weight (2, 3) instead of (1, 3))"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        load_weights(model, Weights(path=path), CPU)
    assert torch.equal(model.weight, before)


def test_long_lists_of_keys_are_cut(tmp_path):
    path = tmp_path / "w.safetensors"
    save_file({f"k{i}": torch.zeros(1) for i in range(9)}, path)
    with pytest.raises(ValueError, match=re.escape("9 unexpected (k0, k1, k2, k3, k4, ...)")):
        load_weights(nn.Identity(), Weights(path=path), CPU)


def test_a_missing_file_and_another_hash_are_said_in_full(tensors, tmp_path):
    path = tmp_path / "w.safetensors"
    with pytest.raises(FileNotFoundError, match=f"^{re.escape(f'weights: {path} does not exist; the path is relative to the scenario')}$"):
        Weights(path=path).digest()
    save_file(tensors, path)
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(ValueError, match=f"^weights: w.safetensors has sha256 {found}, but the scenario declares {'0' * 64}$"):
        load_weights(nn.Linear(3, 1), Weights(path=path, sha256="0" * 64), CPU)


@pytest.mark.parametrize("how", ["torch.save", "legacy", "plain pickle"])
def test_a_pickle_with_code_is_refused_and_the_code_does_not_run(how, tensors, tmp_path):
    path, trace = tmp_path / "evil.pt", tmp_path / "ran"
    content = {"state_dict": tensors, "x": Bomb(trace)}
    if how == "plain pickle":
        path.write_bytes(pickle.dumps({"x": Bomb(trace)}))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=how == "torch.save")
    assert not trace.exists()
    with pytest.raises(ValueError, match=f"^{re.escape('weights: evil.pt' + CONVERT)}$"):
        read_tensors(path, CPU)
    assert not trace.exists()
    pickle.loads(pickle.dumps(Bomb(trace))).close()
    assert trace.exists()  # it would have run


def test_a_whole_module_in_a_pickle_is_refused_too(tmp_path):
    path = tmp_path / "module.pt"
    torch.save(nn.Linear(3, 1), path)
    with pytest.raises(ValueError, match=f"^{re.escape('weights: module.pt' + CONVERT)}$"):
        read_tensors(path, CPU)


@pytest.mark.parametrize("name", ["w.safetensors", "w.pt"])
@pytest.mark.parametrize("damage", ["cut", "empty"])
def test_a_damaged_file_is_refused_with_its_name(name, damage, tensors, tmp_path):
    path = tmp_path / name
    (save_file if path.suffix == ".safetensors" else torch.save)(tensors, path)
    path.write_bytes(path.read_bytes()[: len(path.read_bytes()) // 2] if damage == "cut" else b"")
    with pytest.raises(ValueError, match=rf"^weights: {name} is not a whole "):
        read_tensors(path, CPU)


def test_a_zip_that_is_no_checkpoint_is_refused(tmp_path):
    path = tmp_path / "w.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("hello.txt", "hello")
    with pytest.raises(ValueError, match="^weights: w.pt is not a whole file that torch.save wrote"):
        read_tensors(path, CPU)


@pytest.mark.parametrize(
    ("content", "got"),
    [({"state_dict": {"a": torch.zeros(1)}, "epoch": 3}, "got dict of 2 keys (state_dict, epoch)"), ([torch.zeros(1)], "got list of no keys"), (torch.zeros(1), "got Tensor of no keys")],
)
def test_what_is_no_state_dict_is_named(content, got, tmp_path):
    path = tmp_path / "w.pt"
    torch.save(content, path)
    with pytest.raises(ValueError, match=re.escape(f"weights: w.pt must be a state dict (names to tensors), {got}")):
        read_tensors(path, CPU)


def test_a_factory_comes_from_a_file_beside_the_scenario_or_from_a_package(folder, monkeypatch):
    assert load_factory("mine.py:build", folder)(scale=2.0).settings.scale == 2.0  # its dataclass needs its module to be known
    assert load_factory("mine.py:Settings", folder)().scale == 1.0
    monkeypatch.syspath_prepend(str(folder))  # as the worker is started
    assert load_factory("mine:build", folder)().fc.in_features == 3
    assert load_factory("torch.nn:Linear", None) is nn.Linear
    assert load_factory("torch:nn.Linear", None) is nn.Linear
    sys.modules.pop("mine")


def test_two_files_of_one_name_do_not_meet(folder, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "mine.py").write_text("def build():\n    return 'other'\n")
    assert load_factory("mine.py:build", other)() == "other"
    assert load_factory("other/mine.py:build", folder)() == "other"
    assert load_factory("mine.py:build", folder)().fc.out_features == 1


def test_a_file_that_fails_leaves_no_half_module(tmp_path):
    (tmp_path / "bad.py").write_text("raise KeyError('on purpose')\n")
    before = set(sys.modules)
    with pytest.raises(KeyError, match="on purpose"):
        load_factory("bad.py:build", tmp_path)
    assert not [name for name in set(sys.modules) - before if "bad" in name]


@pytest.mark.parametrize(
    ("address", "error", "message"),
    [
        ("mine.py:builds", ValueError, "factory: mine.py has no 'builds'"),
        ("mine.py:number", ValueError, "factory: mine.py:number must be a function or a class that builds the detector, got int"),
        ("torch.nn:Linear.nothing", ValueError, "factory: torch.nn has no 'Linear.nothing'"),
        ("no_such_package_at_all:build", ModuleNotFoundError, "No module named 'no_such_package_at_all'"),
    ],
)
def test_a_missing_factory_is_named(address, error, message, folder):
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        load_factory(address, folder)


def test_a_missing_factory_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=f"^{re.escape(f'factory: {tmp_path}/absent.py does not exist; the path is relative to the scenario')}$"):
        load_factory("absent.py:build", tmp_path)


def test_the_source_of_a_factory_is_hashed_without_running_it(folder, monkeypatch):
    (folder / "loud.py").write_text("raise SystemExit('imported')\n")
    package = folder / "pack"
    package.mkdir()
    (package / "__init__.py").write_text("raise SystemExit('imported')\n")
    (package / "deep.py").write_text("x = 1\n")
    for address, path in (("loud.py:f", "loud.py"), ("loud:f", "loud.py"), ("pack:f", "pack/__init__.py"), ("pack.deep:f", "pack/deep.py")):
        assert factory_source(address, folder) == hashlib.sha256((folder / path).read_bytes()).hexdigest()
    assert factory_source("torch.nn.functional:f", folder) == hashlib.sha256(Path(torch.nn.functional.__file__).read_bytes()).hexdigest()
    assert factory_source("no_such_package_at_all.x:f", folder) == factory_source("absent.py:f", folder) == "not found"
