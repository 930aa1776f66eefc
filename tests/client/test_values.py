"""Values from the wire."""

from __future__ import annotations

import numpy as np
import pytest

from medsam.client.values import make_geometry, nest_points, unpack_runs
from medsam.errors import PromptError

PLANES = {name: {"axis": axis, "spacing_mm": [3.0, 0.5, 0.5]} for name, axis in
          (("stored", 0), ("axial", 0), ("coronal", 1), ("sagittal", 2))}  # fmt: skip
AFFINE = [[0, 0, -0.5, 10], [0, -0.5, 0, 20], [3, 0, 0, 30], [0, 0, 0, 1]]
ROW = {"shape": [6, 40, 48], "affine": AFFINE, "modality": "CT", "window": [-160, 240], "planes": PLANES}


def test_runs_become_a_mask() -> None:
    mask = unpack_runs({"height": 2, "width": 3, "runs": [0, 1, 2, 2]})
    assert np.array_equal(mask, [[True, False, True], [True, False, False]])
    assert not unpack_runs({"height": 1, "width": 1, "runs": []}).any()


def test_geometry_has_a_grid_a_window_and_names_for_planes() -> None:
    geometry = make_geometry(ROW)
    assert geometry.grid.spacing_mm == (3.0, 0.5, 0.5) and geometry.window is not None
    assert (geometry.window.width, geometry.window.level) == (400, 40)
    assert [geometry.plane_name(plane) for plane in (0, 1, 2, "axial")] == ["stored", "coronal", "sagittal", "axial"]
    bare = {**PLANES, "stored": {"axis": 0, "spacing_mm": None}}
    picture = make_geometry(ROW | {"planes": bare, "modality": None, "window": None})
    assert picture.grid.spacing_mm is None and picture.window is None and picture.modality is None


def test_flat_points_are_those_of_one_object() -> None:
    assert nest_points([(1, 2), (3, 4)], [1, 0]) == ([[[1.0, 2.0], [3.0, 4.0]]], [[1, 0]])
    assert nest_points([[(1, 2)], [(3, 4)]], [[1], [1]]) == ([[[1.0, 2.0]], [[3.0, 4.0]]], [[1], [1]])
    assert nest_points(None, None) == ([], [])
    with pytest.raises(PromptError, match="without a label each"):
        nest_points([(1, 2), (3, 4)], [1])
