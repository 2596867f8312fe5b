"""Where memory is short, fewer images at a time; how many fit is learned once."""

from __future__ import annotations

import gc
from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace

import torch

from redteam.data.corpus import Sample
from redteam.record import Record

Compute = Callable[[Sequence[Sample]], dict[str, Record]]
SAYINGS = ("can't allocate memory", "not enough memory", "out of memory", "status_alloc_failed")  # of allocators that raise no error of their own


class Backoff:
    """What has been learned of how many images fit together, by what is done with them."""

    def __init__(self) -> None:
        self._fits: dict[Hashable, int] = {}

    def run(self, what: Hashable, samples: Sequence[Sample], compute: Compute) -> dict[str, Record]:
        """The rows of images of one size, in as large pieces as fit and marked where that is not all at once; an image that does not fit alone has none."""
        found: dict[str, Record] = {}
        start = 0
        while start < len(samples):
            size = self._fits.get(what, len(samples))
            part = samples[start : start + size]
            rows = attempted(compute, part)
            if rows is None and len(part) > 1:
                self._fits[what] = len(part) // 2
                continue
            found |= _marked(rows or {}, len(part)) if len(part) < len(samples) else rows or {}
            start += len(part)
        return found


def attempted(compute: Compute, samples: Sequence[Sample]) -> dict[str, Record] | None:
    """The rows; None, with all memory given back, where there was not enough of it."""
    try:
        return compute(samples)
    except Exception as error:
        if not is_shortage(error):
            raise
    _release()  # not before: until here the error holds on to what was allocated
    return None


def is_shortage(error: Exception) -> bool:
    """Whether an error means that memory ran out, on whatever device.

    >>> is_shortage(RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate 64 bytes."))
    True
    """
    if isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(saying in str(error).lower() for saying in SAYINGS)


def _release() -> None:
    gc.collect()
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()


def _marked(rows: dict[str, Record], size: int) -> dict[str, Record]:
    """Rows that say how many images were computed together instead of a whole micro-batch."""
    return {
        name: replace(row, determinism=row.determinism | {"effective_batch": size}, warnings=(*row.warnings, "memory_backoff")) if row.status == "ok" else row
        for name, row in rows.items()
    }
