"""A real `medsam serve` and a real Chromium before it, for the tests of the page."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import httpx
import numpy as np
from playwright.sync_api import Browser, BrowserType, Page, sync_playwright

from medsam.annotation.study.project import open_project

from .conftest import free_port

TOKEN = "a-token-for-the-test-alone"
QUIET = (
    "--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--enable-unsafe-swiftshader",
)  # fmt: skip
SAVED = "() => document.querySelector('.saving')?.textContent === 'Saved'"
CANVAS = "canvas.pane-canvas"
READY = f'{CANVAS}[data-ready="true"]'
WAIT_MS = 120_000  # of one step; the machine of the tests may be slow


class Server:
    """A `medsam serve` on one port, so that it can be killed and started again.

    Args:
        pacs: Address of an archive.
    """

    def __init__(self, project: Path, folder: Path, pacs: str | None = None) -> None:
        self.project, self.port = project, free_port()
        self.more = [] if pacs is None else ["--pacs", pacs]
        self.tokens = folder / "tokens"
        self.tokens.write_text(f"reader {TOKEN}\n")
        self.tokens.chmod(0o600)
        self.log = folder / "server.log"
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        run = "from medsam.cli.app import main; main()"
        command = [sys.executable, "-c", run, "serve", str(self.project), "--port", str(self.port),
                   "--token-file", str(self.tokens), *self.more]  # fmt: skip
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | {"OMP_NUM_THREADS": "1"})
        for _ in range(600):
            try:
                if httpx.get(f"{self.address}/healthz").is_success:
                    return
            except httpx.TransportError:
                time.sleep(0.1)
        raise RuntimeError(f"the server did not start: {self.log.read_text()[-2000:]}")

    def kill(self) -> None:
        process, self.process = self.process, None
        if process is not None:
            process.kill()
            process.wait()


@contextmanager
def chromium(*flags: str) -> Iterator[Browser]:
    """Debian's Chromium without a screen."""
    with sync_playwright() as play:
        browser = _launch(play.chromium, *flags)
        yield browser
        browser.close()


@contextmanager
def chromium_beside(other: Browser, *flags: str) -> Iterator[Browser]:
    """A second one, as of Playwright only one may run."""
    browser = _launch(other.browser_type, *flags)
    yield browser
    browser.close()


def _launch(kind: BrowserType, *flags: str) -> Browser:
    found = shutil.which("chromium")
    assert found, "Debian's chromium is not installed; run make integration"
    return kind.launch(executable_path=found, args=[*QUIET, *flags])


@contextmanager
def visited(
    browser: Browser, server: Server, *, may_fail: bool = False, scheme: Literal["dark", "light"] = "dark"
) -> Iterator[Page]:
    """The list of cases; at its end there was no error in the console and no request to another host."""
    faults: list[str] = []
    hosts: set[str] = set()
    context = browser.new_context(viewport={"width": 1366, "height": 768}, color_scheme=scheme)
    page = context.new_page()
    page.set_default_timeout(WAIT_MS)
    page.on("console", lambda said: faults.append(f"{said.text} {said.location}") if said.type == "error" else None)
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("request", lambda request: hosts.add(request.url.split("/")[2]))
    page.add_init_script("localStorage.setItem('medsam-tour-seen', 'yes')")
    page.goto(f"{server.address}/?token={TOKEN}")
    page.wait_for_selector(".case-card")
    yield page
    context.close()
    assert may_fail or not faults, faults
    assert hosts <= {server.address.removeprefix("http://")}, hosts


@contextmanager
def opened(server: Server, *, may_fail: bool = False) -> Iterator[Page]:
    """The page of the first case, in a browser of its own."""
    with chromium() as browser, visited(browser, server, may_fail=may_fail) as page:
        open_case(page, 1)
        yield page


def open_case(page: Page, number: int) -> None:
    """From the list to a case, until its first slice is there."""
    page.click(f".case-card >> nth={number - 1}")
    page.wait_for_selector(READY)


def screen(page: Page, x: float, y: float, size: tuple[int, int] = (240, 240)) -> tuple[float, float]:
    """Where a pixel of a slice of so many columns and rows lies: the slice fits its pane, its middle in the middle."""
    pane = page.locator(CANVAS).first.bounding_box()
    assert pane is not None
    columns, rows = size
    scale = min(pane["width"] / columns, pane["height"] / rows)
    return (
        pane["x"] + pane["width"] / 2 + (x - (columns - 1) / 2) * scale,
        pane["y"] + pane["height"] / 2 + (y - (rows - 1) / 2) * scale,
    )


def drag(
    page: Page, start: tuple[float, float], end: tuple[float, float], size: tuple[int, int] = (240, 240)
) -> None:  # fmt: skip
    """Draw from one pixel of a slice to another."""
    page.mouse.move(*screen(page, *start, size))
    page.mouse.down()
    page.mouse.move(*screen(page, (start[0] + end[0]) / 2, (start[1] + end[1]) / 2, size))
    page.mouse.move(*screen(page, *end, size))
    page.mouse.up()


def settled(page: Page, act: Callable[[], None]) -> None:
    """Do something, and wait until the page shows another mask and says that it is saved."""
    before = page.locator(CANVAS).first.get_attribute("data-labels")
    act()
    page.wait_for_function(
        f"before => document.querySelector('{CANVAS}').dataset.labels !== before && ({SAVED})()", arg=before
    )


def go_to(page: Page, index: int) -> None:
    """By the keys to a slice of the plane in the first pane, until it is there."""
    page.locator(CANVAS).first.focus()
    page.keyboard.press("Home")
    for _ in range(index):
        page.keyboard.press("ArrowDown")
    page.wait_for_selector(f'{READY}[data-slice="{index}"]')


def labels_of(server: Server, number: int = 1) -> np.ndarray:
    """What the project holds of a case, read past the server."""
    with open_project(server.project) as project:
        case = project.cases()[number - 1]
        state = project.current(case.id, "reader")
        return np.zeros(case.shape, np.uint16) if state is None else state.labels


def events_of(server: Server, number: int = 1) -> list[dict[str, object]]:
    """What made the saved states of a case, in order."""
    with open_project(server.project) as project:
        case = project.cases()[number - 1]
        moves = project.history(case.id)
        return [dict(project.revision(at).event) for _, kind, at, _ in moves if kind == "save" and at is not None]
