"""A driven browser annotates a CT lesion and an MR tumour through the page, with the model and without it.

Nobody sits at the mouse: a program draws after the expert's mask, at the pace that is set here. With the model it draws
the long and short axis on some slices and presses G; without it, it paints every slice with the brush. The times are
those of the study report of the server. Prints JSON.
"""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal

import httpx
import numpy as np
from numpy.typing import NDArray
from playwright.sync_api import Browser, Page
from scipy import ndimage

import medsam
from medsam.annotation.study.project import create_project, open_project
from medsam.annotation.study.simulated_reader import choose_slices
from medsam.imaging.axes import measure_axes
from medsam.jobs.options import FileOptions, IntensityOptions
from medsam.jobs.project import add_scan

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from integration.page_driver import READY, SAVED, Server, chromium, screen

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "volumes"
BRUSH_PX = 6.0  # the brush of the page as it comes


@dataclass(frozen=True)
class Task:
    """A scan, its expert mask, and how it is marked.

    Args:
        every: Slices between those that get axes.
        shown: How the page lays the stored slice out for a radiologist's eye.
    """

    name: str
    scan: Path
    modality: str
    expert: Path
    every: int
    shown: Literal["transposed", "upside down"]


LESION = DATA / "ct_lesion_recist" / "CT_Lesion_000001_02_01_008-023.npz"
BRAIN = DATA / "radiomics_nrrd" / "brain1_image.nrrd"
TASKS = (
    Task("ct-lesion", LESION, "CT", LESION, 3, "transposed"),
    Task("mr-tumour", BRAIN, "MR", BRAIN.with_name("brain1_label.nrrd"), 3, "upside down"),
)
TOKENS = {"with": "a-token-for-who-has-the-model", "without": "a-token-for-who-has-no-model"}
PIXELS_PER_SECOND = 500.0  # of the pointer on the screen
DECIDE_MS = 500.0  # before each stroke and after each change of slice


def expert_mask(task: Task) -> NDArray[np.bool_]:
    if task.expert.suffix == ".npz":
        return np.asarray(np.load(task.expert)["gts"]) > 0
    return medsam.read_mask(task.expert).labels > 0


class Hand:
    """A pointer that goes at a steady pace."""

    def __init__(self, page: Page, size: tuple[int, int], *, shown: str) -> None:
        self.page, self.size, self.shown = page, size, shown

    def stroke(self, points: list[tuple[float, float]]) -> None:
        """Press at the first point, go through all, let go."""
        self.page.wait_for_timeout(DECIDE_MS)
        last = self.size[1] - 1
        laid = [(y, x) if self.shown == "transposed" else (x, last - y) for x, y in points]
        way = [screen(self.page, x, y, self.size) for x, y in laid]
        self.page.mouse.move(*way[0])
        self.page.mouse.down()
        for (x0, y0), (x1, y1) in pairwise(way):
            length = float(np.hypot(x1 - x0, y1 - y0))
            self.page.wait_for_timeout(1000 * length / PIXELS_PER_SECOND)
            self.page.mouse.move(x1, y1, steps=max(1, int(length / 20)))
        self.page.mouse.up()

    def go_to(self, index: int) -> None:
        """By the arrows to a slice."""
        canvas = self.page.locator("canvas.pane-canvas").first
        canvas.focus()
        steps = index - int(canvas.get_attribute("data-slice") or 0)
        for _ in range(abs(steps)):
            self.page.keyboard.press("ArrowDown" if steps > 0 else "ArrowUp")
        self.page.wait_for_selector(f'{READY}[data-slice="{index}"]')


def draw_axes(hand: Hand, expert: NDArray[np.bool_], every: int) -> None:
    """With the model: axes on the first, the last and some slices between, then the whole object."""
    slices = np.flatnonzero(expert.any(axis=(1, 2))).tolist()
    hand.page.keyboard.press("a")
    for index in choose_slices(slices, every):
        hand.go_to(index)
        axes = measure_axes(largest_part(expert[index]), (1.0, 1.0), corners=False)
        for axis in (axes.long_xy, axes.short_xy):
            hand.stroke([tuple(map(float, end)) for end in axis])
    hand.page.wait_for_function(SAVED)
    hand.page.keyboard.press("g")
    whole = slices[-1] - slices[0] + 1  # every slice has a score then
    hand.page.wait_for_function("whole => Number(document.querySelector('.strip').dataset.scored) >= whole", arg=whole)


