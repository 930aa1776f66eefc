"""The page in a real Chromium against the real server with the real default model on a real scan."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import medsam
from medsam.annotation.study.project import create_project, open_project
from medsam.jobs.options import FileOptions, IntensityOptions
from medsam.jobs.project import add_scan
from medsam.server.page import PAGE

from .page_driver import READY, SAVED, Server, drag, labels_of, opened, screen, settled

pytestmark = pytest.mark.integration
BOX = (110.0, 70.0, 170.0, 130.0)
SLICE = 77


@pytest.fixture(scope="module")
def scan(shared_data: Path) -> Path:
    return shared_data / "volumes" / "brain_glioma" / "brats_2013_pat0006_1_flair.nii.gz"


@pytest.fixture
def server(scan: Path, tmp_path: Path) -> Iterator[Server]:
    if not (PAGE / "index.html").is_file():
        pytest.fail("the page is not built; run make page")
    with create_project(tmp_path / "study") as project:
        add_scan(project, scan, FileOptions(), IntensityOptions("MR"))
    running = Server(tmp_path / "study", tmp_path)
    running.start()
    yield running
    running.kill()


def prompts_of(server: Server) -> dict[str, object]:
    with open_project(server.project) as project:
        [case] = project.cases()
        state = project.current(case.id, "reader")
        assert state is not None
        return dict(state.event["prompts"][0])  # type: ignore[index]


def library_answer(scan: Path, prompt: dict[str, object]) -> np.ndarray:
    image = medsam.normalize(medsam.read_image(scan, modality="MR"))
    predictor = medsam.load_predictor()
    box = prompt["box"]
    return medsam.segment_volume(predictor, image, boxes={SLICE: [tuple(box)]}).labels  # type: ignore[arg-type]


def test_a_box_drawn_with_the_mouse_gives_the_librarys_mask_and_undo_outlives_a_reload(
    server: Server, scan: Path
) -> None:
    with opened(server) as page:
        settled(page, lambda: drag(page, BOX[:2], BOX[2:]))
        prompt = prompts_of(server)
        np.testing.assert_allclose(prompt["box"], BOX, atol=0.51)  # the mouse stops at whole pixels of the screen
        boxed = labels_of(server)
        np.testing.assert_array_equal(boxed, library_answer(scan, prompt))
        assert boxed[SLICE].any()

        page.keyboard.press("b")
        settled(page, lambda: drag(page, (30, 200), (60, 200)))
        painted = labels_of(server)
        assert painted[SLICE, 200, 30:61].all()
        np.testing.assert_array_equal(np.delete(painted, SLICE, 0), np.delete(boxed, SLICE, 0))

        settled(page, lambda: page.keyboard.press("Control+z"))
        np.testing.assert_array_equal(labels_of(server), boxed)
        page.reload()
        page.wait_for_selector(READY)
        settled(page, lambda: page.keyboard.press("Control+y"))
        np.testing.assert_array_equal(labels_of(server), painted)
        settled(page, lambda: page.keyboard.press("Control+z"))
        settled(page, lambda: page.keyboard.press("Control+z"))
        assert not labels_of(server).any()


def test_a_server_killed_in_mid_stroke_loses_nothing(server: Server) -> None:
    with opened(server, may_fail=True) as page:
        page.keyboard.press("b")
        settled(page, lambda: drag(page, (100, 60), (140, 60)))
        page.mouse.move(*screen(page, 100, 120))
        page.mouse.down()
        page.mouse.move(*screen(page, 120, 120))
        server.kill()
        page.mouse.move(*screen(page, 140, 120))
        page.mouse.up()
        page.wait_for_function("() => document.querySelector('.saving').textContent.startsWith('Server away')")
        drag(page, (100, 180), (140, 180))
        server.start()
        page.wait_for_function(SAVED)
        slice_ = labels_of(server)[SLICE]
        assert all(slice_[row, 100:141].all() for row in (60, 120, 180))
        with open_project(server.project) as project:
            [case] = project.cases()
            kinds = [kind for _, kind, _, _ in project.history(case.id)]
        assert kinds == ["save"] * 3  # and nothing was done twice


def test_from_opening_to_export_with_the_keyboard_alone(server: Server, tmp_path: Path) -> None:
    with opened(server) as page:
        page.keyboard.press("Shift+ArrowLeft")
        page.keyboard.press("k")
        for _ in range(40):
            page.keyboard.press("Shift+ArrowRight")
        for _ in range(30):
            page.keyboard.press("Shift+ArrowUp")
        settled(page, lambda: page.keyboard.press("k"))
        expected = labels_of(server)
        assert expected[SLICE].any()
        page.locator("button", has_text="Export").focus()
        page.keyboard.press("Enter")
        with page.expect_download() as download:
            page.keyboard.press("Enter")
        file = tmp_path / download.value.suggested_filename
        download.value.save_as(file)
    np.testing.assert_array_equal(medsam.read_mask(file).labels, expected)
