"""One declaration of a component says its fields, types, ranges and documentation."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field, TypeAdapter, ValidationError

from redteam import registry
from redteam.component import Component, ModelRef, Number, Quality, Radius, field_docs, interval, type_name

COMPONENTS = [(group, name) for group in ("attacks", "defenses", "targets") for name in registry.names(group)]


@dataclass(frozen=True, kw_only=True)
class Base(Component):
    """Do something.

    goal: what for
    """

    goal: str | None = None


@dataclass(frozen=True, kw_only=True)
class Sample(Base):
    """Blur and then sharpen. A second sentence.

    sigma:  standard deviation, pixels;
            goes on in the next line
    kernel: of the filter
    """

    sigma: Annotated[float, Field(gt=0, le=50)]
    kernel: Literal["box", "gauss"] = "gauss"
    tags: list[str] = field(default_factory=list)
    path: Path | None = None


def test_parameters_are_the_fields_with_their_documentation():
    found = {p.name: p for p in Sample.parameters()}
    assert list(found) == ["goal", "sigma", "kernel", "tags", "path"]
    assert found["goal"].doc == "what for"
    assert found["sigma"].doc == "standard deviation, pixels; goes on in the next line"
    assert (found["sigma"].required, found["sigma"].default, found["sigma"].range) == (True, None, "(0, 50]")
    assert (found["kernel"].required, found["kernel"].default, found["kernel"].type) == (False, "gauss", "'box' | 'gauss'")
    assert (found["tags"].required, found["tags"].default, found["tags"].type) == (False, [], "list of text")
    assert (found["path"].type, found["path"].doc, found["path"].range) == ("path | null", "", "")


def test_the_summary_is_the_first_line():
    assert Sample.summary() == "Blur and then sharpen. A second sentence."


def test_params_are_plain_json_and_make_the_same_component_again():
    made = Sample(sigma=1.5, tags=["a"], path=Path("x/y"))
    assert made.params() == {"goal": None, "sigma": 1.5, "kernel": "gauss", "tags": ["a"], "path": "x/y"}
    assert TypeAdapter(Sample).validate_python(made.params()) == made


def test_a_component_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Sample(sigma=1).sigma = 2


@pytest.mark.parametrize(
    ("hint", "range_", "type_"),
    [
        (Radius, "[0, inf)", "number"),
        (Radius | None, "[0, inf)", "number | null"),
        (Quality, "[1, 100]", "integer"),
        (Annotated[float, Field(gt=0, lt=1)], "(0, 1)", "number"),
        (Annotated[int, Field(le=3)], "(-inf, 3]", "integer"),
        (tuple[Annotated[float, Field(gt=0)], ...], "(0, inf)", "list of number"),
        (dict[str, int], "", "mapping to integer"),
        (bool, "", "true | false"),
        (ModelRef, "", "zoo name or path"),
        (Any, "", "anything"),
    ],
)
def test_ranges_and_types_read_as_mathematics_and_words(hint, range_, type_):
    assert interval(hint) == range_
    assert type_name(hint) == type_


@pytest.mark.parametrize(("text", "value"), [("8/255", 8 / 255), (" 1.5 / 3 ", 0.5), (0.25, 0.25)])
def test_fractions_are_numbers(text, value):
    assert TypeAdapter(Number).validate_python(text) == value


@pytest.mark.parametrize("text", ["1/0", "a/b", "-1/255", "1/2/3", "", "eval(1)"])
def test_what_is_no_fraction_is_refused(text):
    with pytest.raises(ValidationError):
        TypeAdapter(Radius).validate_python(text)


def test_a_negative_radius_is_refused():
    with pytest.raises(ValidationError, match="greater than or equal to 0"):
        TypeAdapter(Radius).validate_python(-0.1)


@pytest.mark.parametrize(("group", "name"), COMPONENTS)
def test_every_shipped_component_documents_every_field(group, name):
    cls = registry.get(group, name)
    undocumented = [p.name for p in cls.parameters() if not p.doc]
    assert undocumented == []
    assert cls.summary().endswith((".", ";")) or ". " in cls.summary()
    assert set(field_docs(cls)) >= {p.name for p in cls.parameters()}
