"""Which images, which prompts and which names a request means; no model is near."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from dicom_phantom import Phantom, write_series
from PIL import Image as Picture

from medsam.errors import InputFileError, OutputError, PromptError
from medsam.jobs.options import MaskOptions, RunOptions
from medsam.jobs.segment_plan import SegmentRequest, plan_segmentation

BOX = ("2,2,12,12",)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """a.png, a.jpg, b.png and a text."""
    path = tmp_path / "in"
    path.mkdir()
    for name in ("b.png", "a.png", "a.jpg"):
        Picture.fromarray(np.zeros((20, 20), np.uint8)).save(path / name)
    (path / "notes.txt").write_text("no image")
    return path


def test_a_folder_gives_a_mask_for_each_image_and_equal_stems_stay_apart(folder, tmp_path):
    plan = plan_segmentation(SegmentRequest((folder,), tmp_path / "out", BOX))
    assert plan.folder
    assert [(t.source.name, t.output.name) for t in plan.tasks] == [
        ("a.jpg", "a_jpg.png"), ("a.png", "a_png.png"), ("b.png", "b.png"),
    ]  # fmt: skip


def test_a_format_and_a_folder_of_pictures_name_the_outputs(folder, tmp_path):
    asked = SegmentRequest(
        (folder / "b.png",), tmp_path / "out", BOX, mask=MaskOptions("nrrd"), beside=RunOptions(tmp_path / "seen")
    )
    (task,) = plan_segmentation(asked).tasks
    assert (task.output, task.overlay) == (tmp_path / "out/b.nrrd", tmp_path / "seen/b.png")


def test_prompts_of_a_file_go_to_the_images_they_name(folder, tmp_path):
    (tmp_path / "p.csv").write_text("image,x0,y0,x1,y1\nb.png,1,2,3,4\n")
    request = SegmentRequest((folder,), tmp_path / "out", prompts_file=tmp_path / "p.csv", names=("cyst",))
    (task,) = plan_segmentation(request).tasks
    assert task.source.name == "b.png"
    assert [(p.label, p.box, p.name) for p in task.prompts] == [(1, (1, 2, 3, 4), "cyst")]
    (tmp_path / "p.csv").write_text("image,x0,y0,x1,y1\nc.png,1,2,3,4\n")
    with pytest.raises(PromptError, match=r"prompts for c\.png"):
        plan_segmentation(request)


def test_what_cannot_be_planned_is_refused(folder, tmp_path):
    with pytest.raises(PromptError, match="no prompts"):
        plan_segmentation(SegmentRequest((folder,), tmp_path / "out"))
    with pytest.raises(OutputError, match="3 inputs and the one output"):
        plan_segmentation(SegmentRequest((folder,), tmp_path / "m.png", BOX))
    with pytest.raises(OutputError, match="among the images"):
        plan_segmentation(SegmentRequest((folder,), folder, BOX))
    with pytest.raises(InputFileError, match="matches no file"):
        plan_segmentation(SegmentRequest((tmp_path / "*.gif",), tmp_path / "m.png", BOX))


def test_a_folder_of_dicom_with_other_images_is_ambiguous(folder, tmp_path):
    write_series(tmp_path / "ct", Phantom())
    request = SegmentRequest((tmp_path / "ct",), tmp_path / "m.nii.gz", BOX, slice=2)
    assert [task.source for task in plan_segmentation(request).tasks] == [tmp_path / "ct"]
    (folder / "b.png").rename(tmp_path / "ct/preview.png")
    with pytest.raises(InputFileError, match=r"preview\.png"):
        plan_segmentation(request)
