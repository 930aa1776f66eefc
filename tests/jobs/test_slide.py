"""What a slide can be asked, and which file is one."""

from __future__ import annotations

from pathlib import Path

import pytest

from medsam.errors import OutputError, PromptError
from medsam.imaging.prompts import Prompt
from medsam.jobs.slide import check_slide, is_slide


def test_a_slide_takes_boxes_and_gives_geojson():
    check_slide(Path("m.geojson"), [Prompt(box=(1, 2, 3, 4))])
    with pytest.raises(OutputError, match=r"name the output \.geojson"):
        check_slide(Path("m.png"), [Prompt(box=(1, 2, 3, 4))])
    for prompt in (Prompt(points=((1, 2),), point_labels=(1,)), Prompt(box_3d=(1, 2, 0, 3, 4, 1))):
        with pytest.raises(PromptError, match="whole slide"):
            check_slide(Path("m.geojson"), [prompt])


def test_a_slide_is_known_by_its_suffix_and_a_damaged_tiff_is_none(tmp_path):
    (tmp_path / "a.tif").write_bytes(b"II*\0")
    assert is_slide(tmp_path / "a.svs", tmp_path / "m.geojson")
    assert not is_slide(tmp_path / "a.tif", tmp_path / "m.geojson")
    assert not is_slide(tmp_path / "a.tif", tmp_path / "m.png")
