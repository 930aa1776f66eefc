"""Prompts that COCO tools, labelme and 3D Slicer write."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from patient_grid import GRID, mm, save

from medsam.errors import InputFileError, PromptError
from medsam.imaging.prompts import Prompt
from medsam.io.prompts import needs_grid, read_prompts


def test_coco_boxes_have_a_width_and_a_height(tmp_path: Path) -> None:
    raw = {
        "images": [{"id": 5, "file_name": "a.png"}, {"id": 6, "file_name": "b.png"}],
        "categories": [{"id": 3, "name": "nucleus"}],
        "annotations": [
            {"image_id": 5, "bbox": [10, 20, 30, 5], "category_id": 3},
            {"image_id": 5, "bbox": [1, 2, 3, 4], "category_id": 3},
            {"image_id": 6, "bbox": [0, 0, 9, 9], "category_id": 8},
        ],
    }
    one, two, other = read_prompts(save(tmp_path / "coco.json", raw))
    assert one == Prompt(label=1, box=(10, 20, 40, 25), image="a.png", name="nucleus")
    assert two == Prompt(label=2, box=(1, 2, 4, 6), image="a.png", name="nucleus")
    assert other == Prompt(label=1, box=(0, 0, 9, 9), image="b.png")
    raw["annotations"][0]["image_id"] = 9  # type: ignore[index]
    with pytest.raises(InputFileError, match="annotation 1 has no box of a listed image"):
        read_prompts(save(tmp_path / "coco.json", raw))


def test_labelme_rectangles_and_points(tmp_path: Path) -> None:
    shapes = [
        {"label": "cyst", "shape_type": "rectangle", "points": [[30, 40], [10, 20]]},
        {"label": "cyst", "shape_type": "point", "points": [[15, 25]]},
        {"label": "node", "shape_type": "point", "points": [[3, 4]]},
    ]
    raw = {"imagePath": "..\\images\\a.png", "shapes": shapes}
    cyst, node = read_prompts(save(tmp_path / "a.json", raw))
    assert cyst == Prompt(
        label=1, box=(10, 20, 30, 40), points=((15, 25),), point_labels=(1,), image="a.png", name="cyst"
    )
    assert node == Prompt(label=2, points=((3, 4),), point_labels=(1,), image="a.png", name="node")
    shapes.append({"label": "x", "shape_type": "polygon", "points": [[1, 2], [3, 4], [5, 6]]})
    with pytest.raises(InputFileError, match="shape 4 is a polygon of 3 points"):
        read_prompts(save(tmp_path / "a.json", raw))


@pytest.mark.parametrize("system", ["LPS", "RAS"])
def test_slicers_fiducials_and_rois_lie_in_the_patient(tmp_path: Path, system: str) -> None:
    sign = 1 if system == "LPS" else -1

    def there(*index: float) -> list[float]:
        x, y, z = mm(*index)
        return [sign * x, sign * y, z]

    points = [
        {"position": there(k, y, x), "positionStatus": "defined"} for k, y, x in ((2, 10, 20), (2, 12, 22), (5, 8, 9))
    ]
    markups = [
        {"type": "Fiducial", "coordinateSystem": system, "coordinateUnits": "mm", "controlPoints": points},
        {"type": "ROI", "coordinateSystem": system, "center": there(4, 20, 25), "size": [8.0, 16.0, 11.0]},
    ]
    path = save(tmp_path / "m.mrk.json", {"markups": markups})
    assert needs_grid(path)
    near, far, roi = read_prompts(path, GRID)
    assert (near.label, near.slice, near.point_labels) == (1, 2, (1, 1))
    assert np.allclose(near.points, [(20, 10), (22, 12)], atol=1e-6)
    assert (far.label, far.slice) == (1, 5)
    assert roi.label == 2
    assert roi.box_3d is not None
    assert np.allclose(roi.box_3d, (20, 10, 3, 30, 30, 5), atol=1e-6)
    with pytest.raises(InputFileError, match="the one image"):
        read_prompts(path)
    markups[1]["size"] = [8.0, 16.0, 999.0]
    with pytest.raises(PromptError, match="markup 2 leaves the slices"):
        read_prompts(save(path, {"markups": markups}), GRID)
