"""Looks at every target of a scenario before a run, each in a process of its own that is watched from here."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from redteam.run import opening
from redteam.run.child import LOOK_S, Process, Worker, WorkerLost, environment, start
from redteam.run.environment import check_device, check_device_name
from redteam.run.ledger import RunDir
from redteam.scenario.document import Place
from redteam.scenario.errors import Problem
from redteam.scenario.layers import read_layers
from redteam.scenario.load import understood
from redteam.scenario.model import Scenario
from redteam.scenario.plan import Options
from redteam.scenario.reading import Reading
from redteam.validity import readiness

LOADING_S = 600  # without a word while a target is loaded; a slow disk is not a hang

Report = dict[str, Any]


@dataclass(frozen=True)
class Checked:
    """What was found.

    targets:  one report each, in the order of the scenario
    problems: what speaks against the run, in the order of the file, and the scenario's own warnings
    """

    scenario: Scenario
    targets: list[Report]
    problems: list[Problem]

    @property
    def ready(self) -> bool:
        """Whether nothing forbids the run."""
        return not any(problem.severity == "error" for problem in self.problems)

    @property
    def missing(self) -> bool:
        """Whether all that forbids it is something that is not there."""
        return not self.ready and all(report["verdict"] in ("missing", "ready", "warned") for report in self.targets)


def check(path: Path, options: Options, tell: Callable[[str], None] = lambda target: None) -> Checked:
    """Look at each target of a scenario file; `tell` is told which one it is now. Raises ScenarioError, Refused and Missing."""
    check_device_name(options.device)
    reading = Reading(read_layers(path, sets=options.sets), Path(path).absolute().parent)
    scenario, _ = understood(reading, read_data=True)
    check_device(options.device)
    reports = []
    with _folder(path, options) as run_dir:
        for entry in scenario.targets:
            tell(entry.id)
            head = {"id": entry.id, "kind": entry.kind, "reference": bool(entry.spec.reference_model)}
            reports.append(_judged(head | _Watched(run_dir, scenario, options).report(entry.id)))
    for report in reports:
        _note(reading, report)
    return Checked(scenario, reports, [*reading.problems])


@contextmanager
def _folder(path: Path, options: Options) -> Iterator[RunDir]:
    with tempfile.TemporaryDirectory(prefix="redteam-") as folder:
        yield opening.begin(Path(folder) / "preflight", path, asdict(options))


class _Watched:
    """The examination of one target, watched for hangs and crashes."""

    def __init__(self, run_dir: RunDir, scenario: Scenario, options: Options) -> None:
        self._dir, self._limit, self._batch = run_dir, scenario.limits.sample_timeout_s, options.micro_batch
        self._environment = environment(scenario.folders, options.threads)
        self._stage = "the target is loaded"

    def report(self, target: str) -> Report:
        """What the examiner says, or why it says nothing."""
        worker = _Examiner(self._dir, self._environment)
        try:
            worker.send({"target": target})
            event = self._answer(worker)
        except WorkerLost as lost:
            what = lost.detail if lost.hung else f"its process ended ({lost.detail}{self._last_words()})"
            event = {"event": "unusable", "message": f"{target} cannot be run: {what} while {self._stage}"}
        finally:
            worker.stop()
        if event["event"] == "done":
            return event["report"]
        complaint = readiness.unusable(event["message"].removeprefix(f"targets.{target}: "))
        return {"missing": event["event"] == "missing", "complaints": [asdict(complaint)], "data": []}

    def _answer(self, worker: Worker) -> dict[str, Any]:
        while True:
            wait([worker], LOOK_S)
            for event in worker.news():
                if event["event"] != "at":
                    return event
                self._stage = event["stage"] or self._stage
            if worker.silent_s > self._patience(worker):
                raise WorkerLost(f"no sign of life for {self._patience(worker):g} s", hung=True)

    def _last_words(self) -> str:
        """The last line that the process printed."""
        log = self._dir.path / opening.LOG
        printed = log.read_text(encoding="utf-8", errors="replace").split("\n") if log.is_file() else []
        last = next((line.strip() for line in reversed(printed) if line.strip()), "")
        return f"; it last printed {last[:120]!r}" if last else ""

    def _patience(self, worker: Worker) -> float:
        """Seconds without a sign of life: as the run has it, the sample's time-out for each image of a batch."""
        return LOADING_S if worker.batch is None else min(LOADING_S, self._limit * self._batch)


class _Examiner(Worker):
    """A process that looks at one target."""

    def _start(self, run_dir: RunDir, environment: dict[str, str], events: int) -> Process:
        return start("redteam.run.examiner", run_dir, environment, events)


def _judged(report: Report) -> Report:
    """With a verdict: ready, warned, refused, or missing where something is not there."""
    severities = {complaint["severity"] for complaint in _complaints(report)}
    refused = "missing" if report.get("missing") else "refused"
    return report | {"verdict": refused if "error" in severities else "warned" if severities else "ready"}


def _complaints(report: Report) -> Iterator[dict[str, str]]:
    yield from report["complaints"]
    for data in report["data"]:
        yield from data["complaints"]


def _note(reading: Reading, report: Report) -> None:
    """The complaints about a target at the lines that they are about."""
    home, corpora = reading.ids("targets")[report["id"]], reading.ids("data")
    for complaint in report["complaints"]:
        _say(reading, complaint, home)
    for data in report["data"]:
        for complaint in data["complaints"]:
            everywhere = all(complaint in other["complaints"] for other in report["data"])
            named = complaint if everywhere else complaint | {"message": f"on {data['id']}: {complaint['message']}"}
            _say(reading, named, corpora[data["id"]] if complaint["about"] == "data" else home)


def _say(reading: Reading, complaint: dict[str, str], home: Place) -> None:
    at = (*home, complaint["about"])
    note = reading.error if complaint["severity"] == "error" else reading.warning
    note(complaint["code"], home if reading.at(at) is None else at, complaint["message"])
