"""The ways through the page on scans of several kinds: axes to a whole object, review, 3D, export, two browsers, axe-core."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image as Picture
from playwright.sync_api import Browser, Page

import medsam
from medsam.annotation.markers import Marker
from medsam.annotation.study.project import create_project
from medsam.io.dicom.web import fetch, parse_address, query, store
from medsam.jobs.options import FileOptions, IntensityOptions
from medsam.jobs.project import add_scan
from medsam.server.page import PAGE

from .conftest import Orthanc
from .page_driver import (
    CANVAS,
    SAVED,
    TOKEN,
    Server,
    chromium,
    chromium_beside,
    drag,
    events_of,
    go_to,
    labels_of,
    open_case,
    settled,
    visited,
)
from .test_pacs import ct_series

pytestmark = pytest.mark.integration
CT, ULTRASOUND = 1, 2
CT_SIZE = (64, 64)
OTHER = "a-token-for-somebody-else-here"
AXE = Path(__file__).resolve().parents[2] / "web" / "node_modules" / "axe-core" / "axe.min.js"
IDLE = "() => !document.querySelector('.side [role=progressbar]')"


@dataclass(frozen=True)
class Study:
    """A served project of a CT series and an ultrasound picture, and one browser for all tests."""

    server: Server
    browser: Browser
    orthanc: Orthanc
    series: Path
    picture: Path
    picture_size: tuple[int, int]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Study]:
    if not (PAGE / "index.html").is_file():
        pytest.fail("the page is not built; run make page")
    folder = tmp_path_factory.mktemp("ways")
    ct_series(folder / "ct", slices=10)
    picture = folder / "ultrasound.png"
    ultrasound(request).save(picture)
    with create_project(folder / "study") as project:
        add_scan(project, folder / "ct", FileOptions(), IntensityOptions("CT", "soft-tissue"))
        add_scan(project, picture, FileOptions(), IntensityOptions("ultrasound"))
    orthanc = Orthanc(folder / "orthanc")
    server = Server(folder / "study", folder, orthanc.address)
    with server.tokens.open("a") as tokens:
        tokens.write(f"bob {OTHER} annotate\n")
    with ExitStack() as stack:
        stack.callback(orthanc.kill)
        orthanc.start()
        store(parse_address(orthanc.address), sorted((folder / "ct").iterdir()))
        stack.callback(server.kill)
        server.start()
        browser = stack.enter_context(chromium())
        yield Study(server, browser, orthanc, folder / "ct", picture, Picture.open(picture).size)


def ultrasound(request: pytest.FixtureRequest) -> Picture.Image:
    """A real lesion where real images are there, else a drawn one."""
    try:
        shared: Path = request.getfixturevalue("shared_data")
    except pytest.skip.Exception:
        yy, xx = np.mgrid[:300, :400]
        noise = np.random.default_rng(0).normal(110, 18, (300, 400))
        return Picture.fromarray(
            np.where((yy - 150) ** 2 + (xx - 200) ** 2 < 60**2, noise - 70, noise).clip(0, 255).astype(np.uint8)
        )
    return Picture.open(shared / "slices" / "us_mixed" / "images" / "busi_part_benign_1.jpg").convert("L")


@pytest.fixture
def page(study: Study) -> Iterator[Page]:
    with visited(study.browser, study.server) as page:
        yield page


def prompted(server: Server, number: int) -> dict[str, object]:
    [prompt] = events_of(server, number)[-1]["prompts"]  # type: ignore[misc]
    return dict(prompt)


def test_a_box_on_an_ultrasound_picture_gives_the_librarys_mask(study: Study, page: Page) -> None:
    open_case(page, ULTRASOUND)
    width, height = study.picture_size
    box = (width * 0.25, height * 0.25, width * 0.75, height * 0.75)
    settled(page, lambda: drag(page, box[:2], box[2:], study.picture_size))
    image = medsam.normalize(medsam.read_image(study.picture, modality="ultrasound"))
    drawn = prompted(study.server, ULTRASOUND)["box"]
    np.testing.assert_allclose(drawn, box, atol=1)  # type: ignore[arg-type]  # the mouse stops at whole pixels of the screen
    expected = medsam.segment_volume(medsam.load_predictor(), image, boxes={0: [tuple(drawn)]}).labels  # type: ignore[arg-type]
    assert expected.any()
    np.testing.assert_array_equal(labels_of(study.server, ULTRASOUND), expected)


def test_axes_on_four_slices_give_what_annotate_gives_and_go_to_seg_and_back(
    study: Study, page: Page, tmp_path: Path
) -> None:  # fmt: skip
    open_case(page, CT)
    page.keyboard.press("a")
    for index, half in ((3, 8), (4, 12), (6, 12), (7, 8)):
        go_to(page, index)
        drag(page, (34 - half, 30), (34 + half, 30), CT_SIZE)
        settled(page, lambda half=half: drag(page, (34, 30 - half), (34, 30 + half), CT_SIZE))
    page.wait_for_function("() => document.querySelector('.strip').dataset.scored === '4'")
    page.keyboard.press("g")
    page.wait_for_function("() => document.querySelector('.strip').dataset.scored === '5'")  # slice 5 is between
    page.wait_for_function(SAVED)

    image = medsam.normalize(medsam.read_image(study.series, modality="CT"), window="soft-tissue")
    job = events_of(study.server, CT)[-1]
    markers = [Marker(m.get("label", 1), m["slice"], tuple(map(tuple, m["points"]))) for m in job["markers"]]  # type: ignore[attr-defined]
    assert [len(marker.points_xy) for marker in markers] == [4] * 4
    expected = medsam.annotate(medsam.load_predictor(), image, markers)
    got = labels_of(study.server, CT)
    np.testing.assert_array_equal(got, expected.mask.labels)
    assert got.any(axis=(1, 2)).tolist() == [False] * 3 + [True] * 5 + [False] * 2

    least = min(expected.scores[1], key=lambda at: expected.scores[1][at])
    page.keyboard.press("d")
    page.wait_for_selector(f'{CANVAS}[data-slice="{least}"]')
    rows = page.locator(".review-row").all()
    assert [int(row.get_attribute("data-slice") or -1) for row in rows] == sorted(
        expected.scores[1], key=lambda at: (round(expected.scores[1][at], 4), at)
    )

    page.click("text=Export")
    with page.expect_download() as download:
        page.click('[data-export="dicom-seg"]')
    file = tmp_path / download.value.suggested_filename
    download.value.save_as(file)
    np.testing.assert_array_equal(medsam.read_mask(file, reference=image).labels > 0, got > 0)


def test_one_click_stores_the_mask_in_the_pacs(study: Study, page: Page, tmp_path: Path) -> None:
    outline_ball(study)
    open_case(page, CT)
    page.click("text=Export")
    page.click('[data-store="dicom-seg"]')
    page.wait_for_selector("text=The mask is in the PACS")
    archive = parse_address(study.orthanc.address)
    [stored] = query(archive, modality="SEG")
    fetch(parse_address(f"{study.orthanc.address}/studies/{stored.study}/series/{stored.series}"), tmp_path / "seg")
    [file] = (tmp_path / "seg").iterdir()
    np.testing.assert_array_equal(
        medsam.read_mask(file, reference=study.series).labels > 0, labels_of(study.server, CT) > 0
    )


def test_surfaces_are_drawn_turned_by_keys_and_lead_to_a_slice(study: Study, page: Page) -> None:
    outline_ball(study)
    open_case(page, CT)
    page.keyboard.press("p")
    page.keyboard.press("v")
    surface = page.locator("canvas[data-surfaces]")
    page.wait_for_function("() => Number(document.querySelector('canvas[data-surfaces]').dataset.triangles) > 100")
    turn = surface.get_attribute("data-turn")
    surface.focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_function("turn => document.querySelector('canvas[data-surfaces]').dataset.turn !== turn", arg=turn)
    go_to(page, 0)
    area = surface.bounding_box()
    assert area is not None
    page.mouse.click(area["x"] + area["width"] / 2, area["y"] + area["height"] / 2)
    page.wait_for_function(f"() => Number(document.querySelector('{CANVAS}').dataset.slice) > 0")
    assert labels_of(study.server, CT)[int(page.locator(CANVAS).first.get_attribute("data-slice") or 0)].any()
    page.keyboard.press("v")
    assert page.locator("canvas[data-surfaces]").count() == 0


def test_a_browser_without_webgl_says_so_in_words(study: Study) -> None:
    with chromium_beside(study.browser, "--disable-3d-apis") as browser, visited(browser, study.server) as page:
        open_case(page, CT)
        page.keyboard.press("v")
        assert "WebGL2 is off" in page.locator(".surface-words").inner_text()


def test_two_browsers_on_one_case_see_each_other_and_lose_nothing(study: Study, page: Page) -> None:
    # A browser tells of the 409 with which the server refuses what is made from an older state; the page puts it on top.
    with visited(study.browser, study.server, may_fail=True) as other:
        for one in (page, other):
            open_case(one, CT)
            go_to(one, 1)
            one.keyboard.press("b")
        settled(page, lambda: drag(page, (5, 10), (20, 10), CT_SIZE))
        assert page.locator(".company").inner_text() == ""  # another browser of the same person is nobody else
        settled(other, lambda: drag(other, (5, 50), (20, 50), CT_SIZE))
        both = labels_of(study.server, CT)[1]
        assert both[10, 5:21].all() and both[50, 5:21].all()
        page.wait_for_function(  # the first page follows by itself
            f"last => document.querySelector('{CANVAS}').dataset.labels.split('.')[0] >= last",
            arg=(other.locator(CANVAS).first.get_attribute("data-labels") or "").split(".")[0],
        )
        settled(page, lambda: page.keyboard.press("Control+z"))
        assert not labels_of(study.server, CT)[1][50].any()


def test_who_else_works_here_is_told_and_gone_when_they_leave(study: Study, page: Page) -> None:
    with httpx.Client(base_url=f"{study.server.address}/api/v1", headers={"Authorization": f"Bearer {OTHER}"}) as bob:
        case = bob.get("/cases").json()[CT - 1]["id"]
        presence = f"/cases/{case}/presence"
        bob.put(presence).raise_for_status()
        page.reload()
        assert "bob" in page.locator(f".case-card >> nth={CT - 1} >> .case-company").inner_text()
        open_case(page, CT)
        page.wait_for_selector("text=bob works here too")
        assert [one["annotator"] for one in bob.put(presence).json()] == ["bob", "reader"]
        with page.expect_response(lambda answer: answer.request.method == "DELETE"):
            page.click('[aria-label="Back to the cases"]')
        assert [one["annotator"] for one in bob.put(presence).json()] == ["bob"]
        bob.delete(presence).raise_for_status()


def test_play_goes_through_the_slices_and_stops(page: Page) -> None:
    open_case(page, CT)
    go_to(page, 2)
    page.keyboard.press("Space")
    page.wait_for_selector(f'{CANVAS}[data-slice="5"]')
    page.keyboard.press("Space")
    assert page.locator('[aria-label^="Play through"]').get_attribute("aria-pressed") == "false"


def test_the_page_says_when_the_model_has_read_the_slice(page: Page) -> None:
    open_case(page, CT)
    page.wait_for_function("() => document.querySelector('.ready').textContent === 'Model ready'")


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_axe_finds_no_moderate_fault_in_any_screen(study: Study, scheme: str) -> None:
    outline_ball(study)
    with visited(study.browser, study.server, scheme=scheme) as page:  # type: ignore[arg-type]
        audit(page, "list")
        page.click("text=Study report")
        page.wait_for_selector(".list-inner > :nth-child(2)")
        audit(page, "report")
        page.click('[aria-label="Back to the cases"]')
        open_case(page, CT)
        page.wait_for_selector(".review-row")
        audit(page, "one plane")
        page.keyboard.press("p")
        page.keyboard.press("v")
        page.wait_for_function("() => Number(document.querySelector('canvas[data-surfaces]').dataset.triangles) > 0")
        audit(page, "three planes and 3D")
        page.click("text=Export")
        audit(page, "export")
        page.keyboard.press("Escape")
        page.keyboard.press("?")
        audit(page, "keys")


def audit(page: Page, name: str) -> None:
    """Refuse what axe-core calls moderate, serious or critical."""
    if not page.evaluate("() => 'axe' in window"):
        page.evaluate(AXE.read_text())
    found = page.evaluate("() => axe.run(document, {resultTypes: ['violations']})")["violations"]
    grave = [
        (fault["id"], [node["html"][:120] for node in fault["nodes"]][:4])
        for fault in found if fault["impact"] in ("moderate", "serious", "critical")
    ]  # fmt: skip
    assert not grave, f"{name}: {json.dumps(grave, indent=1)}"


def outline_ball(study: Study) -> None:
    """Have the ball of the CT outlined by the model, where no test before did."""
    if events_of(study.server, CT):
        return
    with httpx.Client(
        base_url=f"{study.server.address}/api/v1", headers={"Authorization": f"Bearer {TOKEN}"}
    ) as client:
        case = client.get("/cases").json()[CT - 1]["id"]
        body = {"prompts": [{"box_3d": [20, 16, 3, 49, 45, 7], "label": 1}]}
        job = client.post(f"/cases/{case}/jobs", json=body, headers={"If-Match": '"v0"'}).json()
        assert "event: done" in client.get(f"/cases/{case}/jobs/{job['id']}/events", timeout=120).text
