"""Markups of 3D Slicer: coordinate systems, units, and the slices that a box holds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from patient_grid import GRID, mm

from medsam.errors import InputFileError
from medsam.io.markups import find_box_on_slices, parse_markups, read_system

FILE = Path("m.mrk.json")


def roi(centre: list[float], size: list[float]) -> dict[str, object]:
    return {"type": "ROI", "center": centre, "size": size}


@pytest.mark.parametrize(
    ("name", "signs"), [("LPS", [1, 1, 1]), ("ras", [-1, -1, 1]), (0, [-1, -1, 1]), (1, [1, 1, 1])]
)
def test_systems_are_named_or_numbered_as_before_2020(name: object, signs: list[int]) -> None:
    assert read_system(name, FILE).tolist() == signs


def test_points_that_are_not_placed_are_left_out_and_ras_is_turned() -> None:
    controls = [{"position": [1, 2, 3]}, {"position": [0, 0, 0], "positionStatus": "undefined"}]
    node = {"type": "Line", "coordinateSystem": "RAS", "controlPoints": controls}
    [line] = parse_markups([node], FILE)
    assert line.points_mm.tolist() == [[-1, -2, 3]]
    assert line.corners_mm is None


def test_corners_of_a_box_lie_half_its_size_from_its_centre() -> None:
    [box] = parse_markups([roi([10, 20, 30], [2, 4, 6])], FILE)
    assert box.corners_mm is not None
    assert (box.corners_mm.min(axis=0).tolist(), box.corners_mm.max(axis=0).tolist()) == ([9, 18, 27], [11, 22, 33])


@pytest.mark.parametrize(
    ("depth_mm", "slices"),
    [(11.0, range(3, 6)), (10.0, range(3, 6)), (9.0, range(4, 5)), (0.1, range(4, 5)), (1e5, range(-1, 9))],
)
def test_a_box_holds_the_slices_whose_centre_it_holds(depth_mm: float, slices: range) -> None:
    """Slices are 5 mm apart and pixels 0.8 mm; one slice beyond the scan says that the box leaves it."""
    [box] = parse_markups([roi(mm(4, 20, 25), [8.0, 16.0, depth_mm])], FILE)
    found, outline = find_box_on_slices(box, GRID)
    assert found == slices
    assert np.allclose(outline, (20, 10, 30, 30), atol=1e-6)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"coordinateSystem": "XYZ"}, "coordinate system 'XYZ'"),
        ({"coordinateUnits": ["cm", "UCUM"]}, "is in 'cm'"),
        ({"size": [1, 2]}, "no markups file"),
        ({"center": [0, 0, 2e6]}, "far from any scanner"),
        ({"center": [0, 0, float("nan")]}, "far from any scanner"),
    ],
)
def test_what_slicer_does_not_write_is_refused(change: dict[str, object], said: str) -> None:
    with pytest.raises(InputFileError, match=said):
        parse_markups([{**roi([0, 0, 0], [1, 1, 1]), **change}], FILE)
