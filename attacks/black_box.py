"""What attacks without gradients have in common: each image is a conversation of its own with the target, and all of them go on together.

A search yields a file that it wants to know about and is sent the answer; it sees nothing else, neither other images nor its own budget.
What it comes upon is kept here: no search can return a file that was not judged, ask once more than it may, or fail to stop.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from pydantic import Field
from torch import Tensor
from typing_extensions import Annotated

from redteam.attack import State, Tier
from redteam.attacks.bounded import BoundedAttack
from redteam.imaging.grid import level_l2, level_linf, project_l2_on_grid, round_nearest
from redteam.imaging.settling import settle
from redteam.images import Images
from redteam.objective import Objective
from redteam.seeding import SampleRNG
from redteam.target import Access

Search = Generator[Tensor, Any, None]  # yields pixels (1, 3, h, w) on the 8-bit grid, is sent a loss or a decision
ROUNDS = 4  # questions for each query that is allowed, answers from memory included; a search that only repeats itself ends


class Answer(NamedTuple):
    """What came back for one file.

    said:   what the search is told
    rank:   how good the file is, lower is better; infinite for one that is no use
    enough: whether the search can end with it
    """

    said: float | bool
    rank: float
    enough: bool
