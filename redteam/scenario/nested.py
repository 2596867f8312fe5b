"""`{kind: minimum, attack: {ref: pgd, steps: 10}, eps: 16/255}`: an attack that runs another one, which is read as a stage of a chain is."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

from redteam.scenario.chains import stage
from redteam.scenario.components import Part, build, placed, refuse_unknown
from redteam.scenario.document import Place
from redteam.scenario.model import Variant
from redteam.scenario.reading import Reading
from redteam.scenario.sweeps import choices, swept_numbers


def inner_field(cls: type) -> str | None:
    """The field of an attack that holds another attack; None of attacks that do not."""
    return next((field.name for field in fields(cls) if field.metadata.get("stage")), None)


def nested_variants(reading: Reading, part: Part) -> tuple[Variant, ...]:
    """The attack with each of its settings around each of the inner attack's; nothing where something is wrong, which is noted."""
    before, name = len(reading.problems), inner_field(part.cls)
    place = (*part.home, name)
    inner = stage(reading, place)
    own = refuse_unknown(reading, replace(part, params={key: param for key, param in part.params.items() if key != name}))
    outer = [(choice, build(reading, replace(own, params=choice.params), paths=False)) for choice in choices(reading, own.params)]
    if len(reading.problems) > before or not inner:
        return ()
    return tuple(variant for choice, built in outer for strength, attack in inner.settings if (variant := _variant(reading, own, (choice, built), (strength, attack), place)))


def _variant(reading: Reading, part: Part, outer: tuple[Any, Any], inner: tuple[dict[str, float], Any], place: Place) -> Variant | None:
    (choice, built), (strength, attack) = outer, inner
    name = place[-1]
    if why := built.unfit(attack):
        return reading.error("RT105", place, f"{name} {why}")
    whole = replace(built, **{name: attack})
    swept = {f"{name}.{key}": value for key, value in strength.items() if key not in whole.strengths()}
    return Variant({**whole.strengths(), **swept_numbers(whole, choice), **swept}, whole)
