"""What a scenario extends and what was set over it belong to the run: whoever opens it again plans the same."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from redteam.run import opening
from redteam.run.errors import Refused
from redteam.run.ledger import RunDir


@pytest.fixture
def over(small) -> Path:
    """A scenario in a folder of its own that extends the laboratory's."""
    small.write()
    (small.folder / "own").mkdir()
    path = small.folder / "own" / "mine.yaml"
    path.write_text("extends: ../s.yaml\nname: mine\nattacks: [{id: pgd, steps: 3}]\n")
    return path


def begun(over: Path, *sets: str) -> RunDir:
    return opening.begin(over.parent / "run", over, {"sets": list(sets)})


def test_both_files_are_kept_as_they_were_written(small, over):
    run_dir = begun(over)
    assert run_dir.scenario.read_bytes() == over.read_bytes()
    assert (run_dir.path / "base.yaml").read_bytes() == (small.folder / "s.yaml").read_bytes()


def test_a_run_is_planned_again_from_its_copies(small, over):
    run_dir = begun(over, "attacks.pgd.eps=8/255", "seed=9")
    plan = small.plan(run_dir)
    assert (plan.lock["seed"], plan.cells[-1].attack.steps, plan.cells[-1].attack.eps) == (9, 3, 8 / 255)
    over.write_text("nothing: 1")
    small.write(seed=1, attacks=[])
    again = small.plan(run_dir)
    assert again.lock == plan.lock and [unit.key for unit in again.units] == [unit.key for unit in plan.units]
    assert json.loads((run_dir.path / "run.json").read_text())["options"]["sets"] == ["attacks.pgd.eps=8/255", "seed=9"]


def test_a_run_that_was_moved_is_planned_again(small, over):
    run_dir = begun(over)
    plan = small.plan(run_dir)
    shutil.move(run_dir.path, small.folder / "elsewhere")
    assert small.plan(RunDir(small.folder / "elsewhere")).lock == plan.lock


def test_what_is_set_is_part_of_the_lock(small, over):
    run_dir = begun(over, "seed=9")
    small.plan(run_dir)
    run = run_dir.read_json("run.json")
    run_dir.write_json("run.json", run | {"options": {"sets": []}})
    with pytest.raises(opening.Changed, match="inputs changed since the run began: seed; start a new run"):
        small.plan(run_dir)


def test_a_base_that_is_not_there_is_said_by_the_name_that_the_user_gave(small, over):
    (small.folder / "s.yaml").unlink()
    run_dir = begun(over)
    with pytest.raises(Refused, match=r"mine.yaml:1:10: RT141 extends: .*/s.yaml cannot be read: No such file or directory"):
        opening.reopen(run_dir)
    assert opening.discard(run_dir) and not run_dir.path.exists()


def test_a_run_that_never_began_leaves_neither_copy(over):
    run_dir = begun(over, "seed=x")
    with pytest.raises(Refused, match="--set seed=x: RT103 seed: must be an integer, got 'x'"):
        opening.reopen(run_dir)
    assert opening.discard(run_dir) and not run_dir.path.exists()


def test_user_code_beside_either_file_finds_its_neighbours(small, over):
    run_dir = begun(over)
    assert small.plan(run_dir).scenario.folders == (over.parent, over.parent / "..")
    assert run_dir.read_json("run.json")["beside"] == [str(over.parent / "..")]


def test_the_command_that_made_a_run_is_kept_with_what_was_set(over):
    run_dir = opening.begin(over.parent / "run", over, {"limit": 4, "only": None, "keep": True, "sets": ["seed=9", "name=x y"]})
    assert run_dir.read_json("run.json")["command"] == ["redteam", "run", str(over), "--limit", "4", "--keep", "--set", "seed=9", "--set", "name=x y"]
