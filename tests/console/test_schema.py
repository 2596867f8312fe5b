"""The JSON Schema of scenario files: an independent validator accepts what ships and refuses what `validate` refuses."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from jsonschema import Draft202012Validator

import redteam.scenarios
from redteam import registry
from redteam.cli import main
from redteam.console.starting import TEMPLATES
from redteam.scenario.errors import ScenarioError
from redteam.scenario.load import load

SHIPPED = [*Path(redteam.scenarios.__file__).parent.glob("*.yaml"), TEMPLATES / "scenario.yaml"]
WHOLE = """
schema: redteam/v1
name: whole
data: {eval: {kind: camera, limit: 8}}
targets: [{id: t, kind: linear}]
attacks: [{id: pgd, kind: pgd, eps: 4/255}]
"""


class Loader(yaml.SafeLoader):
    """As an editor reads YAML 1.2: `on` is a text, and so is a ratio."""

    yaml_implicit_resolvers = {first: [(tag, rule) for tag, rule in rules if tag != "tag:yaml.org,2002:bool"] for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()}


Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("true|false"), "tf")


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    found = json.loads(CliRunner().invoke(main, ["schema"]).output)
    Draft202012Validator.check_schema(found)
    return found


def wrong(schema: dict[str, Any], text: str) -> list[str]:
    return [error.json_path for error in Draft202012Validator(schema).iter_errors(yaml.load(text, Loader))]


def refused(text: str, folder: Path) -> bool:
    (folder / "s.yaml").write_text(text)
    try:
        load(folder / "s.yaml")
    except ScenarioError:
        return True
    return False


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_every_scenario_that_ships_is_valid(schema, path):
    assert wrong(schema, path.read_text()) == []


GOOD = {
    "a sweep": ("eps: 4/255", "eps: {sweep: [1/255, 0.01]}, norm: l2"),
    "a quoted ratio": ("eps: 4/255", "eps: '4/255'"),
    "a chain": ("attacks: [", "attacks: [{id: c, chain: [{ref: pgd, eps: 1/255}, {kind: jpeg, quality: {sweep: [90, 80]}}]}, "),
    "two corpora": ("{kind: camera, limit: 8}", "[{kind: camera, limit: 8}, {id: b, kind: camera, seed: 3, forge: {splice: 1, regenerate: {model: zoo/vae-tiny}}}]"),
    "a zoo target": ("kind: linear", "kind: zoo/npr-tiny, threshold: {fixed: 0.5}"),
    "a python target": ("kind: linear", "kind: python, factory: 'm.py:build', output: {type: prob}, input: {resize: {size: [3, 4]}, mean: [0.1, 0.2, 0.3], crop: 3}, args: {a: [1, {b: c}]}"),
    "the rest": ("attacks:", "file: {format: jpeg, quality: 90}\nmatrix: {exclude: [{attack: pgd, target: t}]}\nlimits: {max_error_rate: 1/2}\nrepeats: 2\nseed: 3\n"
                 "gates: [{id: g, metric: auc, where: {attack: identity}, require: '>= 0.5', on: ci_lower, min_n: 3}]\nattacks: [{id: other, kind: pgd}]\nunused:"),
}  # fmt: skip


@pytest.mark.parametrize("what", [name for name in GOOD if name != "the rest"])
def test_what_validate_takes_the_schema_takes(schema, what, tmp_path):
    text = WHOLE.replace(*GOOD[what])
    assert text != WHOLE and wrong(schema, text) == [] and not refused(text, tmp_path)


def test_every_section_is_known(schema, tmp_path):
    text = WHOLE.replace(*GOOD["the rest"]).split("unused:")[0].replace("{attack: pgd, target: t}", "{attack: other, target: t}").replace("[{id: other, kind: pgd}]", "[{id: other, kind: pgd}, {id: jpeg, kind: jpeg}]")
    assert wrong(schema, text) == [] and not refused(text, tmp_path)


BAD = {
    "no schema": ("schema: redteam/v1\n", ""),
    "another version": ("redteam/v1", "redteam/v2"),
    "an unknown section": ("targets:", "targetz: 1\ntargets:"),
    "an unknown parameter": ("eps: 4/255", "epsilon: 4/255"),
    "a parameter of another attack": ("eps: 4/255", "quality: 3"),
    "a number out of range": ("eps: 4/255", "steps: 0"),
    "a text for a number": ("eps: 4/255", "eps: four"),
    "a fraction for an integer": ("eps: 4/255", "steps: 2.5"),
    "a choice that does not exist": ("eps: 4/255", "norm: l7"),
    "an empty sweep": ("4/255", "{sweep: []}"),
    "a sweep with a value twice": ("4/255", "{sweep: [0.1, 0.1]}"),
    "a sweep out of range": ("eps: 4/255", "steps: {sweep: [1, 0]}"),
    "a sweep outside attacks": ("limit: 8", "limit: {sweep: [1, 2]}"),
    "an attack without an id": ("{id: pgd, kind", "{kind"),
    "an attack without a kind": ("kind: pgd, ", ""),
    "an unknown attack": ("kind: pgd", "kind: pdg"),
    "the id of a control arm": ("id: pgd", "id: noise"),
    "an id that is no slug": ("id: pgd", "id: p/gd"),
    "a chain without stages": ("kind: pgd, eps: 4/255", "chain: []"),
    "a stage with ref and kind": ("kind: pgd, eps: 4/255", "chain: [{ref: pgd, kind: pgd}]"),
    "a chain written as a kind": ("kind: pgd, eps: 4/255", "kind: chain"),
    "no eval": ("eval:", "calib:"),
    "an unknown role": ("eval:", "test: {kind: camera}, eval:"),
    "an unknown forgery": ("limit: 8", "forge: {splize: 1}"),
    "a forgery of weight zero": ("limit: 8", "forge: {splice: 0}"),
    "no targets": ("[{id: t, kind: linear}]", "[]"),
    "an autoencoder as a target": ("kind: linear", "kind: zoo/vae-tiny"),
    "a target's internal field": ("kind: linear", "kind: python, factory: 'a:b', output: {type: logit}, folder: /"),
    "an unknown key inside a parameter": ("kind: linear", "kind: linear, threshold: {fixd: 0.5}"),
    "a gate on an unknown metric": ("attacks:", "gates: [{id: g, metric: acc, require: '>= 1'}]\nattacks:"),
    "a gate without an operator": ("attacks:", "gates: [{id: g, metric: auc, require: '0.5'}]\nattacks:"),
    "an exclusion of a control arm": ("attacks:", "matrix: {exclude: [{attack: noise}]}\nattacks:"),
    "a file format that does not exist": ("attacks:", "file: {format: gif}\nattacks:"),
}


@pytest.mark.parametrize("what", BAD)
def test_what_the_schema_refuses_validate_refuses_and_the_other_way_round(schema, what, tmp_path):
    text = WHOLE.replace(*BAD[what])
    assert text != WHOLE and wrong(schema, text) != [] and refused(text, tmp_path)


def test_a_scenario_that_extends_another_may_say_only_what_it_changes(schema):
    over = "extends: base.yaml\nattacks: [{id: pgd, steps: 3}, {id: new, kind: jpeg}]\ndata: {calib: {kind: camera}}\n"
    assert wrong(schema, over) == []
    assert wrong(schema, over.replace("extends: base.yaml\n", "")) != []
    for bad in ("{steps: 3}", "{id: new, kind: jpeg, qualitty: 3}", "{id: new, kind: jepg}"):
        assert wrong(schema, over.replace("{id: new, kind: jpeg}", bad)) == ["$.attacks[1]"]
    assert wrong(schema, over.replace("data:", "dta:")) != []


def test_every_parameter_of_every_attack_is_described(schema):
    found = {entry["properties"]["kind"]["const"]: entry["properties"] for entry in schema["$defs"]["attacks"]["oneOf"] if "kind" in entry["properties"]}
    assert set(found) == set(registry.names("attacks")) - {"chain"}
    assert {(name, key) for name, properties in found.items() for key in properties if key != "id" and "description" not in properties[key]} == set()
    assert found["pgd"]["steps"] == {
        "description": "gradient queries per image", "default": 20,
        "anyOf": [{"type": "integer", "minimum": 1},
                  {"type": "object", "required": ["sweep"], "additionalProperties": False,
                   "properties": {"sweep": {"type": "array", "minItems": 1, "uniqueItems": True, "items": {"type": "integer", "minimum": 1}}}}],
    }  # fmt: skip


def test_it_is_written_to_a_file_with_the_line_that_editors_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, ["schema", "--output", "s.json"])
    assert (result.exit_code, result.output) == (0, "wrote s.json; first line of a scenario, for editors with a YAML language server:\n# yaml-language-server: $schema=s.json\n")
    assert json.loads(Path("s.json").read_text())["$schema"] == "https://json-schema.org/draft/2020-12/schema"
