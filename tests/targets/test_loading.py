"""Factories are found where the scenario says."""

from __future__ import annotations

import hashlib
import re
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from redteam.targets.loading import factory_source, load_factory


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
