"""How many workers a run starts when it is not told."""

from __future__ import annotations

import os
from pathlib import Path

from redteam.run.schedule import most_at_once
from redteam.scenario.plan import Plan

MOST = 4  # each holds its own copy of the targets; who has the memory for more can say so
CGROUP = Path("/sys/fs/cgroup")


def workers_for(plan: Plan) -> int:
    """As many as there are cores for their threads, four at most, and never more than the plan has units side by side; one on an accelerator."""
    if not plan.options.device.startswith("cpu"):
        return 1
    return max(1, min(MOST, usable_cores() // plan.options.threads, most_at_once(plan)))


def usable_cores(cgroup: Path = CGROUP) -> int:
    """The cores that this process may use: those of its affinity, and what a container leaves it of them."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota, period = _quota(cgroup)
    return max(1, min(cores, int(quota / period))) if quota > 0 and period > 0 else cores


def _quota(cgroup: Path) -> tuple[int, int]:
    """Microseconds of CPU time in each period of so many; zeros where there is no limit."""
    try:
        if (version_2 := cgroup / "cpu.max").is_file():
            quota, period = version_2.read_text().split()
        else:
            quota, period = ((cgroup / "cpu" / name).read_text() for name in ("cpu.cfs_quota_us", "cpu.cfs_period_us"))
        return int(quota), int(period)
    except (OSError, ValueError):  # no such file, or "max"
        return 0, 0
