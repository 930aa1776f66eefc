"""The spacing of a TIFF: stated in metric units, else unknown."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from small_pictures import GREY

import medsam

OME = {"axes": "ZYX", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.25, "PhysicalSizeZ": 2}
MILLIMETRES = {f"PhysicalSize{axis}Unit": "mm" for axis in "XYZ"}


@pytest.mark.parametrize(
    ("how", "spacing_mm"),
    [
        ({"ome": True, "metadata": OME | MILLIMETRES}, (2, 0.25, 0.5)),
        ({"ome": True, "metadata": OME}, (2e-3, 0.25e-3, 0.5e-3)),  # micrometres, where OME names no unit
        ({"ome": True, "metadata": {"axes": "ZYX", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.25}}, None),
        (
            {"imagej": True, "resolution": (2, 4), "metadata": {"axes": "ZYX", "spacing": 2, "unit": "mm"}},
            (2, 0.25, 0.5),
        ),
        (
            {"imagej": True, "resolution": (2, 4), "metadata": {"axes": "ZYX", "spacing": 2, "unit": "\\u00B5m"}},
            (2e-3, 0.25e-3, 0.5e-3),
        ),
        ({"imagej": True, "resolution": (2, 4), "metadata": {"axes": "ZYX", "spacing": 2, "unit": "pixel"}}, None),
        ({"resolution": (20, 40), "resolutionunit": "CENTIMETER"}, None),  # slices, and nobody says how far apart
    ],
)
def test_a_tiff_stack_has_the_spacing_it_states_in_metric_units(
    tmp_path: Path, how: dict[str, object], spacing_mm: tuple[float, ...] | None
) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((5, 4, 6), np.uint16), **how)
    grid = medsam.read_image(tmp_path / "a.tif").grid
    assert grid.spacing_mm == (None if spacing_mm is None else pytest.approx(spacing_mm, rel=1e-6))
    assert medsam.read_mask(tmp_path / "a.tif").grid.spacing_mm == grid.spacing_mm


@pytest.mark.parametrize(
    ("resolution", "unit", "spacing_mm"),
    [
        ((20, 40), "CENTIMETER", (1, 0.25, 0.5)),
        ((20, 40), "INCH", None),
        ((300 / 2.54, 300 / 2.54), "CENTIMETER", None),  # 300 dots per inch: how to print it
        ((20, 40), "NONE", None),
    ],
)
def test_a_tiff_picture_has_the_spacing_of_its_resolution_tags(
    tmp_path: Path, resolution: tuple[float, float], unit: str, spacing_mm: tuple[float, ...] | None
) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, GREY, resolution=resolution, resolutionunit=unit)
    assert medsam.read_image(path).grid.spacing_mm == spacing_mm
    turned = tmp_path / "turned.tif"
    tifffile.imwrite(turned, GREY, resolution=resolution, resolutionunit=unit, extratags=[(274, 3, 1, 6, True)])
    swapped = None if spacing_mm is None else (spacing_mm[0], spacing_mm[2], spacing_mm[1])
    assert medsam.read_image(turned).grid.spacing_mm == swapped
