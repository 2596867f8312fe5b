"""Exported images are the ones that were scored, with their masks, and nothing is exported that did not come out again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from redteam.record import Record
from redteam.run.errors import Refused, Unfinished
from redteam.run.exporting import Exported, choose, export
from redteam.run.ledger import RunDir


def rows(run_dir: RunDir) -> list[dict[str, Any]]:
    return [json.loads(line) for line in run_dir.results.read_text().splitlines()]


def exported(lab, run_dir: RunDir, name: str = "out", only_success: bool = False, **where: Any) -> Exported:
    plan = lab.plan(run_dir)
    return export(run_dir, plan, choose(run_dir, plan, where, only_success=only_success), lab.folder / name, start=lab.worker)


def lines(found: Exported) -> list[dict[str, Any]]:
    return [json.loads(line) for line in found.manifest.read_text().splitlines()]


@pytest.mark.parametrize("file", ["png", "jpeg"])
def test_another_scenario_that_evaluates_the_export_finds_the_same_scores(small, file):
    small.write(attacks=[{"id": "pgd", "kind": "pgd", "eps": {"sweep": ["8/255", "16/255"]}, "steps": 2}, {"id": "crop", "kind": "crop", "keep": 0.8}], file={"format": file, "quality": 90})
    run_dir, _ = small.inline()
    found = exported(small, run_dir)
    small.write(data={"eval": {"kind": "manifest", "path": "out/manifest.jsonl"}}, attacks=[{"id": "jpeg", "kind": "jpeg"}], file={"format": "png"})
    again, _ = small.inline("again")
    attacked = {row["rid"]: row["outcome"]["score"] for row in rows(run_dir) if row["attack"] in ("pgd", "crop")}
    assert {row["id"]: row["outcome"]["score"] for row in rows(again) if row["attack"] == "identity"} == attacked and len(attacked) == 30
    assert (found.images, found.different, found.without_image) == (30, {}, 0)


def test_each_line_says_where_its_image_comes_from(small):
    run_dir, _ = small.inline()
    recorded = {row["rid"]: row for row in rows(run_dir)}
    for line in lines(exported(small, run_dir)):
        row = recorded[line["x_rid"]]
        assert (line["id"], line["image"], line["label"], line["group"], line["split"]) == (row["rid"], f"images/{row['rid']}.png", row["label"], row["group"], "eval")
        assert (line["x_image"], line["x_attack"], line["x_strength"], line["x_success"]) == (row["id"], "pgd", {"eps": 16 / 255}, row["outcome"]["success"])


def test_only_successes_are_exported_when_asked_and_controls_when_named(small):
    small.write(attacks=[{"id": "pgd", "kind": "pgd", "eps": "14/255", "steps": 2}])
    run_dir, _ = small.inline()
    wanted = {row["rid"] for row in rows(run_dir) if row["attack"] == "pgd" and row["outcome"]["success"]}
    assert 0 < len(wanted) < 10 and {line["id"] for line in lines(exported(small, run_dir, only_success=True))} == wanted
    assert {line["x_attack"] for line in lines(exported(small, run_dir, "noise", attack="noise"))} == {"noise"}
    clean = lines(exported(small, run_dir, "clean", attack="identity"))
    pixels = {line["x_image"]: np.asarray(Image.open(small.folder / "clean" / line["image"])) for line in clean}
    assert len(pixels) == 10 and all(np.array_equal(image, np.asarray(Image.open(small.folder / "data" / name))) for name, image in pixels.items())


def test_a_mask_goes_with_its_fake_where_pixels_move_too(lab):
    lab.write(data={"eval": {"kind": "camera", "size": 64, "limit": 8, "forge": {"splice": 1}}}, attacks=[{"id": "crop", "kind": "crop", "keep": 0.5}, {"id": "jpeg", "kind": "jpeg"}])
    run_dir, _ = lab.inline()
    samples = {sample.id: sample for sample in lab.plan(run_dir).samples["camera"]}
    read = lab.plan(run_dir).scenario.data["eval"][0].corpus.open(lambda name: None)
    found = lines(exported(lab, run_dir))
    assert len(found) == 16 and {line["label"] for line in found if "mask" in line} == {1} and sum("mask" in line for line in found) == 8
    for line in (line for line in found if "mask" in line):
        source, mask = read(samples[line["x_image"]]).mask, np.asarray(Image.open(lab.folder / "out" / line["mask"]))
        assert source.any() and np.array_equal(mask, source[16:48, 16:48] if line["x_attack"] == "crop" else source)


def test_an_image_that_does_not_come_out_as_recorded_is_named_and_left_out(small):
    run_dir, _ = small.inline()
    plan = small.plan(run_dir)
    unit = plan.units[-1]
    recorded = [json.loads(line) for line in run_dir.read_unit(unit.key)]
    recorded[0]["outcome"]["score"] += 0.5
    run_dir.write_unit(unit.key, [Record(**row | {"warnings": tuple(row["warnings"])}).to_json() for row in recorded])
    found = exported(small, run_dir)
    assert found.different == {recorded[0]["rid"]: ["outcome.score"]} and found.images == 9
    assert recorded[0]["rid"] not in found.manifest.read_text() and len(list((small.folder / "out/images").iterdir())) == 9


def test_rows_without_an_outcome_have_no_image_and_are_counted(small):
    small.write(targets=[{"id": "odd", "kind": "broken", "fault": "raise", "above": 0.55, "scale": 100}])
    run_dir, _ = small.inline()
    found = exported(small, run_dir)
    assert (found.images + found.without_image, found.without_image) == (10, sum(row["status"] == "error" for row in rows(run_dir) if row["attack"] == "pgd"))


def test_the_same_export_has_the_same_bytes_and_leaves_no_scratch(small):
    run_dir, _ = small.inline()
    first, second = exported(small, run_dir, "one"), exported(small, run_dir, "two")
    names = [sorted(str(path.relative_to(found.manifest.parent)) for path in found.manifest.parent.rglob("*")) for found in (first, second)]
    assert names[0] == names[1] and len(names[0]) == 12 and all((first.manifest.parent / name).is_dir() or (first.manifest.parent / name).read_bytes() == (second.manifest.parent / name).read_bytes() for name in names[0])


def test_an_export_that_is_stopped_leaves_nothing(small):
    run_dir, _ = small.inline()
    plan = small.plan(run_dir)
    chosen = choose(run_dir, plan, {}, only_success=False)

    def stop(step: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export(run_dir, plan, chosen, small.folder / "out", report=stop, start=small.worker)
    assert not (small.folder / "out").exists()


def test_a_folder_that_holds_something_is_refused_and_left_alone(small):
    run_dir, _ = small.inline()
    for name, path in (("full", small.folder / "full" / "x.txt"), ("file", small.folder / "file")):
        path.parent.mkdir(exist_ok=True)
        path.write_text("mine")
        with pytest.raises(Refused, match=f"^-o .*/{name}: exists and is not empty; give another -o$"):
            exported(small, run_dir, name)
        assert path.read_text() == "mine"
    with pytest.raises(Refused, match="^-o .*/file/out: cannot be made"):
        exported(small, run_dir, "file/out")


def test_a_selection_without_an_image_and_an_unfinished_run_are_refused(small):
    small.write(attacks=[{"id": "jpeg", "kind": "jpeg", "quality": 95}])
    run_dir, _ = small.inline()
    with pytest.raises(Refused, match="^.*/inline: no image is left to export; no attack that was selected succeeded$"):
        exported(small, run_dir, only_success=True)
    plan = small.plan(run_dir)
    run_dir.unit_path(plan.units[-1].key).unlink()
    with pytest.raises(Unfinished, match="^.*/inline: jpeg quality=95 is not complete; finish the run with: redteam resume .*/inline$"):
        exported(small, run_dir)


def test_hostile_names_stay_in_the_manifest_and_out_of_the_folder(small):
    name = "<b> ..%2e\u2028\x1b[31m.png"
    (small.folder / "data" / "fake" / "000.png").rename(small.folder / "data" / "fake" / name)
    run_dir, _ = small.inline()
    found = exported(small, run_dir)
    assert f"fake/{name}" in {line["x_image"] for line in lines(found)}
    assert {path.stem.isalnum() for path in Path(found.manifest.parent, "images").iterdir()} == {True}
