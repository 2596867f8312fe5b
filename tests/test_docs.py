"""What the pages show is run: code, scenarios, and the names of commands and components."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from click.testing import CliRunner

import redteam
from redteam import registry
from redteam.cli import main
from redteam.files import to_grid, within
from redteam.objective import BOTH
from redteam.scenario.errors import ScenarioError
from redteam.scenario.load import load
from redteam.seeding import SampleRNG
from redteam.targets.fakes import Linear

ROOT = Path(redteam.__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
pytestmark = pytest.mark.skipif(not PAGES[0].is_file(), reason="the pages are not installed, only the packages")


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(), re.DOTALL)


def test_the_example_attack_reaches_the_optimum_on_a_linear_target_and_keeps_its_budget(make_images):
    module = ModuleType("one_step_of_the_docs")
    sys.modules[module.__name__] = module
    try:
        exec(compile(blocks(ROOT / "docs" / "attacks.md", "python")[0], "docs/attacks.md", "exec"), module.__dict__)
        attack, images, target = module.OneStep(eps=4 / 255), make_images(6, 16, 16, low=10, high=245), Linear().load("t", torch.device("cpu"))
        result = attack.run(BOTH.on(target, images, budget=attack.budget()), SampleRNG.of(1, "docs", {}, images.ids))
    finally:
        del sys.modules[module.__name__]
    sign = (2 * images.labels - 1).view(-1, 1, 1, 1) * Linear().direction(16, 16).sign()
    assert torch.allclose(result.pixels, images.pixels - 4 / 255 * sign, atol=1e-6)
    assert within(to_grid(result.pixels, images.pixels, attack.budget()), images.pixels, attack.budget()).all()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_scenarios_and_parts_of_scenarios_have_no_mistake_but_files_that_are_not_there(page, tmp_path):
    whole = {"schema": "redteam/v1", "name": "docs", "data": "{eval: {kind: folder, path: eval}, calib: {kind: folder, path: calib}}",
             "targets": "[{id: linear, kind: linear}]", "attacks": "[{id: pgd, kind: pgd, eps: 4/255}]"}  # fmt: skip
    for role in ("eval", "calib", "data/test", "data/calib"):
        for label in ("real", "fake"):
            (tmp_path / role / label).mkdir(parents=True)
    for text in blocks(page, "yaml"):
        rest = [f"{key}: {value}\n" for key, value in whole.items() if not re.search(rf"^{key}:", text, re.MULTILINE)]
        (tmp_path / "s.yaml").write_text(text + "".join(rest))
        try:
            load(tmp_path / "s.yaml", read_data=False)
        except ScenarioError as error:
            pytest.fail(f"{page.name}:\n{text}\n{error}")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_and_their_options_exist(page):
    used = re.findall(r"redteam ((?:init|run|resume|work|validate|list|show|report|replay|compare|export|doctor|schema|train|selftest)\b[^\n`|#&]*)", page.read_text())
    assert used
    for text in used:
        command, *words = text.split()
        known = CliRunner().invoke(main, [command, "--help"]).output
        for option in (word for word in words if word.startswith("-")):
            assert option.split("=")[0] in known, f"redteam {text}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_components_that_are_shown_exist(page):
    groups = {"attack": "attacks", "defense": "defenses", "target": "targets", "data": "corpora", "forge": "forgeries", "zoo": "models"}
    for group, name in re.findall(r"`?(?:show |kind: )?\b(attack|defense|target|zoo)/([a-z][\w-]*)\b(?![./)])", page.read_text()):
        if name not in ("name", "one-step", "cards"):
            assert name in registry.names(groups[group]), f"{page.name}: {group}/{name}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_within_the_project_lead_somewhere(page):
    for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
        assert (page.parent / link).exists(), f"{page.name}: {link}"