def paint_slices(hand: Hand, expert: NDArray[np.bool_]) -> None:
    """Without the model: every slice with the brush, row by row as wide as the brush."""
    hand.page.keyboard.press("b")
    for index in np.flatnonzero(expert.any(axis=(1, 2))).tolist():
        hand.go_to(index)
        hand.stroke(brush_way(expert[index]))
    hand.page.wait_for_function(SAVED)


def brush_way(mask_HW: NDArray[np.bool_]) -> list[tuple[float, float]]:
    """To and fro over the middle of what the brush must cover."""
    part = largest_part(mask_HW)
    inner = ndimage.distance_transform_edt(np.pad(part, 1))[1:-1, 1:-1] >= BRUSH_PX
    inner = inner if inner.any() else ndimage.distance_transform_edt(part) == ndimage.distance_transform_edt(part).max()
    rows = np.flatnonzero(inner.any(axis=1))
    way: list[tuple[float, float]] = []
    for turn, row in enumerate(rows[:: max(1, int(1.2 * BRUSH_PX))]):
        columns = np.flatnonzero(inner[row])
        ends = [(float(columns[0]), float(row)), (float(columns[-1]), float(row))]
        way += ends[::-1] if turn % 2 else ends
    return way


def largest_part(mask_HW: NDArray[np.bool_]) -> NDArray[np.bool_]:
    parts, count = ndimage.label(mask_HW)
    if count < 2:
        return mask_HW
    return np.asarray(parts == 1 + int(np.argmax(np.bincount(parts.reshape(-1))[1:])))


def annotate(browser: Browser, server: Server, number: int, arm: str) -> None:
    """One case in one arm, from opening to done."""
    task = TASKS[number - 1]
    expert = expert_mask(task)
    page = browser.new_context(viewport={"width": 1366, "height": 768}).new_page()
    page.set_default_timeout(600_000)
    page.add_init_script("localStorage.setItem('medsam-tour-seen', 'yes')")
    page.goto(f"{server.address}/?token={TOKENS[arm]}")
    page.click(f".case-card >> nth={number - 1}")
    page.wait_for_selector(READY)
    hand = Hand(page, (expert.shape[2], expert.shape[1]), shown=task.shown)
    if arm == "with":
        draw_axes(hand, expert, task.every)
    else:
        paint_slices(hand, expert)
    page.wait_for_timeout(DECIDE_MS)
    page.select_option(".status-field", "done")
    with page.expect_response(lambda answer: answer.url.endswith("/activity")):  # leaving sends the last moments
        page.evaluate("() => { window.location.hash = ''; }")
    page.context.close()


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        study = Path(folder) / "study"
        with create_project(study) as project:
            for task in TASKS:
                add_scan(project, task.scan, FileOptions(), IntensityOptions(task.modality))
        server = Server(study, Path(folder))
        server.tokens.write_text("".join(f"{arm} {token}\n" for arm, token in TOKENS.items()))
        server.start()
        try:
            for number in range(1, len(TASKS) + 1):
                for arm in TOKENS:
                    annotate(browser, server, number, arm)
                    print(f"{TASKS[number - 1].name} {arm} is done", file=sys.stderr)
            report = [
                row for token in TOKENS.values()
                for row in httpx.get(f"{server.address}/api/v1/report", headers={"Authorization": f"Bearer {token}"}).json()["times"]
            ]  # fmt: skip
        finally:
            server.kill()
        with open_project(study) as project:
            dices = {}
            for case, task in zip(project.cases(), TASKS, strict=True):
                for arm in TOKENS:
                    state = project.current(case.id, arm)
                    assert state is not None
                    dices[f"{task.name} {arm}"] = round(float(medsam.dice(state.labels > 0, expert_mask(task))), 3)
    print(json.dumps({"dice": dices, "report": report}, indent=1))


if __name__ == "__main__":
    main()
