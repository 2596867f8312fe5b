"""Images inside the report: what is shown, how large, and what is refused."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from redteam.record import Record, read_records
from redteam.reports.directory import read_run
from redteam.reports.gallery import MOST, MOST_BYTES, SIDE, gallery


def pixels(uri: str) -> np.ndarray:
    with Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def rows_of(run: Path) -> list[Record]:
    return [row for row in read_records(run / "results.jsonl") if row.artifacts]


def test_each_cell_shows_a_fake_and_a_real_image(make_run: Callable[..., Path]) -> None:
    shown = gallery(read_run(make_run())).exhibits
    assert {exhibit.image for exhibit in shown} == {"scene-1", "scene-0"}
    assert shown[0].outcome.replace("\u00a0", " ") == "fake image passes; score 2.31 → −0.42, threshold 0.00; PSNR 38.2 dB"


def test_small_images_keep_every_pixel_and_the_difference_is_true_to_its_factor(make_run: Callable[..., Path]) -> None:
    run = make_run()
    row = rows_of(run)[0]
    before, after, difference = gallery(read_run(run)).exhibits[0].pictures
    saved = [np.asarray(Image.open(run / row.artifacts[role]).convert("RGB")).astype(int) for role in ("before", "after")]
    assert (pixels(before.uri) == saved[0]).all() and (pixels(after.uri) == saved[1]).all()
    assert difference.caption == "difference × 16"
    assert (pixels(difference.uri) == 128 + 16 * (saved[1] - saved[0])).all()


def test_large_images_are_shrunk_and_say_so(make_run: Callable[..., Path], tmp_path: Path) -> None:
    run = make_run()
    row = rows_of(run)[0]
    for role in ("before", "after"):
        Image.new("RGB", (600, 300), (9, 99, 200)).save(run / row.artifacts[role])
    shown = gallery(read_run(run)).exhibits[0].pictures
    assert [(picture.width, picture.height) for picture in shown] == [(SIDE, SIDE // 2)] * 3
    assert shown[0].caption == "before, 600 × 300, shown smaller"
    assert (pixels(shown[2].uri) == 128).all()


def test_an_attack_that_changes_the_size_has_no_difference(make_run: Callable[..., Path]) -> None:
    run = make_run()
    Image.new("RGB", (64, 64)).save(run / rows_of(run)[0].artifacts["after"])
    assert [picture.caption for picture in gallery(read_run(run)).exhibits[0].pictures] == ["before, 128 × 128", "after, 64 × 64"]


@pytest.mark.parametrize("damage", ["gone", "text", "cut"])
def test_missing_and_broken_files_are_counted(make_run: Callable[..., Path], damage: str) -> None:
    run = make_run()
    file = run / rows_of(run)[0].artifacts["after"]
    content = file.read_bytes()
    file.unlink() if damage == "gone" else file.write_bytes(b"no image" if damage == "text" else content[: len(content) // 2])
    found = gallery(read_run(run))
    assert "The files of 1 image are missing or broken and cannot be shown." in found.notes
    assert len(found.exhibits) == len(rows_of(run)) - 1


@pytest.mark.parametrize("escape", ["../secret.png", "/etc/hostname", "artifacts/../../secret.png", "artifacts/link.png", "a\0b"])
def test_a_record_cannot_reach_files_outside_its_run(make_run: Callable[..., Path], tmp_path: Path, escape: str) -> None:
    run = make_run()
    Image.new("RGB", (8, 8)).save(tmp_path / "secret.png")
    (run / "artifacts" / "link.png").symlink_to(tmp_path / "secret.png")
    stolen = replace(rows_of(run)[0], artifacts={"before": escape, "after": escape})
    run = make_run(rows=[stolen])
    assert gallery(read_run(run)).exhibits == ()


def test_number_and_size_are_capped_and_what_is_left_out_is_counted(make_run: Callable[..., Path], parts: tuple[dict, dict]) -> None:
    run = make_run(parts[0])
    row = rows_of(run)[0]
    many = [replace(row, cell=f"cell-{i}", rid=f"{i}") for i in range(100)]
    found = gallery(read_run(make_run(parts[0], rows=many)))
    assert 0 < len(found.exhibits) <= MOST
    assert sum(len(picture.uri) for exhibit in found.exhibits for picture in exhibit.pictures) <= MOST_BYTES
    assert f"{len(found.exhibits)} of 100 stored images shown, spread over the cells and not chosen by outcome; all files lie under artifacts/." in found.notes


def test_broken_lines_are_counted_and_the_others_used(make_run: Callable[..., Path]) -> None:
    run = make_run()
    before = len(gallery(read_run(run)).exhibits)
    with open(run / "results.jsonl", "a", encoding="utf-8") as lines:
        lines.write('{"cut": \n[]\nnull\n')
    found = gallery(read_run(run))
    assert len(found.exhibits) == before
    assert "results.jsonl has 3 broken lines, left out of the figures and the gallery." in found.notes
