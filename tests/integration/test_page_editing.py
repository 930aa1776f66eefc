"""Editing in a real Chromium: every tool's outcome is the library's own answer, voxel for voxel, and one step of undo."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import nibabel
import numpy as np
import pytest
from playwright.sync_api import Browser, Page

import medsam
from medsam.annotation.interpolation import interpolate_masks
from medsam.annotation.study.project import Project, ProjectCase, ProjectObject, create_project, open_project
from medsam.evaluation.metrics import dice
from medsam.imaging.image import Mask
from medsam.imaging.reshaping import reshape_object
from medsam.inference.volume.segment import segment
from medsam.inference.volume.tracks import track_neighbours
from medsam.jobs.options import FileOptions, IntensityOptions
from medsam.jobs.project import add_scan
from medsam.server.page import PAGE

from .page_driver import CANVAS, SAVED, Server, chromium, open_case, settled, visited

pytestmark = pytest.mark.integration
SHAPE, SPACING = (12, 64, 64), (3.0, 0.8, 0.8)
MIDDLE = 6
AFFINE = np.diag([-SPACING[2], -SPACING[1], SPACING[0], 1.0])


def ellipsoid(number: int) -> np.ndarray:
    """A CT of -50 HU with a bright ellipsoid of 200 HU; each case has a voxel of its own, as a project takes a scan once."""
    z, y, x = np.ogrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    values = np.full(SHAPE, -50, np.int16)
    values[((z - MIDDLE) / 5) ** 2 + ((y - 32) / 12) ** 2 + ((x - 32) / 16) ** 2 <= 1] = 200
    values[0, 0, number] = 0
    return values


@dataclass(frozen=True)
class Place:
    """One case of a server that all tests share, and the browser before it."""

    server: Server
    browser: Browser
    number: int
    scan: Path

    @contextmanager
    def open(self, *, may_fail: bool = False) -> Iterator[Page]:
        with visited(self.browser, self.server, may_fail=may_fail) as page:
            open_case(page, self.number)
            page.wait_for_function(SAVED)
            yield page

    def _case(self, project: Project) -> ProjectCase:
        return project.cases()[self.number - 1]

    def labels(self) -> np.ndarray:
        """What the project holds, read past the server."""
        with open_project(self.server.project) as project:
            state = project.current(self._case(project).id, "reader")
            return np.zeros(SHAPE, np.uint16) if state is None else state.labels

    def objects(self) -> list[ProjectObject]:
        with open_project(self.server.project) as project:
            return project.objects(self._case(project).id)

    def draw(self, labels: dict[int, np.ndarray], annotator: str = "reader") -> np.ndarray:
        """Save slices drawn by hand, past the server."""
        whole = np.zeros(SHAPE, np.uint16)
        for index, drawn in labels.items():
            whole[index] = drawn
        own = {int(n): frozenset(k for k, drawn in labels.items() if (drawn == n).any()) for n in np.unique(whole) if n}
        with open_project(self.server.project) as project:
            case = self._case(project)
            project.save(
                case.id, annotator, whole, seen=project.head(case.id, annotator).version, kind="edit", locked=own
            )
        return whole


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Iterator[Place]]:
    if not (PAGE / "index.html").is_file():
        pytest.fail("the page is not built; run make page")
    folder = tmp_path_factory.mktemp("editing")
    scans = [folder / f"ct{number}.nii.gz" for number in range(6)]
    with create_project(folder / "study") as project:
        for number, path in enumerate(scans):
            nibabel.save(nibabel.Nifti1Image(ellipsoid(number).T, AFFINE), path)
            case = add_scan(project, path, FileOptions(), IntensityOptions("CT", "soft-tissue"))
            for label, name in ((1, "lesion"), (2, "cyst")):
                project.set_object(case.id, ProjectObject(label, name))
    server = Server(folder / "study", folder)
    server.start()
    with chromium() as browser:
        yield (Place(server, browser, number, path) for number, path in enumerate(scans, start=1))
    server.kill()


@pytest.fixture
def place(places: Iterator[Place]) -> Place:
    return next(places)


def disc(cy: float, cx: float, radius: float, label: int = 1) -> np.ndarray:
    y, x = np.ogrid[: SHAPE[1], : SHAPE[2]]
    return np.where((y - cy) ** 2 + (x - cx) ** 2 <= radius**2, label, 0)


def point(page: Page, plane: str, share_x: float, share_y: float) -> tuple[float, float]:
    """A place in a pane, from 0 to 1 across it."""
    pane = page.locator(f"canvas[data-plane={plane}]").bounding_box()
    assert pane is not None
    return pane["x"] + share_x * pane["width"], pane["y"] + share_y * pane["height"]


def stroke(page: Page, plane: str, *places: tuple[float, float]) -> None:
    page.mouse.move(*point(page, plane, *places[0]))
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*point(page, plane, *place))
    page.mouse.up()


def press(page: Page, keys: str) -> Callable[[], None]:
    return lambda: page.keyboard.press(keys)


def test_shapes_are_the_librarys_and_undo_goes_back_through_all_of_them_after_a_reload(place: Place) -> None:
    ring = disc(32, 30, 12) * (disc(32, 30, 4) == 0) + disc(10, 10, 2)
    states = [place.draw({MIDDLE: ring, MIDDLE + 1: ring})]
    with place.open() as page:
        one = (slice(MIDDLE, MIDDLE + 1),)
        for key, how, by in (("o", "fill", 0.0), ("l", "largest", 0.0), ("j", "smooth", 0.0), (".", "grow", 0.8)):
            settled(page, press(page, key))
            expected = states[-1].copy()
            expected[one] = reshape_object(expected[one], 1, how, by_mm=by, spacing_mm=SPACING)
            np.testing.assert_array_equal(place.labels(), expected, err_msg=how)
            states.append(expected)
        page.keyboard.press("q")
        page.get_by_label("Distance of grow and shrink in mm").fill("2.5")
        page.keyboard.press("Enter")
        page.locator(CANVAS).focus()
        settled(page, press(page, ","))
        states.append(reshape_object(states[-1], 1, "shrink", by_mm=2.5, spacing_mm=SPACING))
        np.testing.assert_array_equal(place.labels(), states[-1])
        page.reload()
        page.wait_for_selector(f'{CANVAS}[data-ready="true"]')
        for state in states[-2::-1]:
            settled(page, press(page, "Control+z"))
            np.testing.assert_array_equal(place.labels(), state)
        settled(page, press(page, "Control+y"))
        np.testing.assert_array_equal(place.labels(), states[1])


def test_slices_are_interpolated_and_a_corrected_one_is_carried_to_its_neighbours(place: Place) -> None:
    first, last = disc(20, 20, 6), disc(40, 36, 10)
    before = place.draw({2: first, MIDDLE: last})
    with place.open() as page:
        settled(page, press(page, "y"))
        between = interpolate_masks(first > 0, last > 0, MIDDLE - 3, SPACING[1:])
        before[3:MIDDLE] = between
        np.testing.assert_array_equal(place.labels(), before)

        page.get_by_label("Slices that update neighbours reaches on each side").fill("2")
        page.keyboard.press("Enter")
        page.locator(CANVAS).focus()
        settled(page, press(page, "u"))
        page.wait_for_selector("[role=progressbar]", state="detached")
    image = medsam.normalize(medsam.read_image(place.scan, modality="CT"), window="soft-tissue")
    predictor = medsam.load_predictor()
    tracks = track_neighbours(
        before[MIDDLE] == 1, 1, (MIDDLE - 2, MIDDLE, MIDDLE + 2), predictor.make_frame(*SHAPE[1:])
    )
    expected = segment(predictor, image, tracks, previous=Mask(before, image.grid)).mask.labels
    assert (expected != before).any()
    np.testing.assert_array_equal(place.labels(), expected)


def test_the_brush_works_in_all_planes_and_within_a_range_of_values(place: Place) -> None:
    values = medsam.read_image(place.scan).values
    with place.open() as page:
        page.keyboard.press("p")
        page.wait_for_function(
            f"() => [...document.querySelectorAll('{CANVAS}')].every(pane => pane.dataset.ready === 'true')"
        )
        page.keyboard.press("b")
        for _ in range(4):
            page.keyboard.press("]")
        page.mouse.move(*point(page, "coronal", 0.5, 0.5))
        page.locator("canvas[data-plane=coronal]").focus()
        page.keyboard.press("t")  # what lies under the brush is the bright object
        settled(page, lambda: stroke(page, "coronal", (0.5, 0.5), (0.1, 0.5)))
        painted = place.labels()
        assert painted.any() and not np.delete(painted, 32, axis=1).any()  # the middle row, and nothing beside it
        assert (values[painted > 0] == 200).all()  # the stroke went out of the object, the paint did not
        page.keyboard.press("t")
        settled(page, lambda: stroke(page, "sagittal", (0.5, 0.5), (0.3, 0.5)))
        both = place.labels()
        grown = (both > 0) & (painted == 0)
        assert grown.any() and not np.delete(grown, 32, axis=2).any()
        page.keyboard.press("e")
        settled(page, lambda: stroke(page, "sagittal", (0.5, 0.5), (0.3, 0.5)))
        assert not place.labels()[:, :, 32].any()
        settled(page, press(page, "Control+z"))
        np.testing.assert_array_equal(place.labels(), both)


def test_another_readers_version_is_compared_and_taken_over_and_ones_own_comes_back(place: Place) -> None:
    mine = place.draw({MIDDLE: disc(30, 30, 10)})
    theirs = place.draw({MIDDLE: disc(34, 36, 9)}, "bob")
    with place.open() as page:
        page.wait_for_selector("section[aria-label=Versions]")
        page.keyboard.press("c")
        table = page.locator("section[aria-label=Versions] .table")
        table.wait_for()
        assert f"{dice(mine, theirs):.3f}" in table.inner_text()
        page.keyboard.press("x")
        page.wait_for_selector(".legend")
        settled(page, press(page, "Shift+T"))
        np.testing.assert_array_equal(place.labels(), theirs)
        settled(page, press(page, "Control+z"))
        np.testing.assert_array_equal(place.labels(), mine)


def test_objects_are_named_coded_merged_locked_and_deleted_by_keys(place: Place) -> None:
    both = place.draw({MIDDLE: disc(20, 20, 6) + disc(44, 44, 6, 2)})
    with place.open() as page:
        page.keyboard.press("Shift+K")
        page.get_by_role("searchbox").fill("neopl")
        page.get_by_role("button", name="Neoplasm SCT 108369006").wait_for()
        page.keyboard.press("Enter")
        page.keyboard.press("Enter")
        page.get_by_role("button", name="Neoplasm").wait_for()
        page.wait_for_function(SAVED)
        page.keyboard.press("Shift+L")
        page.keyboard.press("Shift+Delete")  # a locked object stays
        page.wait_for_function("() => document.querySelector('.hint').textContent.startsWith('The object is locked')")
        np.testing.assert_array_equal(place.labels(), both)
        page.keyboard.press("Shift+L")
        page.keyboard.press("Shift+M")
        page.keyboard.press("Enter")
        settled(page, press(page, "Enter"))
        np.testing.assert_array_equal(place.labels(), np.where(both, 2, 0))
        assert [item.name for item in place.objects()] == ["cyst"]
        settled(page, press(page, "Control+z"))
        np.testing.assert_array_equal(place.labels(), both)
        [lesion, _] = place.objects()
        assert lesion == replace(lesion, name="lesion", code=("SCT", "108369006", "Neoplasm"))
        page.keyboard.press("2")
        settled(page, press(page, "Shift+Delete"))
        np.testing.assert_array_equal(place.labels(), np.where(both == 1, 1, 0))


def test_steps_taken_while_the_server_is_away_are_done_when_it_is_back(place: Place) -> None:
    before = place.draw({MIDDLE: disc(32, 32, 8)})
    with place.open(may_fail=True) as page:
        place.server.kill()
        page.keyboard.press(".")
        page.wait_for_function("() => document.querySelector('.saving').textContent.startsWith('Server away')")
        page.keyboard.press("Shift+N")
        page.keyboard.type("nodule")
        page.keyboard.press("Enter")
        place.server.start()
        page.wait_for_function(SAVED)
    expected = before.copy()
    one = slice(MIDDLE, MIDDLE + 1)
    expected[one] = reshape_object(before[one], 1, "grow", by_mm=0.8, spacing_mm=SPACING)
    np.testing.assert_array_equal(place.labels(), expected)
    assert [item.name for item in place.objects()] == ["nodule", "cyst"]
