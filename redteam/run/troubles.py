"""What has been learned of a unit that hung or killed its worker, until only the images that do it are left out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

HUNG, DIED = "timeout", "crash"  # statuses of the images to blame


@dataclass
class Troubles:
    """First a micro-batch is suspected and run image by image, then an image is, and then it gets its row without being run.

    alone:    numbers of the micro-batches that run image by image
    poisoned: image id -> (status, reason) of the images that did it
    bare:     whether a preparation leaves out what a run can do without
    """

    alone: set[int] = field(default_factory=set)
    poisoned: dict[str, tuple[str, str]] = field(default_factory=dict)
    bare: bool = False

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Troubles:
        """What `to_json` gave."""
        poisoned = {name: (status, reason) for name, (status, reason) in value["poisoned"].items()}
        return cls(set(value["alone"]), poisoned, value["bare"])

    def to_json(self) -> dict[str, Any]:
        """As a command carries it."""
        return {"alone": sorted(self.alone), "poisoned": self.poisoned, "bare": self.bare}

    def suspect(self, batch: int | None, image: str | None, status: str, reason: str) -> bool:
        """Learn from a loss at some place of the unit; False where there is nothing more to learn from it."""
        if image is not None and image not in self.poisoned:
            self.poisoned[image] = (status, reason)
            return True
        if image is None and batch is not None and batch not in self.alone:
            self.alone.add(batch)
            return True
        return False

    def blame(self, images: Iterable[str], status: str, reason: str) -> None:
        """Give up on these images."""
        self.poisoned |= {name: (status, reason) for name in images if name not in self.poisoned}
