"""What a report says of a search: the winner, how much the choice flattered it, and whether its operations alone do as much."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from redteam.measure.paired import paired_rates
from redteam.record import Record, rid
from redteam.reports import wording
from redteam.reports.directory import read_run
from redteam.reports.html import render_html
from redteam.reports.markdown import render_markdown
from redteam.reports.search import Found, searches

N = 40
JPEG = {"goal": None, "quality": 60}
BLUR = {"goal": None, "sigma": 0.8}
PGD = {"goal": None, "eps": 4 / 255, "steps": 4}
OPERATIONS = [{"name": "jpeg", "kind": "JPEG", "settings": [JPEG, {**JPEG, "quality": 90}]}, {"name": "soft", "kind": "Blur", "settings": [BLUR]}]
FINISH = {"name": "pgd", "kind": "PGD", "settings": [PGD]}


def rate(k: int, n: int) -> dict[str, float]:
    return {"value": k / n, "low": max(0.0, k / n - 0.1), "high": min(1.0, k / n + 0.1), "n": n}


def findings(*stages: str, **changes: Any) -> dict[str, Any]:
    strengths = {"jpeg": {"quality": 60}, "soft": {"sigma": 0.8}, "pgd": {"eps": 4 / 255}}
    chains = [[{"name": name, "strength": strengths[name]} for name in names] for names in (stages, ("soft",))]
    found = [{"stages": chain, "images": n, "kept": n - 3, "metrics": {"attack_success_rate": rate(n // 2 + 4, n)}, "absent": {"frame_rate": "the search looked at no such image"}} for chain, n in zip(chains, (32, 8), strict=True)]
    return {"kind": "search", "floor": {"min_psnr_db": 30.0}, "length": 2, "queries": 2000, "spent": 1234, "tried": 60, "possible": 444, "asked": 33, "images": 32, "looked": {"attack_success_rate": 32, "frame_rate": 0}, "found": found} | changes


@pytest.fixture
def searched(parts: tuple, make_run: Callable[..., Path]) -> Callable[..., Path]:
    """A run of one block in which a search and single operations attacked forty fakes; `broken` says which images each turned, `psnr` at what quality."""

    def write(broken: dict[str, set[int]], psnr: dict[str, float], told: dict[str, Any] | None = None, finish: dict[str, Any] | None = None) -> Path:
        summary, _ = parts
        identity = next(cell for cell in summary["cells"] if cell["attack"] == "identity")
        kinds = {"jpeg60": ("jpeg", JPEG), "blur8": ("blur", BLUR), "other": ("blur", {**BLUR, "sigma": 3.0})}
        cells = [identity]
        for name in broken:
            kind, params = kinds.get(name, ("search", {"goal": "evade", "pool": OPERATIONS, "finish": finish}))
            cell = identity | {"key": name, "attack": name, "kind": kind, "params": params, "control": False, "controls": [], "strength": {}, "n": N, "by_group": {}}
            cell |= {"metrics": {"attack_success_rate": rate(len(broken[name]), N)}, "absent": {"frame_rate": "no such image"}}
            cells.append(cell | ({"findings": told or findings("jpeg", "soft")} if kind == "search" else {}))
        rows = [row(cell, i, i in broken[cell["attack"]], psnr[cell["attack"]]) for cell in cells[1:] for i in range(N)]
        return make_run(told=summary | {"cells": cells, "worst_case": []}, rows=rows)

    return write


def row(cell: dict[str, Any], i: int, success: bool, psnr: float) -> Record:
    spared = psnr == 0
    return Record(
        rid=rid(cell["key"], str(i)), cell=cell["key"], data=cell["data"], target=cell["target"], defense=cell["defense"], attack=cell["attack"], strength={}, repeat=0,
        id=f"image{i}", sha256=None, label=1, group=f"scene{i}", height=8, width=8, goal="evade", valid=True,
        outcome={"score": -1.0 if success else 1.0, "threshold": 0.0, "decision": int(not success), "attackable": i > 0, "success": success and i > 0},
        quality={"psnr_db": None, "linf_levels": 0.0} if spared else {"psnr_db": psnr, "linf_levels": 9.0}, nonfinite={"quality.psnr_db": "+inf"} if spared else {},
    )  # fmt: skip


def only(path: Path) -> Found:
    (found,) = searches(read_run(path))
    return found


def test_the_winner_is_told_with_what_the_search_cost_and_what_the_choice_flattered(searched):
    found = only(searched({"worst": set(range(16))}, {"worst": 33.0}))
    assert found.winner == f"jpeg, quality{wording.SPACE}60, then soft, sigma{wording.SPACE}0.8"
    assert found.sentences[:3] == (
        "No file may fall below 30 dB PSNR; an image that a chain would spoil stays as it is, here 0 of 40.",
        "It tried 60 of 444 possible chains on 32 images of the role train (1 more was judged wrongly without any attack), for 1,234 answers of the target; 2,000 were allowed.",
        "Fakes that pass: 62\u00a0% [52, 73]\u00a0% on the images that chose it, 40\u00a0% [30, 50]\u00a0% on images that the search never saw; the choice flattered it by +22 points.",
    )
    assert [(chain.chain.split(",")[0], chain.images, chain.spoilt) for chain in found.tried] == [("jpeg", 32, 3), ("soft", 8, 3)]
    assert (found.metrics, found.notes) == (("attack_success_rate",), ())


def test_operations_alone_are_held_to_the_same_floor_on_the_same_images(searched):
    """JPEG alone breaks as many but below the floor; blur breaks 10 of the 39 that count; a sigma that the search did not have is no rival."""
    broken = {"worst": set(range(31)), "jpeg60": set(range(31)), "blur8": set(range(20, 30)), "other": set(range(40))}
    found = only(searched(broken, {"worst": 33.0, "jpeg60": 29.0, "blur8": 30.0, "other": 50.0}))
    (direction,) = found.directions
    expected = paired_rates([float(20 <= i < 30) for i in range(1, 40)], [float(i < 31) for i in range(1, 40)], [str(i) for i in range(1, 40)])
    assert [(rival.name, rival.share, rival.n) for rival in direction.rivals] == [("blur8", "26\u00a0%", 39), ("jpeg60", "0\u00a0%", 39)]
    assert direction.rivals[0].ahead == f"+{100 * expected.value:.0f} points [+{100 * expected.low:.0f}, +{100 * expected.high:.0f}]"
    assert found.sentences[3].startswith("Fakes that pass: on the same images at the same floor the winner beats all 2 operations alone by more than the interval of the difference; the best of them, blur8, breaks 26\u00a0%, and")


def test_an_operation_that_does_as_much_is_named(searched):
    broken = {"worst": set(range(20)), "blur8": set(range(2, 21)), "jpeg60": set()}
    found = only(searched(broken, {"worst": 33.0, "blur8": 31.0, "jpeg60": 31.0}))
    assert [rival.beaten for rival in found.directions[0].rivals] == [False, True]
    assert "the winner beats 1 of 2 operations alone by more than the interval of the difference; the best of them, blur8, breaks 49" in found.sentences[3]
    assert found.sentences[3].endswith(" Not beaten: blur8.")


def test_without_single_operations_nothing_is_claimed(searched):
    found = only(searched({"worst": set(range(20))}, {"worst": 33.0}))
    assert found.sentences[3] == "Fakes that pass: no other operation of the search is an attack of this scenario by itself, so that the winner cannot be held against them on the same images."
    assert found.directions[0].rivals == ()


def test_images_that_were_spared_are_counted(searched):
    assert "here 40 of 40." in only(searched({"worst": set()}, {"worst": 0})).sentences[0]


@pytest.mark.parametrize(("stages", "said"), [(("jpeg",), True), (("jpeg", "pgd"), False)])
def test_a_winner_without_the_optimised_attack_is_its_own_control(searched, stages, said):
    found = only(searched({"worst": {1, 2}}, {"worst": 33.0}, findings(*stages), FINISH))
    assert ("The winner does without pgd, so that its noise control is the winner itself." in found.sentences) == said


def test_the_section_stands_in_both_reports_and_nowhere_without_a_search(searched, full_run):
    path = searched({"worst": set(range(16)), "blur8": {3}}, {"worst": 33.0, "blur8": 31.0})
    page, text = render_html(path), render_markdown(path)
    assert '<h2 id="search">' in page and '<a href="#search">' in page and page.count('data-searched="attack_success_rate"') == 1
    assert "## Searches over chains" in text and "| soft, sigma\u00a00.8 | 8 | 3 | " in text
    assert 'id="search"' not in render_html(full_run) and "Searches over chains" not in render_markdown(full_run)


def test_names_are_untrusted(searched):
    told = findings("jpeg")
    told["found"][0]["stages"][0]["name"] = "<script>alert(1)</script>"
    page = render_html(searched({"worst": {1}}, {"worst": 33.0}, told))
    assert "<script>alert(1)" not in page and "&lt;script&gt;alert(1)" in page


def test_a_search_on_too_few_images_for_an_interval_is_told_without_one(searched):
    told = findings("jpeg")
    for chain in told["found"]:
        chain["metrics"], chain["absent"] = {}, {"attack_success_rate": "8 groups, fewer than 10"}
    found = only(searched({"worst": set(range(16)), "blur8": {3}}, {"worst": 33.0, "blur8": 31.0}, told))
    (direction,) = found.directions
    assert (direction.before.text, direction.before.note, direction.after.text, found.notes) == ("–", 1, "40\u00a0%", ("8 groups, fewer than 10",))
    assert [rival.name for rival in direction.rivals] == ["blur8"]
    assert not any("flattered" in sentence for sentence in found.sentences)


def test_a_winner_that_is_one_operation_is_not_held_against_itself(searched):
    broken = {"worst": set(range(20)), "jpeg60": set(range(20)), "blur8": {5}}
    found = only(searched(broken, {"worst": 33.0, "jpeg60": 33.0, "blur8": 33.0}, findings("jpeg")))
    assert "The winner is one operation by itself: no composition that was tried on all images does more." in found.sentences
    assert [rival.name for rival in found.directions[0].rivals] == ["blur8"]
