"""The page of a report in headless Chromium: a table sorts, a worst case opens, nothing is asked of a network."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from predicted_run import evaluate, write_data

from medsam.cli.app import run

pytestmark = pytest.mark.integration
ROOT = Path(__file__).resolve().parents[2]


def test_a_table_sorts_a_case_opens_and_no_request_leaves_the_page(tmp_path: Path) -> None:
    from playwright.sync_api import sync_playwright

    write_data(tmp_path)
    assert evaluate(tmp_path) == 3
    assert run(["report", str(tmp_path / "run"), "-o", str(tmp_path / "report"), "--rounds", "20"]) == 3
    asked: list[str] = []
    wrong: list[str] = []
    with sync_playwright() as tools:
        browser = tools.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.goto((tmp_path / "report/index.html").as_uri())
        output = Path(os.environ.get("MEDSAM_TEST_OUTPUT", ROOT / "tests-output"))
        output.mkdir(exist_ok=True)
        page.screenshot(path=output / "report-page.png", full_page=True)
        ranks = page.locator("#table-ranks-dice tbody tr td:nth-child(1)")
        assert ranks.all_text_contents() == ["good", "half"]
        mean_rank = page.locator("#table-ranks-dice th", has_text="Mean rank")
        mean_rank.locator("button").click()
        assert ranks.all_text_contents() == ["good", "half"]
        mean_rank.locator("button").click()
        assert ranks.all_text_contents() == ["half", "good"]
        assert mean_rank.get_attribute("aria-sort") == "descending"
        page.locator("button.case").first.click()
        page.wait_for_function("document.querySelector('dialog img').naturalWidth > 0")
        assert "no prediction" in page.locator("dialog p").inner_text()
        page.screenshot(path=output / "report-case.png")
        page.locator("dialog button").click()
        page.locator("input").fill("good")
        assert page.locator("#table-cases tbody tr:visible").count() == 4
        assert page.evaluate("[...document.images].filter(i => i.src && !i.naturalWidth).length") == 0
        browser.close()
    assert wrong == []
    assert asked
    assert [url for url in asked if not url.startswith("file:///")] == []
