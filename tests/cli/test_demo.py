"""The command `medsam demo`: masks and pictures of six images, and one sheet of all of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image as Picture

from command import medsam, refused
from medsam import read_mask
from medsam.jobs.demo import DEMO_IMAGES


def test_a_demo_replaces_nothing_and_needs_a_folder(tmp_path: Path) -> None:
    (tmp_path / "us-heart.png").write_text("mine")
    assert refused(medsam("demo --model none -o", tmp_path), "exists already")
    assert refused(medsam("demo --model none -o", tmp_path / "us-heart.png"), "is a file")
    assert refused(medsam("demo --model none --overwrite -o", tmp_path), "none")  # goes on to the model
    assert (tmp_path / "us-heart.png").read_text() == "mine"


@pytest.mark.integration
def test_every_box_of_the_demo_gives_an_object_in_its_image(tmp_path: Path) -> None:
    ended = medsam("demo -o", tmp_path)
    assert ended.code == 0, ended.err
    assert len(ended.err.splitlines()) == len(DEMO_IMAGES)
    for case in DEMO_IMAGES:
        [path] = tmp_path.glob(f"{case.name}-mask.*")
        assert read_mask(path).ids == tuple(range(1, len(case.boxes) + 1))
    assert Picture.open(tmp_path / "contact-sheet.png").width == 3 * 480
    assert medsam("project list --json", tmp_path).json[-1]["number"] == len(DEMO_IMAGES)
    assert medsam("demo --overwrite -o", tmp_path).code == 0  # the project is kept as it is
