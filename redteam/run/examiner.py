"""The process that loads one target's code to look at it before a run; what hangs or crashes in here is a sentence outside."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any, NoReturn

from redteam.run.errors import Missing, Stop
from redteam.run.ledger import RunDir
from redteam.run.worker import Tell, die_with_parent


def main(arguments: list[str]) -> NoReturn:
    """`python -m redteam.run.examiner RUN_DIR EVENT_FD`; the command, one JSON line, names the target."""
    die_with_parent()
    run_dir, descriptor = RunDir(Path(arguments[0])), int(arguments[1])
    os.set_inheritable(descriptor, False)  # a child of user code must not keep the line open after this process
    line = os.fdopen(descriptor, "w", buffering=1)

    def tell(**event: Any) -> None:
        line.write(json.dumps(event) + "\n")

    command = json.loads(sys.stdin.readline())
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # user code that reads standard input finds its end
    tell(**_answer(run_dir, command["target"], tell))
    line.flush()
    os._exit(0)  # threads of user code do not keep it alive


def _answer(run_dir: RunDir, target: str, tell: Tell) -> dict[str, Any]:
    from redteam.data.corpus import CorpusError
    from redteam.scenario.lock import Unusable
    from redteam.scenario.plan import PlanError

    try:
        return {"event": "done", "report": _report(run_dir, target, tell)}
    except (Missing, FileNotFoundError) as error:
        return {"event": "missing", "message": str(error)}
    except (Stop, CorpusError, PlanError, Unusable, ValueError) as error:
        return {"event": "unusable", "message": str(error)}


def _report(run_dir: RunDir, target: str, tell: Tell) -> dict[str, Any]:
    """Import torch, read the scenario again, and look."""
    import torch

    from redteam.run.environment import quiet_torch
    from redteam.run.examination import examine
    from redteam.run.opening import told
    from redteam.scenario.load import load
    from redteam.scenario.plan import Options

    quiet_torch()
    run = told(run_dir)
    options = Options(**run["options"])
    torch.set_num_threads(options.threads)
    scenario, _ = load(run_dir.scenario, folder=Path(run["folder"]), name=run["source"], sets=options.sets)

    def beat(batch: int | None = None, image: str | None = None, *, stage: str | None = None) -> None:
        tell(event="at", batch=batch, image=image, stage=stage)

    return examine(scenario, target, options, beat, run_dir.path)


if __name__ == "__main__":
    main(sys.argv[1:])
