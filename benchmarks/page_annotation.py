"""A driven browser annotates a CT lesion and an MR tumour through the page, with the model and without it.

Nobody sits at the mouse: a program replays what `page_annotation.json` holds, at the pace that is set here. Its points, in
pixels of the slice as the page shows it, were chosen by looking at pictures of the slices, never at the expert masks, by
the author of the change, who is no radiologist. The times are those of the study report of the server. Prints JSON. The
variable MEDSAM_BENCH_PICTURE names a PNG file for a picture of the report.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from numpy.typing import NDArray
from playwright.sync_api import Browser, Page

import medsam
from medsam.annotation.study.project import create_project, open_project
from medsam.jobs.options import FileOptions, IntensityOptions
from medsam.jobs.project import add_scan

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from integration.page_driver import CANVAS, READY, SAVED, Server, chromium, screen

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "volumes"
TASKS: dict[str, dict[str, Any]] = json.loads(Path(__file__).with_suffix(".json").read_text())
ARMS = {"with": "a-token-for-who-has-the-model", "without": "a-token-for-who-has-no-model"}
WATCHER = "a-token-for-who-reads-the-report"
PICTURE = os.environ.get("MEDSAM_BENCH_PICTURE")
PIXELS_PER_SECOND = 300.0  # of the pointer on the screen, in every stroke
DECIDE_MS = 500  # before each stroke and key
LAST_LOOK_MS = 2500
ZOOM_CLICKS = 3  # of the wheel, 120 each: 3.3 times


def expert_mask(path: Path) -> NDArray[np.bool_]:
    if path.suffix == ".npz":
        return np.asarray(np.load(path)["gts"]) > 0
    return medsam.read_mask(path).labels > 0


@dataclass
class Hand:
    """A pointer and keys that go at a steady pace, and a count of what they did.

    Args:
        size: Columns and rows of a slice as it is shown.
        about: The pixel of the slice that the picture is zoomed about.
    """

    page: Page
    size: tuple[int, int]
    about: tuple[float, float]
    did: Counter[str] = field(default_factory=Counter)

    def zoom(self) -> None:
        self.page.mouse.move(*screen(self.page, *self.about, self.size))
        self.page.keyboard.down("Control")
        for _ in range(ZOOM_CLICKS):
            self.page.mouse.wheel(0, -120)
        self.page.keyboard.up("Control")
        self.did["zooms"] += 1

    def at(self, point: list[float]) -> tuple[float, float]:
        """Where a pixel of the slice lies on the screen."""
        scale = float(np.exp(ZOOM_CLICKS * 120 / 300))
        x, y = screen(self.page, *point, self.size)
        x0, y0 = screen(self.page, *self.about, self.size)
        return x0 + scale * (x - x0), y0 + scale * (y - y0)

    def line(self, *points: list[float]) -> None:
        """Press at the first point, go through all, let go."""
        self.page.wait_for_timeout(DECIDE_MS)
        way = [self.at(point) for point in points]
        self.page.mouse.move(*way[0])
        self.page.mouse.down()
        for (x0, y0), (x1, y1) in pairwise(way):
            length = float(np.hypot(x1 - x0, y1 - y0))
            self.page.wait_for_timeout(1000 * length / PIXELS_PER_SECOND)
            self.page.mouse.move(x1, y1, steps=max(1, int(length / 10)))
            self.did["pixels drawn"] += round(length)
        self.page.mouse.up()
        self.did["strokes"] += 1

    def key(self, key: str) -> None:
        self.page.wait_for_timeout(DECIDE_MS)
        self.page.keyboard.press(key)
        self.did["keys"] += 1

    def go(self, index: int) -> None:
        """By the arrows to a slice."""
        canvas = self.page.locator(CANVAS).first
        canvas.focus()
        steps = index - int(canvas.get_attribute("data-slice") or 0)
        for _ in range(abs(steps)):
            self.page.keyboard.press("ArrowDown" if steps > 0 else "ArrowUp")
        self.did["slices turned"] += abs(steps)
        self.page.wait_for_selector(f'{READY}[data-slice="{index}"]')

    def saved(self) -> None:
        self.page.wait_for_function(SAVED)

    def outlined(self, slices: int) -> None:
        """Wait until so many slices have a score."""
        self.page.wait_for_function("n => Number(document.querySelector('.strip').dataset.scored) >= n", arg=slices)
        self.saved()


def annotate(browser: Browser, server: Server, number: int, arm: str) -> dict[str, int]:
    """One case in one arm, from opening to done; what the hand did."""
    task = list(TASKS.values())[number - 1]
    page = browser.new_context(viewport={"width": 1366, "height": 768}).new_page()
    page.set_default_timeout(600_000)
    page.add_init_script("localStorage.setItem('medsam-tour-seen', 'yes')")
    page.goto(f"{server.address}/?token={ARMS[arm]}")
    page.click(f".case-card >> nth={number - 1}")
    page.wait_for_selector(READY)
    _, rows, columns = expert_mask(DATA / task["expert"]).shape
    hand = Hand(page, (columns, rows), tuple(task["zoom"]))
    hand.zoom()
    for verb, *rest in task[arm]:
        getattr(hand, verb)(*rest)
    hand.saved()
    page.wait_for_timeout(LAST_LOOK_MS)
    with page.expect_response(lambda answer: answer.url.endswith("/activity")):  # leaving sends the last moments
        page.keyboard.press("Shift")  # so that there is one
        page.evaluate("() => { window.location.hash = ''; }")
    page.context.close()
    return dict(hand.did)


def picture_report(browser: Browser, server: Server, file: Path) -> None:
    page = browser.new_context(viewport={"width": 1366, "height": 768}).new_page()
    page.goto(f"{server.address}/?token={WATCHER}#/report")
    page.wait_for_selector(".report")
    page.screenshot(path=file)
    page.context.close()


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        study = Path(folder) / "study"
        with create_project(study) as project:
            for task in TASKS.values():
                add_scan(project, DATA / task["scan"], FileOptions(), IntensityOptions(task["modality"]))
        server = Server(study, Path(folder))
        tokens = {**{arm: f"{token} annotate" for arm, token in ARMS.items()}, "watcher": f"{WATCHER} admin"}
        server.tokens.write_text("".join(f"{name} {token}\n" for name, token in tokens.items()))
        server.start()
        did: dict[str, dict[str, int]] = {}
        try:
            for arm in ARMS:  # one after the other, since a gap of under a minute between two cases of a person is work
                for number, name in enumerate(TASKS, 1):
                    did[f"{name} {arm}"] = annotate(browser, server, number, arm)
                    print(f"{name} {arm} is done", file=sys.stderr)
            told = httpx.get(f"{server.address}/api/v1/report", headers={"Authorization": f"Bearer {WATCHER}"})
            if PICTURE:
                picture_report(browser, server, Path(PICTURE))
        finally:
            server.kill()
        print(
            json.dumps(
                {"dice": dices(study), "did": did, "report": told.json()["times"], "load": os.getloadavg()}, indent=1
            )
        )


def dices(study: Path) -> dict[str, float]:
    """Of everything that was outlined in a case with everything of the expert's."""
    found: dict[str, float] = {}
    with open_project(study) as project:
        for case, (name, task) in zip(project.cases(), TASKS.items(), strict=True):
            for arm in ARMS:
                state = project.current(case.id, arm)
                assert state is not None
                found[f"{name} {arm}"] = round(
                    float(medsam.dice(state.labels > 0, expert_mask(DATA / task["expert"]))), 3
                )
    return found


if __name__ == "__main__":
    main()
