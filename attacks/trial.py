"""The training images that a search tries its candidates on: those that the target is right about, both classes in turn, in rounds that double."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import torch

from redteam.attacks.halving import Seen, ends
from redteam.images import Images, joined
from redteam.objective import Objective


class Trial:
    """Images in rounds; what is known of them beforehand.

    asked:  how many images the target was asked about as they are
    labels: of those that it is right about, in the order in which rounds see them
    groups: their source images
    rounds: how many there are
    """

    def __init__(self, objectives: Iterable[Objective], most: int, seed: int) -> None:
        """Takes at most so many images, asks the target once about each, and keeps those that it is right about."""
        taken = list(_taken(objectives, most))
        if not taken:
            raise ValueError("search: the role train must hold images that the goal is about, got none; add some")
        self.asked = sum(map(len, taken))
        asked = [taken[0].with_images(objective.images) for objective in taken]  # one memory for all: no file is paid for twice
        right = [objective.images.subset(~objective.succeeded(objective.images.pixels)) for objective in asked]
        if not any(map(len, right)):
            raise ValueError(f"search: the target must be right about some training image, got none of {self.asked}; nothing can be broken there")
        shuffled = _in_turn([images.subset([i]) for images in right for i in range(len(images))], seed)
        spans, batch = zip([0, *ends(len(shuffled))], ends(len(shuffled)), strict=False), max(map(len, taken))
        self._parts = [[asked[0].with_images(images) for images in _batches(shuffled[start:end], batch)] for start, end in spans]
        images = [objective.images for part in self._parts for objective in part]
        self.labels = tuple(label for batch in images for label in batch.labels.tolist())
        self.groups = tuple(group for batch in images for group in batch.groups)
        self.rounds = len(self._parts)

    def look(self, number: int, tried: Callable[[Objective], Seen]) -> Seen:
        """What `tried` shows of the images that are new in a round."""
        seen = [tried(objective) for objective in self._parts[number]]
        return Seen(*(torch.cat([getattr(one, name) for one in seen]) for name in ("broken", "kept", "distance")))


def _taken(objectives: Iterable[Objective], most: int) -> Iterator[Objective]:
    """The first images of each label that the adversary attacks, as many of one as of another where there are enough."""
    left: dict[int, int] | None = None
    for objective in objectives:
        if left is None:
            left = dict.fromkeys(objective.labels(), most // len(objective.labels()))
        chosen = []
        for i, label in enumerate(objective.images.labels.tolist()):
            if left[label]:
                left[label] -= 1
                chosen.append(i)
        if chosen:
            yield objective.subset(chosen)
        if not any(left.values()):
            return


def _in_turn(images: Sequence[Images], seed: int) -> list[Images]:
    """Single images in a random order in which every stretch holds both classes in their proportion."""
    order = np.random.default_rng(seed).permutation(len(images)).tolist()
    sizes = Counter(int(images[i].labels) for i in order)
    ranks: Counter[int] = Counter()
    places = {}
    for i in order:
        label = int(images[i].labels)
        places[i] = ((ranks[label] + 0.5) / sizes[label], label)
        ranks[label] += 1
    return [images[i] for i in sorted(order, key=places.__getitem__)]


def _batches(images: Sequence[Images], most: int) -> Iterator[Images]:
    """Single images as batches of one size each, at most so many together."""
    by_size: dict[tuple[int, ...], list[Images]] = {}
    for image in images:
        by_size.setdefault(tuple(image.pixels.shape[2:]), []).append(image)
    for same in by_size.values():
        yield from (joined(same[start : start + most]) for start in range(0, len(same), most))
