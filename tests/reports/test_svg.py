"""Drawings as files of their own."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

from redteam.reports import write_reports
from redteam.reports.directory import read_run
from redteam.reports.svg import drawings

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = '</script><svg onload=x>"\'&<!-- ]]> \u202e\ufffe😀 ../../' + "Q" * 300


def test_every_drawing_stands_alone(full_run: Path) -> None:
    found = drawings(read_run(full_run))
    assert len(found) == 12 + 3 + 6 + 3  # curves, worst cases, quality, calibration
    for text in found.values():
        root = ET.fromstring(text)
        assert root.tag == f"{SVG}svg" and root.get("width") == "500"
        assert {element.tag for element in root.iter()} <= {SVG + tag for tag in ("svg", "title", "desc", "style", "rect", "line", "text", "g", "polygon", "polyline", "circle", "path")}
        style = root.findtext(f"{SVG}style") or ""
        assert "var(" not in style and "url(" not in text and "#1b1f24" in style


def test_a_drawing_says_of_what_it_is(full_run: Path) -> None:
    text = drawings(read_run(full_run))["figures/1-camera-npr-none-quality-attack_success_rate.svg"]
    assert ET.fromstring(text).findtext(f"{SVG}title") == "camera / npr / none: How much must a fake be spoiled before it passes? against PSNR of the attacked image, dB (to the right: harder to see)"


def test_hostile_names_stay_text_and_never_lead_out_of_the_folder(make_run: Callable[..., Path], parts: tuple[dict, dict]) -> None:
    told = parts[0]
    for entry in (*told["cells"], *told["worst_case"]):
        entry |= {"target": HOSTILE}
    for cell in told["cells"]:
        cell |= {"attack": cell["attack"] if cell["control"] else HOSTILE}
    found = drawings(read_run(make_run(told)))
    assert found
    for name, text in found.items():
        assert re.fullmatch(r"figures/[\w-]{1,120}\.svg", name)
        root = ET.fromstring(text)
        assert not any(attribute.startswith("on") for element in root.iter() for attribute in element.attrib)
        assert "</script>" in (root.findtext(f"{SVG}title") or "") and "\u202e" not in text


def test_files_are_written_only_where_they_are_asked_for(make_run: Callable[..., Path]) -> None:
    run = make_run()
    write_reports(run)
    assert not (run / "figures").exists()
    written = write_reports(run, ("svg",))
    assert [path.parent for path in written] == [run / "figures"] * 21  # two records a cell carry no calibration
