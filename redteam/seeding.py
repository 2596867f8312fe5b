"""Randomness that belongs to one image: seed, component, parameters, image id and repeat, and nothing else."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Index = Tensor | slice | Sequence[int]


def canonical(value: object) -> str:
    """The one JSON text of a value: sorted keys, no spaces, no NaN.

    >>> canonical({"b": 1, "a": [0.5]})
    '{"a":[0.5],"b":1}'
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=True)


def digest(value: object) -> str:
    """32 hexadecimal digits (BLAKE2b, 128 bits) of a value's canonical JSON."""
    return hashlib.blake2b(canonical(value).encode(), digest_size=16).hexdigest()


def derive_seed(*parts: object) -> int:
    """A seed in [0, 2^63) that depends on every part.

    >>> derive_seed(1, "pgd") == derive_seed(1, "pgd") != derive_seed(2, "pgd")
    True
    """
    return int(digest(list(parts)), 16) >> 65


class SampleRNG:
    """One generator per image, so that neither batch size nor order nor a neighbour can change what an image draws.

    Numbers are drawn on the CPU and moved, so that a device cannot change them either.
    """

    def __init__(self, seeds: Sequence[int]) -> None:
        self._seeds = tuple(seeds)
        self._generators: list[torch.Generator | None] = [None] * len(self._seeds)

    @classmethod
    def of(cls, seed: int, component: str, params: object, ids: Sequence[str], repeat: int = 0) -> SampleRNG:
        """The generators of the images `ids` for one component with its parameters under a scenario's seed."""
        return cls([derive_seed(seed, component, params, name, repeat) for name in ids])

    def __len__(self) -> int:
        return len(self._seeds)

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seed of each image, as a record keeps it."""
        return self._seeds

    def subset(self, index: Index) -> SampleRNG:
        """The generators of some images; they go on where they are, and what one draws the whole has drawn."""
        where = positions(index, len(self)).tolist()
        part = SampleRNG([self._seeds[i] for i in where])
        part._generators = [self._generator(i) for i in where]
        return part

    def fork(self, *parts: object) -> SampleRNG:
        """Fresh generators for a part of the work, such as the second stage of a chain."""
        return SampleRNG([derive_seed(seed, *parts) for seed in self._seeds])

    def rand_like(self, x: Tensor) -> Tensor:
        """Uniform in [0, 1), shaped, typed and placed like x (n, ...)."""
        return self._draw(x, torch.rand)

    def randn_like(self, x: Tensor) -> Tensor:
        """Standard normal, shaped, typed and placed like x (n, ...)."""
        return self._draw(x, torch.randn)

    def signs_like(self, x: Tensor) -> Tensor:
        """-1 or +1 with even odds, shaped, typed and placed like x (n, ...)."""
        return self.rand_like(x).lt(0.5).to(x.dtype).mul(2).sub(1)

    def _draw(self, x: Tensor, draw: Callable[..., Tensor]) -> Tensor:
        if len(x) != len(self):
            raise ValueError(f"rng: {len(self)} generators cannot serve {len(x)} images; take rng.subset with the same index as the images")
        rows = [draw(x.shape[1:], generator=self._generator(i), dtype=x.dtype) for i in range(len(self))]
        return torch.stack(rows).to(x.device) if rows else torch.empty_like(x)

    def _generator(self, i: int) -> torch.Generator:
        if self._generators[i] is None:
            self._generators[i] = torch.Generator().manual_seed(self._seeds[i])
        return self._generators[i]


def positions(index: Index, n: int) -> Tensor:
    """Positions (k,) int64 on the CPU of what `index` selects among n.

    >>> positions(torch.tensor([True, False, True]), 3).tolist()
    [0, 2]
    """
    if isinstance(index, slice):
        return torch.arange(n)[index]
    where = torch.as_tensor(index).cpu()
    return torch.arange(n)[where] if where.dtype == torch.bool else where.long()
