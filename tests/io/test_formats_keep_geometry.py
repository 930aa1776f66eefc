"""Whatever the axes (turned, mirrored, oblique, sheared), a mask comes back within 0.01 mm."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st

import medsam

angles = st.floats(-180, 180, allow_nan=False)
tilts = st.floats(-0.9, 0.9, allow_nan=False)
spacings = st.floats(0.05, 12, allow_nan=False)
origins = st.floats(-2000, 2000, allow_nan=False)


def turn(axis: int, degrees: float) -> np.ndarray:
    one, two = (i for i in range(3) if i != axis)
    rotation = np.eye(3)
    rotation[one, one] = rotation[two, two] = np.cos(np.radians(degrees))
    rotation[two, one] = np.sin(np.radians(degrees))
    rotation[one, two] = -rotation[two, one]
    return rotation


@st.composite
def grids(draw: st.DrawFn, *, sheared: bool) -> medsam.Grid:
    axes = turn(0, draw(angles)) @ turn(1, draw(angles)) @ turn(2, draw(angles))
    if sheared:
        axes = axes @ np.array([[1, draw(tilts), draw(tilts)], [0, 1, draw(tilts)], [0, 0, 1]])
    axes = axes[:, draw(st.permutations([0, 1, 2]))] * [draw(st.sampled_from([-1, 1])) for _ in range(3)]
    affine = np.eye(4)
    affine[:3, :3] = axes * [draw(spacings) for _ in range(3)]
    affine[:3, 3] = [draw(origins) for _ in range(3)]
    return medsam.Grid(draw(st.tuples(*[st.integers(1, 6)] * 3)), affine=affine)


def labels_of(grid: medsam.Grid) -> np.ndarray:
    return (np.arange(np.prod(grid.shape)).reshape(grid.shape) % 5).astype(np.uint8)


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha", ".npz"])
@pytest.mark.parametrize("sheared", [False, True], ids=["rigid", "sheared"])
def test_every_grid_comes_back(suffix: str, sheared: bool) -> None:
    @given(grids(sheared=sheared))
    @settings(max_examples=40, deadline=None)
    def check(grid: medsam.Grid) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"m{suffix}"
            medsam.write_mask(medsam.Mask(labels_of(grid), grid), path)
            again = medsam.read_mask(path)
            assert np.array_equal(again.labels, labels_of(grid))
            assert again.grid.max_distance_mm(grid) < 0.01

    check()


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
def test_simpleitk_finds_rigid_grids_at_the_same_place(suffix: str) -> None:
    @given(grids(sheared=False))
    @settings(max_examples=30, deadline=None)
    def check(grid: medsam.Grid) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"m{suffix}"
            medsam.write_mask(medsam.Mask(labels_of(grid), grid), path)
            oracle = sitk.ReadImage(str(path))
            last = [n - 1 for n in grid.shape]
            for index in ([0, 0, 0], last):
                place = oracle.TransformIndexToPhysicalPoint(index[::-1])
                assert np.linalg.norm(grid.to_world([index])[0] - place) < 0.01
            assert np.array_equal(sitk.GetArrayFromImage(oracle), labels_of(grid))

    check()
