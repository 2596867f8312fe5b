"""list and show: the catalogue of components, from their own declarations."""

from __future__ import annotations

import json
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from redteam import registry
from redteam.component import Component, Parameter
from redteam.measure.names import METRICS
from redteam.target import Access

COMPONENTS = ("attacks", "defenses", "targets", "corpora", "forgeries", "models")
WORD = {"attacks": "attack", "defenses": "defense", "targets": "target", "corpora": "data", "forgeries": "forge", "models": "zoo"}
PLACE = {"attacks": "attacks", "defenses": "defenses", "targets": "targets", "corpora": "data"}


def show_list(group: str | None, as_json: bool) -> None:
    """Print one group, or all."""
    chosen = [group] if group else [*COMPONENTS, "scenarios", "metrics"]
    found = {name: _rows(name) for name in chosen}
    if as_json:
        click.echo(json.dumps(found, indent=1))
        return
    console = _console(markup=True)
    for name, rows in found.items():
        table = Table(title=name, title_justify="left", title_style="bold", show_header=False, box=None, padding=(0, 2, 0, 0))
        for row in rows:
            extra = " ".join(f"[{row[key]}]" for key in ("needs",) if row.get(key, "none") != "none")
            table.add_row(row["name"], f"{row['summary']} {extra}".strip().replace("[", r"\["))
        console.print(table)
        console.print()


def _console(markup: bool) -> Console:
    """The terminal's width, or enough for a table where the output goes to a file or a pipe."""
    console = Console(highlight=False, markup=markup)
    return console if console.is_terminal else Console(highlight=False, markup=markup, width=140)


def _rows(group: str) -> list[dict[str, Any]]:
    if group == "metrics":
        return [{"name": name, "summary": metric.meaning, "unit": metric.unit, "better": metric.better} for name, metric in METRICS.items()]
    if group == "scenarios":
        from redteam.console.commands import built_in

        return [{"name": name, "summary": _first_comment(path.read_text())} for name, path in built_in().items()]
    return [{"name": _address(group, name), **_metadata(registry.get(group, name))} for name in registry.names(group)]


def _first_comment(text: str) -> str:
    return text.split("\n", 1)[0].lstrip("# ").strip()


def _address(group: str, name: str) -> str:
    return f"{WORD[group]}/{name}"


def _metadata(component: type[Component]) -> dict[str, Any]:
    found: dict[str, Any] = {"summary": component.summary(), "source": component.source, "licence": component.licence}
    if isinstance(needs := getattr(component, "needs", None), Access):
        found |= {"needs": needs.word, "tier": component.tier.value if not isinstance(component.tier, property) else None, "family": component.family}
    return found


def show(name: str, as_json: bool) -> int:
    """Print one component; 2 where there is none of that name."""
    try:
        group, short, component = registry.find(name)
    except LookupError as error:
        click.echo(str(error), err=True)
        return 2
    parameters = [p for p in component.parameters() if p.name != "folder"]
    if as_json:
        shown = [p.__dict__ | {"default": _plain(p.default)} for p in parameters]
        click.echo(json.dumps({"name": _address(group, short), **_metadata(component), "parameters": shown}, indent=1))
        return 0
    _print(group, short, component, parameters)
    return 0


def _print(group: str, name: str, component: type[Component], parameters: list[Parameter]) -> None:
    console = _console(markup=False)
    facts = _metadata(component)
    console.print(f"{_address(group, name)}  {facts['summary']}")
    for key in ("source", "licence", "family", "needs", "tier"):
        if facts.get(key):
            console.print(f"  {key:8} {facts[key]}")
    if parameters:
        table = Table(box=None, padding=(0, 2, 0, 0))
        for head in ("parameter", "type", "range", "default", ""):
            table.add_column(head)
        for p in parameters:
            table.add_row(p.name, p.type, p.range, "required" if p.required else _yaml(p), p.doc)
        console.print(table)
    if group in PLACE:
        console.print("\n" + _fragment(group, name, parameters))
    if group == "models":
        console.print("\n" + component.card().read_text() if component.card().is_file() else "")


def _plain(value: Any) -> str:
    return "null" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value).lower() if isinstance(value, bool) else str(value)


def _fragment(group: str, name: str, parameters: list[Parameter]) -> str:
    """YAML to copy into a scenario."""
    if name == "chain":
        return "attacks:\n  - {id: pgd-then-jpeg, chain: [{ref: pgd, eps: 4/255}, {kind: jpeg, quality: 85}]}"
    if name == "zoo":
        return "targets:\n  - {id: npr, kind: zoo/npr-tiny}"
    pairs = [f"{p.name}: {'...' if p.required else _yaml(p)}" for p in parameters if p.required or isinstance(p.default, (int, float, str))]
    body = ", ".join([f"kind: {name}", *pairs])
    return f"data:\n  eval: {{{body}}}" if group == "corpora" else f"{PLACE[group]}:\n  - {{id: {name}, {body}}}"


def _yaml(parameter: Parameter) -> str:
    return f"{round(parameter.default * 255)}/255" if parameter.name == "eps" and parameter.default is not None else _plain(parameter.default)
