"""What another person needs to make the same run: command, seed, thresholds, versions, and the hash of all inputs."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from redteam.reports import wording, words
from redteam.reports.directory import RunDirectory
from redteam.reports.wording import number, plain

Json = Mapping[str, Any]


def facts(run: RunDirectory) -> list[tuple[str, str]]:
    """(what, value) in the order of print; what is not known is left out."""
    summary, env = run.summary, run.env
    torch = env.get("torch") if isinstance(env.get("torch"), Mapping) else {}
    found = [
        ("Run", run.run.get("id")),
        ("Status", summary.get("status")),
        ("Started", run.run.get("started")),
        ("Took", _duration(run.run.get("elapsed_s"))),
        ("redteam", run.run.get("redteam")),
        ("Seed", summary.get("seed")),
        ("File format", _file(summary.get("file"))),
        ("Lock", f"SHA-256 {run.lock}" if run.lock else None),
        ("Python", env.get("python")),
        ("torch", _pairs(torch)),
        ("Codecs", _pairs(env.get("codecs"))),
        ("Platform", _pairs(env.get("platform"))),
        ("Git", env.get("git")),
    ]
    return [(name, plain(value)) for name, value in found if value not in (None, "")]


def command(run: RunDirectory) -> str:
    """The command that made this run, as it was typed; the plain one where it was not kept."""
    typed = run.run.get("command")
    if isinstance(typed, list):
        return plain(shlex.join(str(part) for part in typed))
    return plain(typed) if isinstance(typed, str) and typed.strip() else "redteam run scenario.yaml"


def packages(run: RunDirectory) -> list[str]:
    """Installed packages with versions, sorted."""
    installed = run.env.get("packages")
    return [f"{plain(name)} {plain(version)}" for name, version in sorted(installed.items())] if isinstance(installed, Mapping) else []


def thresholds(summary: Json) -> list[tuple[str, str, str, str]]:
    """(target, defense, value, how it was set) of each decision threshold."""
    return [(plain(entry.get("target")), plain(entry.get("defense")), _value(entry), _how(entry)) for entry in summary["thresholds"]]


def corpora(summary: Json) -> list[tuple[str, str]]:
    """(id, what it holds) of each evaluated corpus."""
    return [(plain(entry.get("id")), _corpus(entry)) for entry in summary["data"]]


def targets(summary: Json) -> list[tuple[str, str]]:
    """(id, what is known of it) of each target."""
    return [(plain(entry.get("id")), _target(entry)) for entry in summary["targets"]]


def defenses(summary: Json) -> list[tuple[str, str]]:
    """(id, what it is and how gradients pass through it) of each defense."""
    return [(plain(entry.get("id")), _defense(entry)) for entry in summary["defenses"]]


def _corpus(entry: Json) -> str:
    parts = [plain(entry.get("kind", "")), _amount(entry, "n", "images"), _amount(entry, "label_1", "with label 1 (fake)"), _amount(entry, "label_0", "with label 0 (real)")]
    return ", ".join(part for part in (*parts, _amount(entry, "groups", "source images or scenes")) if part)


def _target(entry: Json) -> str:
    notes = [plain(note) for note in entry.get("notes") or ()]
    reference = [words.REFERENCE] if entry.get("reference") else []
    return "; ".join([plain(entry.get("kind", "")), f"the attacker sees {plain(entry.get('access', 'nothing'))}", *reference, *notes])


def _defense(entry: Json) -> str:
    backward = {"exact": "exact gradients", "straight_through": "straight-through gradients: attacks treat it as doing nothing on the way back"}
    if entry.get("kind") == "none":
        return "no defense"
    return ", ".join(part for part in (plain(entry.get("kind", "")), _pairs(entry.get("params")), backward.get(str(entry.get("backward")), "")) if part)


def _amount(entry: Json, name: str, noun: str) -> str:
    value = number(entry.get(name))
    return "" if value is None else f"{value:.0f} {noun}"


def _value(entry: Json) -> str:
    value = number(entry.get("value"))
    return wording.DASH if value is None else f"{value:.3f}".replace("-", "−")


def _how(entry: Json) -> str:
    negatives = number(entry.get("negatives"))
    rate = number(entry.get("at_fpr"))
    said = words.THRESHOLDS.get(str(entry.get("how")), plain(entry.get("how"))) if rate is None else f"set on clean calibration images to {wording.significant(100 * rate)}{wording.SPACE}% false alarms"
    return said if negatives is None else f"{said} ({negatives:.0f} real images)"


def _file(entry: object) -> str:
    if not isinstance(entry, Mapping) or "format" not in entry:
        return ""
    lossless = entry["format"] == "png"
    return f"{entry['format']}, 8 bit" + ("" if lossless or "quality" not in entry else f", quality {entry['quality']}")


def _pairs(entry: object) -> str:
    return ", ".join(f"{plain(name)} {plain(value)}" for name, value in entry.items()) if isinstance(entry, Mapping) else ""


def _duration(seconds: object) -> str:
    amount = number(seconds)
    if amount is None:
        return ""
    minutes, rest = divmod(round(amount), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
