"""The demo as a job: its images lie in installed packages, with boxes inside them."""

from __future__ import annotations

from pathlib import Path

import pytest

from medsam.errors import OutputError
from medsam.imaging.intensity import normalize
from medsam.io.formats import read_image
from medsam.jobs.demo import DEMO_IMAGES, DemoImage, _source, run_demo


@pytest.mark.parametrize("case", DEMO_IMAGES, ids=lambda case: case.name)
def test_the_boxes_lie_inside_the_image(case: DemoImage) -> None:
    image = normalize(read_image(_source(case), modality=case.modality), window=case.window)
    depth, height, width = image.move_axis(image.grid.find_axis(case.plane) if case.plane else 0).grid.shape
    assert case.slice < depth
    assert all(0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height for x0, y0, x1, y1 in case.boxes)


def test_nothing_is_replaced_unless_asked(tmp_path: Path) -> None:
    (tmp_path / "contact-sheet.png").write_text("mine")
    with pytest.raises(OutputError, match="exists already"):
        run_demo(tmp_path, "none", print)
