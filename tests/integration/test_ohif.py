"""The real OHIF viewer in headless Chromium draws our DICOM SEG over the series it came from."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Picture

import medsam
from medsam.io.dicom.web import parse_address, store

from .conftest import PASSWORD, USER, Orthanc
from .test_pacs import ct_series
from .viewer import Viewer

pytestmark = pytest.mark.integration
ROOT = Path(__file__).resolve().parents[2]
CHROMIUM_FLAGS = [
    "--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader",
]  # fmt: skip


def colored(picture: bytes) -> int:
    """Pixels of the middle of a screenshot that are clearly not grey: the segment drawn over the CT."""
    rgb = np.asarray(Picture.open(io.BytesIO(picture)).convert("RGB")).astype(int)
    height, width, _ = rgb.shape
    middle = rgb[height // 6 : -height // 6, width // 4 : -width // 4]
    return int((middle.max(axis=2) - middle.min(axis=2) > 60).sum())


def test_ohif_shows_our_segmentation(orthanc: Orthanc, tmp_path: Path) -> None:
    from playwright.sync_api import sync_playwright

    study, _ = ct_series(tmp_path / "ct", slices=8, size=128)
    image = medsam.read_image(tmp_path / "ct")
    ball = medsam.Mask((image.values > 75).astype(np.uint8), image.grid, names={1: "Lesion"}, colors={1: (255, 40, 40)})
    assert ball.labels.any()
    medsam.write_mask(ball, tmp_path / "seg.dcm", reference=tmp_path / "ct")
    store(parse_address(orthanc.address), [*sorted((tmp_path / "ct").iterdir()), tmp_path / "seg.dcm"])
    output = Path(os.environ.get("MEDSAM_TEST_OUTPUT", ROOT / "tests-output"))
    output.mkdir(exist_ok=True)
    with Viewer(ROOT / ".make/ohif/package/dist", orthanc.root, (USER, PASSWORD)) as viewer, sync_playwright() as tools:
        browser = tools.chromium.launch(executable_path="/usr/bin/chromium", args=CHROMIUM_FLAGS)
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.goto(f"{viewer.url}/viewer?StudyInstanceUIDs={study}")
        page.wait_for_selector("canvas", timeout=60_000)
        page.wait_for_timeout(4000)
        for name in ("Skip all", "Skip"):
            if page.get_by_text(name, exact=True).count():
                page.get_by_text(name, exact=True).first.click()
        before = page.screenshot()
        page.locator('[data-cy="study-browser-thumbnail-no-image"]').first.dblclick()
        page.wait_for_timeout(3000)
        if page.get_by_text("Yes", exact=True).count():
            page.get_by_text("Yes", exact=True).first.click()
        page.wait_for_timeout(8000)
        after = page.screenshot(path=output / "ohif-seg.png")
        browser.close()
    assert colored(after) > colored(before) + 500
    assert viewer.failed == []
