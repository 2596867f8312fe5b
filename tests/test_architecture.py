"""The house: who may import whom, that every folder is packaged, that entry points are what pyproject.toml says, that examples run."""

import ast
import doctest
import importlib
import pkgutil
import tomllib
from collections import defaultdict
from pathlib import Path

import pytest

import redteam
from redteam.run.installed import undeclared

ROOT = Path(redteam.__file__).resolve().parent.parent
MAPPED = ("attacks", "defenses", "watermark", "reports", "scenarios")
in_checkout = pytest.mark.skipif(not (ROOT / "pyproject.toml").is_file(), reason="the package is not installed from a checkout")

NOUNS = {"seeding", "component", "files", "images", "target", "objective", "attack", "defense", "record", "registry"}
COMPONENTS = {"attacks", "defenses", "watermark", "targets", "data", "zoo"}
LAYERS = [  # each may import itself's layer only where LEVEL says so, and everything before
    {"imaging", "seeding"},
    NOUNS - {"seeding"},
    {"measure"},
    COMPONENTS,
    {"scenario", "protocols", "validity"},
    {"recipes", "run"},
    {"cli", "console", "notebook", "__main__"},
]
TOGETHER = [NOUNS, {"scenario", "protocols", "validity"}, {"cli", "console", "__main__"}]


def imports() -> dict[str, set[str]]:
    """Part of the house -> the parts that it imports."""
    found = defaultdict(set)
    for base in ("redteam", *MAPPED):
        for path in (ROOT / base).rglob("*.py"):
            parts = path.relative_to(ROOT).with_suffix("").parts
            part = parts[1] if parts[0] == "redteam" and len(parts) > 1 else parts[0]
            found[part] |= {name.split(".")[1] for name in imported(path) if name.startswith("redteam.")} - {part}
    return found


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names} if node.module == "redteam" else {node.module}
    return names


@in_checkout
def test_imports_point_one_way():
    level = {part: number for number, layer in enumerate(LAYERS) for part in layer}
    wrong = []
    for part, others in imports().items():
        for other in others & level.keys():
            same = any({part, other} <= group for group in TOGETHER)
            if part in level and not same and level[other] >= level[part]:
                wrong.append(f"{part} imports {other}")
    assert wrong == []


@in_checkout
def test_components_reach_each_other_only_through_references():
    found = imports()
    assert {part: sorted(found[part] & (COMPONENTS - {part})) for part in COMPONENTS if found[part] & (COMPONENTS - {part})} == {}


@in_checkout
def test_reports_read_records_and_the_engine_never_imports_reports():
    found = imports()
    assert found["reports"] <= {"record", "measure"}
    assert {part for part, others in found.items() if "reports" in others} == {"console", "notebook"}


@in_checkout
def test_every_folder_is_packaged():
    listed = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    inside = {".".join(path.parent.relative_to(ROOT).parts) for path in (ROOT / "redteam").rglob("__init__.py")}
    assert listed == inside | {f"redteam.{name}" for name in MAPPED}


@in_checkout
def test_installed_entry_points_are_those_of_pyproject():
    assert undeclared(ROOT / "pyproject.toml") == [], "differs from the installed metadata; run pip install -e . again"


@in_checkout
@pytest.mark.parametrize("folder", MAPPED)
def test_a_mapped_folder_refuses_to_be_imported_under_its_own_name(folder):
    spec = importlib.util.spec_from_file_location(folder, ROOT / folder / "__init__.py")
    with pytest.raises(ImportError, match=f"import redteam.{folder}"):
        spec.loader.exec_module(importlib.util.module_from_spec(spec))


def modules() -> list[str]:
    """Every module of the package but the ones that run when imported."""
    found = []
    for info in pkgutil.iter_modules(redteam.__path__, "redteam."):
        if info.name.rpartition(".")[2] in ("tests", "bench", "__main__", "redteam"):
            continue
        found.append(info.name)
        if info.ispkg:
            package = importlib.import_module(info.name)
            found += [inner.name for inner in pkgutil.iter_modules(package.__path__, f"{info.name}.")]
    return sorted(found)


@pytest.mark.parametrize("name", modules())
def test_examples_in_docstrings_run(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0
