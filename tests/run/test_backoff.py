"""Where memory runs out, fewer images are computed together, the rows say so, and nothing else about them changes. The allocator's errors are injected."""

from __future__ import annotations

import json
from collections import Counter

import pytest
import torch

from redteam.attack import Tier
from redteam.data.folder import Folder
from redteam.run import executing
from redteam.run.backoff import is_shortage

CPU = "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate 17179869184 bytes. Error code 12 (Cannot allocate memory)"


@pytest.fixture
def short(small, monkeypatch):
    """Runs in which a function of the protocol has memory for so many images; gives the sizes that were tried, and the rows."""

    def run(name: str, fits: int, error: Exception, function: str = "attack_batch", **options):
        original, tried = getattr(executing.detection, function), []

        def limited(square, images, *rest):
            if square.cell.attack == "pgd" or function == "identity_batch":
                tried.append(len(images))
                if len(images) > fits:
                    raise error
            return original(square, images, *rest)

        with monkeypatch.context() as patch:
            patch.setattr(executing.detection, function, limited)
            run_dir, closing = small.inline(name, **options)
        return tried, [json.loads(line) for line in run_dir.results.read_text().splitlines()], closing

    return run


@pytest.mark.parametrize("error", [torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."), RuntimeError(CPU), MemoryError()], ids=["cuda", "cpu", "python"])
def test_a_batch_that_does_not_fit_is_halved_and_the_size_is_learned_once(small, short, error):
    whole, _ = small.inline("whole")
    tried, rows, closing = short("short", 2, error)
    assert tried == [8, 4, 2, 2, 2, 2, 2]  # eight images of one size, then two of another, which has to be learned anew
    before = [json.loads(line) for line in whole.results.read_text().splitlines()]
    split = {row["id"] for row in rows if row["attack"] == "pgd" and "big" not in row["id"]}
    for row, was in zip(rows, before, strict=True):
        if row["attack"] == "pgd" and row["id"] in split:
            assert row["determinism"].pop("effective_batch") == 2 and row["warnings"].pop() == "memory_backoff"
        assert row == was
    assert len(split) == 8 and closing.lost == 0


def test_what_was_learned_serves_the_other_micro_batches_of_the_cell(short):
    tried, rows, _ = short("short", 2, MemoryError(), micro_batch=4)
    assert tried == [4, 2, 2, 2, 2, 2]
    assert Counter(row["determinism"].get("effective_batch") for row in rows if row["attack"] == "pgd") == {2: 8, None: 2}


def test_an_odd_rest_says_how_many_it_was(short):
    tried, rows, _ = short("short", 3, MemoryError(), micro_batch=7)
    assert tried == [7, 3, 3, 1, 1, 2]
    assert Counter(row["determinism"].get("effective_batch") for row in rows if row["attack"] == "pgd") == {3: 6, 1: 1, None: 3}


def test_an_image_that_does_not_fit_alone_has_a_row_that_says_so_and_counts_as_lost(short):
    tried, rows, closing = short("short", 0, MemoryError())
    lost = [row for row in rows if row["attack"] == "pgd"]
    assert {row["status"] for row in lost} == {"oom"} and {row["status"] for row in rows if row["attack"] != "pgd"} == {"ok"}
    assert lost[0]["reason"] == "out of memory with one image of 32 x 32; it needs another device, or a target that takes smaller images"
    assert (closing.lost, closing.over_budget, closing.summary["cells"][-1]["errors"]) == (10, True, 10)


def test_without_a_clean_answer_an_image_is_not_attacked(short):
    _, rows, closing = short("short", 0, MemoryError(), function="identity_batch")
    assert {row["status"] for row in rows} == {"oom"} and closing.lost == 30
    assert {row["reason"] for row in rows if row["attack"] == "pgd" and "big" in row["id"]} == {"as without an attack: out of memory with one image of 40 x 40; it needs another device, or a target that takes smaller images"}


def test_an_attack_that_hangs_on_its_batch_is_never_split_in_silence(short, monkeypatch):
    monkeypatch.setattr("redteam.attacks.pgd.PGD.tier", Tier.MICROBATCH)
    tried, rows, _ = short("short", 4, MemoryError())
    assert tried == [8, 2]
    found = {row["reason"]: row["status"] for row in rows if row["attack"] == "pgd"}
    assert found == {"out of memory with 8 images of 32 x 32, and pgd does something else in smaller batches; start a new run with a smaller --micro-batch": "oom", None: "ok"}


def test_an_image_too_large_to_be_read_costs_itself(small, monkeypatch):
    def reader(self, resolve):
        def one(sample):
            if sample.id == "fake/big000.png":
                raise MemoryError
            return read(sample)

        read = original(self, resolve)
        return one

    original = Folder.open
    monkeypatch.setattr(Folder, "open", reader)
    run_dir, closing = small.inline()
    rows = [json.loads(line) for line in run_dir.results.read_text().splitlines()]
    assert {row["id"] for row in rows if row["status"] == "oom"} == {"fake/big000.png"} and closing.lost == 3


def test_other_errors_are_not_mistaken_for_a_shortage():
    assert not is_shortage(RuntimeError("mat1 and mat2 shapes cannot be multiplied")) and not is_shortage(ValueError("out of memory"))
    assert is_shortage(RuntimeError("MPS backend out of memory (MPS allocated: 17 GB)")) and is_shortage(RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"))
