"""What doctor says of a machine: limits that a container sets, a driver that torch cannot reach, and a control that can fail."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from redteam.run import machine
from redteam.run.environment import quiet
from redteam.run.machine import Finding


def test_everything_is_looked_at_and_nothing_is_empty(tmp_path):
    found = list(machine.machine(tmp_path))
    assert [finding.name for finding in found] == ["Python", "torch", "accelerator", "cores", "memory", "disk", "codecs"]
    assert all(finding.detail for finding in found)


def test_the_same_twice_and_pgd_on_a_known_optimum():
    assert [(finding.name, finding.state) for finding in machine.trust()][:2] == [("determinism on cpu", "ok"), ("positive control on cpu", "ok")]


def test_a_gradient_that_is_broken_fails_the_positive_control(monkeypatch):
    monkeypatch.setattr("redteam.objective.Objective.gradient", lambda self, pixels: torch.zeros_like(pixels))
    found = machine.positive_control("cpu")
    assert (found.state, found.repair) == ("problem", "reinstall torch; figures of gradient attacks mean nothing here")
    assert "of 64 images of a linear detector, at least 95% are due" in found.detail


def test_kernels_that_do_not_repeat_are_a_warning(monkeypatch):
    answers = iter([0.0, 1.0])
    plain = torch.nn.functional.conv2d
    monkeypatch.setattr(torch.nn.functional, "conv2d", lambda *args, **more: plain(*args, **more) + next(answers))
    assert machine.repeats("cpu").state == "warning"


@pytest.fixture
def container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that stands for what a container says of itself."""
    monkeypatch.setattr(machine, "_MEMORY", tmp_path)
    monkeypatch.setattr(machine, "_DRIVER", tmp_path / "version")
    return tmp_path


@pytest.mark.skipif(not Path("/proc/meminfo").is_file(), reason="memory is read from /proc")
def test_a_container_s_memory_counts(container):
    assert machine.free_memory() > 0
    (container / "memory.max").write_text("3000\n")
    (container / "memory.current").write_text("1000\n")
    assert machine.free_memory() == 2000
    assert [f for f in machine.machine(container) if f.name == "memory"] == [Finding("memory", "warning", "0.0 GiB free", "make room: a run wants 1 GiB at least")]


@pytest.mark.skipif(torch.cuda.is_available(), reason="torch reaches the driver here")
def test_a_driver_that_torch_does_not_reach_is_said(container):
    assert machine.accelerator().state == "ok"
    (container / "version").write_text("NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat Aug 19 01:15:15 UTC 2023\nGCC version: 11\n")
    found = machine.accelerator()
    assert found.state == "warning" and found.detail.startswith("there is an NVIDIA driver 535.104.05, but torch ")


def test_a_codec_that_pillow_lacks_is_a_problem(monkeypatch, tmp_path):
    monkeypatch.setattr(machine, "codec_versions", lambda: {"pillow": "11", "libwebp": None})
    assert list(machine.machine(tmp_path))[-1] == Finding("codecs", "problem", "Pillow was built without libwebp", "pip install --force-reinstall Pillow")


def test_torch_is_left_as_it_was():
    before = torch.get_deterministic_debug_mode(), torch.backends.cudnn.allow_tf32, torch.utils.deterministic.fill_uninitialized_memory
    with pytest.raises(ZeroDivisionError), quiet():
        assert (torch.get_deterministic_debug_mode(), torch.backends.cudnn.allow_tf32) == (1, False)
        raise ZeroDivisionError
    assert (torch.get_deterministic_debug_mode(), torch.backends.cudnn.allow_tf32, torch.utils.deterministic.fill_uninitialized_memory) == before
