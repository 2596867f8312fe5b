"""The targets of a plan behind their defenses: loaded once, and what their preparation found."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any

import torch

from redteam import registry
from redteam.data.corpus import Sample
from redteam.defense import Defense
from redteam.images import Images
from redteam.run import preparing
from redteam.run.errors import Missing, Stop
from redteam.run.ledger import check_room
from redteam.run.pictures import Pictures, in_batches, sentence
from redteam.scenario.model import DataEntry, TargetEntry
from redteam.scenario.plan import Plan, Unit
from redteam.scenario.surrogates import surrogate_entry
from redteam.target import Detector


class Defended:
    """Targets stay loaded for the life of the process; a target and its defended forms share their weights.

    beat: told of each micro-batch, so that a hang can be told from work; with a place where one is scored
    """

    def __init__(self, plan: Plan, pictures: Pictures, device: torch.device, beat: Callable[..., None]) -> None:
        self._scenario, self._plan, self._pictures, self._device, self._beat = plan.scenario, plan, pictures, device, beat
        self._defenses = {entry.id: entry.defense for entry in plan.scenario.defenses}
        self._loaded: dict[str, Detector] = {}
        self._behind: dict[tuple[str, str], Detector] = {}
        self._surrogates: dict[str, Detector] = {}

    def load(self, target: str, defense: str) -> Detector:
        """The target behind its defense, having looked at the first clean images. Raises Missing, and whatever user code raises."""
        if type(self._defenses[defense]).wrap is Defense.wrap:
            raise ValueError(f"defense {defense} does not wrap its target, and defenses that retrain or protect cannot be run yet; leave it out")
        if (target, defense) not in self._behind:
            self._behind[target, defense] = self._defenses[defense].wrap(self._undefended(target))
        return self._behind[target, defense]

    def surrogate(self, name: str) -> Detector:
        """A target without a defense, with its own threshold and a ledger of its own."""
        if name not in self._surrogates:
            found = self._undefended(name)
            threshold = preparing.threshold(found, self._entry(name).spec, self._calib)["threshold"]
            self._surrogates[name] = found.with_threshold(threshold).apart()
        return self._surrogates[name]

    def prepare(self, unit: Unit, *, bare: bool) -> list[str]:
        """The rows of a preparation: one, with what was found or why nothing was."""
        undefended = isinstance(self._defenses[unit.defense], registry.get("defenses", "none"))
        try:
            detector = self.load(unit.target, unit.defense)
            found = preparing.facts(detector, self._entry(unit.target).spec, self._calib, self._clean, probe_range=undefended and not bare)
        except Stop:
            raise
        except Exception as error:  # a user's code may raise anything; its cells then say so, and the others go on
            check_room(error)
            found = {"error": f"{unit.target} could not be prepared: {sentence(error)}"}
        return [json.dumps(found, sort_keys=True, allow_nan=False)]

    def _entry(self, name: str) -> TargetEntry:
        return surrogate_entry(self._scenario.targets, name)

    def _undefended(self, target: str) -> Detector:
        if target not in self._loaded:
            self._loaded[target] = self._load(target)
        return self._loaded[target]

    def _load(self, target: str) -> Detector:
        try:
            loaded = self._entry(target).spec.load(target, self._device)
        except FileNotFoundError as error:
            raise Missing(f"targets.{target}: {error}") from error
        loaded.inspect(self._first.pixels)
        return loaded

    @cached_property
    def _first(self) -> Images:
        """The first micro-batch of readable evaluation images: always the same one, so that a restarted worker finds the same."""
        for entry in self._scenario.data["eval"]:
            for images in self._batches(entry, (batch for shard in self._plan.shards(entry.id) for batch in shard.batches)):
                return images
        raise ValueError("no evaluation image can be read")

    def _calib(self) -> Iterator[Images]:
        for entry in self._scenario.data.get("calib", ()):
            yield from self._batches(entry, in_batches(entry.corpus.samples(), self._plan.options.micro_batch), 0)

    def _clean(self) -> Iterator[Images]:
        entry = self._scenario.data["eval"][0]
        return self._batches(entry, in_batches(preparing.probed(self._plan.samples[entry.id]), self._plan.options.micro_batch), 0)

    def _batches(self, entry: DataEntry, samples: Iterator[Sequence[Sample]], *place: int) -> Iterator[Images]:
        for images in self._pictures.batches(entry.role, entry.id, samples):
            self._beat(*place)
            yield images
