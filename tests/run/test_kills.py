"""Killed at random and resumed, a run gives the bytes of an undisturbed one: ten kills here, a thousand in bench/kills.py."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import redteam

KILLS = Path(redteam.__file__).resolve().parent.parent / "bench" / "kills.py"


@pytest.mark.skipif(sys.platform != "linux" or not KILLS.is_file(), reason="finds processes under /proc, and needs the checkout")
def test_ten_kills_of_coordinator_and_worker_in_turn_change_no_byte():
    command = [sys.executable, str(KILLS), "--kills", "10", "--seed", "7"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, env=os.environ | {"OMP_NUM_THREADS": "1"}, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1].endswith("every run gave the bytes of the undisturbed one")
    assert int(done.stdout.split()[0]) >= 10
