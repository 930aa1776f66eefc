"""The page in Chromium on a CT of 512 x 512 x 400: first slice, scrolling, from letting go of the mouse to the mask.

The server is `medsam serve` with the default model, on the same machine as the browser. A frame is what the browser calls
one, between two animation frames. The mask is on the screen at the frame after its pixels were drawn; the model's own
decode, as the server tells it, is taken off. Prints JSON.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path
from statistics import median

import nibabel
import numpy as np
from playwright.sync_api import Page

from medsam.annotation.study.project import create_project
from medsam.jobs.options import FileOptions, IntensityOptions
from medsam.jobs.project import add_scan

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from integration.page_driver import READY, TOKEN, Server, chromium, screen

DEPTH = int(os.environ.get("MEDSAM_BENCH_DEPTH", "400"))
SLICES = 100
BOXES = int(os.environ.get("MEDSAM_BENCH_BOXES", "20"))
SIZE = (512, 512)
SCROLL = """async ([slices, key]) => {
  const canvas = document.querySelector('canvas.pane-canvas');
  const frame = () => new Promise((done) => requestAnimationFrame(done));
  const frames = [];
  const from = Number(canvas.dataset.slice);
  let last = await frame();
  for (let at = 0; at < slices; at++) {
    canvas.dispatchEvent(new KeyboardEvent('keydown', {key, bubbles: true}));
    const now = await frame();
    frames.push(now - last);
    last = now;
  }
  if (Math.abs(Number(canvas.dataset.slice) - from) < slices - 1) throw new Error('the slices did not move');
  const started = performance.now();
  while (canvas.dataset.ready !== 'true') await frame();
  return {frames, behind: performance.now() - started};
}"""
WATCH = """() => {
  const canvas = document.querySelector('canvas.pane-canvas');
  window.answer = new Promise((done) => {
    let let_go = 0;
    canvas.addEventListener('pointerup', () => (let_go = performance.now()), {once: true, capture: true});
    const before = canvas.dataset.labels.split('/')[0];
    const look = () => {
      const [version] = canvas.dataset.labels.split('/');
      if (let_go && version.split('.')[0] !== before.split('.')[0]) requestAnimationFrame(() => done(performance.now() - let_go));
      else requestAnimationFrame(look);
    };
    look();
  });
}"""


def make_scan(path: Path) -> None:
    """A drawn CT of 16 bit: a bright ball that every slice in the middle cuts, in noise."""
    rng = np.random.default_rng(0)
    yy, xx = np.mgrid[:512, :512]
    noise = rng.normal(20, 12, (8, 512, 512)).astype(np.int16)
    volume = np.empty((DEPTH, 512, 512), np.int16)
    for k in range(DEPTH):
        radius = 40 + 20 * np.sin(k / 12)
        volume[k] = noise[k % 8] + 110 * ((yy - 250) ** 2 + (xx - 260) ** 2 < radius**2)
    nibabel.save(nibabel.Nifti1Image(volume.T, np.diag([-0.7, -0.7, 1.0, 1.0])), path)


def time_scrolling(page: Page, key: str) -> dict[str, float]:
    """Frames while the arrow goes through slices, one a frame."""
    page.wait_for_selector(READY)
    found = page.evaluate(SCROLL, [SLICES, key])
    frames = sorted(found["frames"])
    return {
        "longest_ms": round(frames[-1], 1),
        "median_ms": round(median(frames), 1),
        "slice_behind_ms": round(found["behind"], 1),
    }


def time_prompt(page: Page, at: int) -> dict[str, float]:
    """A box on a slice that the model has read."""
    page.wait_for_function("() => document.querySelector('.ready').textContent === 'Model ready'")
    page.evaluate(WATCH)
    page.mouse.move(*screen(page, 180 - at, 170, SIZE))
    page.mouse.down()
    page.mouse.move(*screen(page, 340, 330 + at, SIZE))
    with page.expect_response(lambda answer: answer.url.endswith("/prompts")) as asked:
        page.mouse.up()
    whole = page.evaluate("() => window.answer")
    page.wait_for_function("() => document.querySelector('.saving').textContent === 'Saved'")
    seconds = asked.value.json()["seconds"]
    return {"whole_ms": whole, "decode_ms": 1000 * seconds["decode"], "encode_ms": 1000 * seconds["encode"]}


def main() -> None:
    with tempfile.TemporaryDirectory() as name, chromium() as browser:
        folder = Path(name)
        make_scan(folder / "ct.nii")
        with create_project(folder / "study") as project:
            case = add_scan(project, folder / "ct.nii", FileOptions(), IntensityOptions("CT", "soft-tissue"))
        server = Server(folder / "study", folder)
        server.start()
        try:
            page = browser.new_context(viewport={"width": 1366, "height": 768}).new_page()
            page.set_default_timeout(600_000)
            page.add_init_script("localStorage.setItem('medsam-tour-seen', 'yes')")
            page.goto(f"{server.address}/?token={TOKEN}#/case/{case.id}", wait_until="commit")
            page.wait_for_selector(READY)
            first = page.evaluate("() => performance.now()")
            page.wait_for_function("() => document.querySelector('.ready').textContent === 'Model ready'")
            scrolling = {
                "new_slices": time_scrolling(page, "ArrowDown"),
                "loaded_slices": time_scrolling(page, "ArrowUp"),
            }
            prompts = [time_prompt(page, at) for at in range(BOXES)]
        finally:
            server.kill()
    above = [row["whole_ms"] - row["decode_ms"] for row in prompts]
    result = {
        "scan": [DEPTH, *SIZE], "first_slice_seconds": round(first / 1000, 2), "scrolling": scrolling,
        "prompts": {
            "encoded_again": sum(row["encode_ms"] > 50 for row in prompts), "whole_ms": round(median(row["whole_ms"] for row in prompts), 1),
            "decode_ms": round(median(row["decode_ms"] for row in prompts), 1), "above_decode_ms": round(median(above), 1),
        },
        "load": os.getloadavg()[0],
    }  # fmt: skip
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
