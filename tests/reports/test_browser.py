"""The page in a real browser: it draws, and nothing is wider than the screen."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from redteam.reports import render_html

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars")
MEASURE = "<script>document.title = 'widest ' + document.documentElement.scrollWidth + ' of ' + window.innerWidth</script></body>"

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")


def browse(page: Path, profile: Path, *flags: str) -> str:
    command = [str(CHROMIUM), *FLAGS, f"--user-data-dir={profile}", *flags, page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


@pytest.mark.parametrize("width", [1280, 400])
def test_the_page_is_drawn(make_run: Callable[..., Path], tmp_path: Path, width: int) -> None:
    page, shot = tmp_path / "report.html", tmp_path / "shot.png"
    page.write_text(render_html(make_run()), encoding="utf-8")
    browse(page, tmp_path / "profile", f"--window-size={width},1200", f"--screenshot={shot}")
    pixels = np.asarray(Image.open(shot).convert("L"))
    assert pixels.shape[1] == width
    assert pixels.std() > 10 and len(np.unique(pixels)) > 50


@pytest.mark.parametrize("width", [1280, 900, 500])
@pytest.mark.parametrize("hostile", [False, True])
def test_nothing_is_wider_than_the_screen(make_run: Callable[..., Path], parts: tuple[dict, dict], tmp_path: Path, width: int, hostile: bool) -> None:
    told, judged = parts
    if hostile:
        for cell in told["cells"]:
            cell |= {"target": "W" * 300, "attack": cell["attack"] if cell["control"] else "M" * 300}
        judged["gates"][0]["id"] = "i" * 300
    html = render_html(make_run(told, judged))
    page = tmp_path / "report.html"
    page.write_text(re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", html).replace("</body>", MEASURE), encoding="utf-8")
    dumped = browse(page, tmp_path / "profile", f"--window-size={width},1200", "--dump-dom")
    found = re.search(r"<title>widest (\d+) of (\d+)</title>", dumped)
    assert found is not None and int(found[1]) <= int(found[2])
