"""The page in a real browser: it draws, nothing is wider than the screen, and what its script promises works. One browser serves all tests."""

from __future__ import annotations

import base64
import fcntl
import io
import json
import os
import re
import shutil
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from redteam.reports import render_html
from redteam.reports.directory import read_run
from redteam.reports.svg import drawings

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars", "--remote-debugging-pipe")
PATIENCE_S = 60

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")


class Browser:
    """A headless Chromium with one page, driven over its debugging pipe (file descriptors 3 and 4, messages that end in a zero byte)."""

    def __init__(self, profile: Path) -> None:
        theirs_in, self._out = os.pipe()
        self._in, theirs_out = os.pipe()
        ends = [fcntl.fcntl(end, fcntl.F_DUPFD, 50) for end in (theirs_in, theirs_out)]  # clear of 3 and 4, where they are put
        quiet = [(os.POSIX_SPAWN_OPEN, stream, os.devnull, os.O_WRONLY, 0) for stream in (1, 2)]
        pipes = [(os.POSIX_SPAWN_DUP2, end, place) for end, place in zip(ends, (3, 4), strict=True)]
        self._pid = os.posix_spawn(str(CHROMIUM), [str(CHROMIUM), *FLAGS, f"--user-data-dir={profile}", "about:blank"], os.environ, file_actions=[*quiet, *pipes])
        for end in (theirs_in, theirs_out, *ends):
            os.close(end)
        self._number, self._rest, self._session = 0, b"", {}
        self.events: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = {"sessionId": self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]}
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> Any:
        """The answer to one command; events that come in between are kept."""
        self._number += 1
        os.write(self._out, json.dumps({"id": self._number, "method": method, "params": params, **self._session}).encode() + b"\0")
        while (message := self._message()).get("id") != self._number:
            self.events.append(message)
        assert "error" not in message, (method, message)
        return message["result"]

    def open(self, page: Path, width: int = 1280, theme: str = "light") -> None:
        """Load a page and wait until it is there."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=1000, deviceScaleFactor=1, mobile=False)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": theme}])
        self.events.clear()
        self.call("Page.navigate", url=page.as_uri())
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self._message())

    def js(self, expression: str) -> Any:
        """The value of an expression in the page."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def pixels(self) -> np.ndarray:
        """(height, width, 3) of what is on the screen."""
        shot = base64.b64decode(self.call("Page.captureScreenshot")["data"])
        return np.asarray(Image.open(io.BytesIO(shot)).convert("RGB"))

    def complaints(self) -> list[str]:
        """What stands in the console."""
        said = [event for event in self.events if event.get("method") in ("Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled")]
        return [json.dumps(event["params"]) for event in said]

    def close(self) -> None:
        """End the browser; it goes when its pipe does."""
        os.close(self._out)
        os.close(self._in)
        os.waitpid(self._pid, 0)

    def _message(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            read = os.read(self._in, 1 << 20)
            assert read, "the browser has gone"
            self._rest += read
        line, _, self._rest = self._rest.partition(b"\0")
        return json.loads(line)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    running = Browser(tmp_path_factory.mktemp("profile"))
    yield running
    running.close()


@pytest.fixture(scope="module")
def page(full_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a whole run as a file."""
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(render_html(full_run), encoding="utf-8")
    return path


def column(browser: Browser, name: str, body: str = "attack") -> list[float | None]:
    """The values of a metric in the first table of cells, from top to bottom."""
    cells = f'[...document.querySelectorAll("#cells ~ .block table.matrix")][0].querySelectorAll("tbody.{body} td[data-metric={name}]")'
    return browser.js(f"[...{cells}].map(cell => cell.dataset.v === undefined ? null : Number(cell.dataset.v))")


def head(name: str) -> str:
    return f'[...document.querySelectorAll("#cells ~ .block th .sort")].find(button => button.textContent.startsWith("{name}"))'


@pytest.mark.parametrize(("theme", "ground"), [("light", (255, 255, 255)), ("dark", (20, 23, 27))])
def test_the_page_is_drawn_in_both_themes_without_complaint(browser: Browser, page: Path, theme: str, ground: tuple[int, int, int]) -> None:
    browser.open(page, theme=theme)
    pixels = browser.pixels()
    assert tuple(pixels[0, 0]) == ground
    assert pixels.std() > 10 and len(np.unique(pixels.reshape(-1, 3), axis=0)) > 50
    assert browser.complaints() == []


@pytest.mark.parametrize("hostile", [False, True])
def test_nothing_is_wider_than_the_screen(browser: Browser, page: Path, make_run: Callable[..., Path], parts: tuple[dict, dict], tmp_path: Path, hostile: bool) -> None:
    told, judged = parts
    if hostile:
        for cell in told["cells"]:
            cell |= {"target": "W" * 300, "attack": cell["attack"] if cell["control"] else "M" * 300}
        judged["gates"][0]["id"] = "i" * 300
        page = tmp_path / "wide.html"
        page.write_text(render_html(make_run(told, judged)), encoding="utf-8")
    for width in (1280, 900, 400):
        browser.open(page, width)
        assert browser.js("window.innerWidth") == width
        assert browser.js("document.documentElement.scrollWidth") <= width
        assert browser.complaints() == []


def test_a_click_on_a_heading_sorts_and_a_third_one_puts_back(browser: Browser, page: Path) -> None:
    browser.open(page)
    before = column(browser, "attack_success_rate")
    orders = []
    for _ in range(3):
        browser.js(f"{head('Fakes that pass')}.click()")
        orders.append((column(browser, "attack_success_rate"), browser.js(f"{head('Fakes that pass')}.closest('th').getAttribute('aria-sort')")))
    assert before not in (sorted(before), sorted(before, reverse=True))
    assert orders == [(sorted(before, reverse=True), "descending"), (sorted(before), "ascending"), (before, None)]


def test_a_heading_sorts_by_keyboard_and_what_is_absent_stays_last(browser: Browser, parts: tuple[dict, dict], make_run: Callable[..., Path], tmp_path: Path) -> None:
    first = next(c for c in parts[0]["cells"] if c["attack"] == "pgd")
    first["metrics"].pop("auc")
    path = tmp_path / "keys.html"
    path.write_text(render_html(make_run(parts[0])), encoding="utf-8")
    browser.open(path)
    browser.js(f"{head('AUC')}.focus()")
    for _ in range(2):
        for kind in ("keyDown", "keyUp"):
            browser.call("Input.dispatchKeyEvent", type=kind, key="Enter", code="Enter", windowsVirtualKeyCode=13, text="\r" if kind == "keyDown" else "")
        values = column(browser, "auc")
        assert values[-1] is None and None not in values[:-1]
    assert values[:-1] == sorted(values[:-1])
    assert browser.js("document.activeElement.textContent").startswith("AUC")


def test_names_sort_by_their_numbers_and_controls_stay_under_their_heading(browser: Browser, page: Path) -> None:
    browser.open(page)
    browser.js(f"{head('Attack and strength')}.click()")
    table = 'document.querySelector("#cells ~ .block table.matrix")'
    names = browser.js(f"[...{table}.querySelectorAll('tbody.attack th bdi')].map(name => name.textContent)")
    assert [name.replace("\u00a0", " ") for name in names] == ["jpeg, quality 60", "jpeg, quality 75", "jpeg, quality 85", "jpeg, quality 95", "pgd, eps 1/255", "pgd, eps 2/255", "pgd, eps 4/255"]
    assert browser.js(f"{table}.querySelector('tbody.control').rows[0].className") == "group"


def test_the_filter_keeps_rows_that_hold_every_word(browser: Browser, page: Path) -> None:
    browser.open(page)
    browser.js("document.getElementById('filter').focus()")
    browser.call("Input.insertText", text="PGD invalid")
    shown = browser.js("[...document.querySelectorAll('.matrix tbody tr:not(.group)')].filter(row => row.offsetParent).map(row => row.textContent)")
    assert len(shown) == 9 and all("pgd" in text and "invalid" in text for text in shown)  # three cells in two tables, and the worst cases over them
    assert re.fullmatch(r"\d+ of \d+ rows", browser.js("document.querySelector('#tools [role=status]').textContent"))
    browser.js("document.getElementById('filter').value = ''; document.getElementById('filter').dispatchEvent(new Event('input'))")
    assert browser.js("document.querySelectorAll('[hidden]').length") == 1  # the empty tip


def test_pointing_at_a_figure_tells_its_n_interval_and_verdict(browser: Browser, page: Path) -> None:
    browser.open(page)
    seen = {}
    for name in ("td[data-metric=auc]", "svg.plot .attack .pt"):
        browser.js(f"document.querySelector('{name}').scrollIntoView({{ block: 'center' }}); new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
        box = browser.js(f"(() => {{ const r = document.querySelector('{name}').getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2] }})()")
        browser.call("Input.dispatchMouseEvent", type="mouseMoved", x=box[0], y=box[1])
        seen[name] = browser.js("[...document.querySelectorAll('.tip:not([hidden]) div')].map(line => line.textContent.replaceAll('\\u00a0', ' ').trim())")
    cell, point = seen.values()
    assert cell[:4] == ["pgd, eps 1/255", "AUC: 0.70 [0.69, 0.72]", "n = 192", "valid"]
    assert point == ["unchanged images", "96 % [91, 98] %, n 192, valid"]
    browser.call("Input.dispatchKeyEvent", type="keyDown", key="Escape", code="Escape", windowsVirtualKeyCode=27)
    assert browser.js("document.querySelector('.tip').hidden") is True


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_saved_drawing_is_the_file_that_the_command_writes(browser: Browser, page: Path, full_run: Path, tmp_path: Path, theme: str) -> None:
    browser.open(page, theme=theme)
    browser.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    browser.js("document.querySelector('#quality ~ .curves .save').click()")
    file = tmp_path / "1-camera-npr-none-quality-attack_success_rate.svg"
    until = time.monotonic() + PATIENCE_S
    while not (file.exists() and file.stat().st_size) and time.monotonic() < until:
        browser.js("0")
        time.sleep(0.05)
    saved, written = (ET.fromstring(text) for text in (file.read_text(encoding="utf-8"), drawings(read_run(full_run))[f"figures/{file.name}"]))
    assert [(element.tag, element.text and element.text.strip()) for element in saved.iter()] == [(element.tag, element.text and element.text.strip()) for element in written.iter()]
    drawn = ("width", "height", "x", "y", "cx", "cy", "d", "points", "class", "fill")
    assert [[element.get(name) for name in drawn] for element in saved.iter()] == [[element.get(name) for name in drawn] for element in written.iter()]


def test_a_script_that_came_in_from_outside_does_not_run(browser: Browser, page: Path, tmp_path: Path) -> None:
    taken = tmp_path / "taken.html"
    taken.write_text(page.read_text(encoding="utf-8").replace("</body>", "<script>document.title = 'taken'</script><p style='color: red' onclick='1'></p></body>"), encoding="utf-8")
    browser.open(taken)
    assert "taken" not in browser.js("document.title")
    assert browser.js("document.documentElement.className") == "js"  # the page's own script ran
    assert any("Content Security Policy" in complaint for complaint in browser.complaints())
