"""Our SEG read by dcmqi and our RTSTRUCT by plastimatch: the same voxels."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from dicom_phantom import Phantom, turned, write_series

from medsam import Mask, read_image, read_mask, write_mask

pytestmark = pytest.mark.integration
DCMQI = Path(sys.executable).with_name("segimage2itkimage")  # of the wheel dcmqi, beside Python
TURNS = [None, turned(11, -7, 23)]


def drawn(folder: Path, turn: np.ndarray | None) -> Mask:
    """A series of 5 slices, written, and a mask on it: two boxes, a line and a single pixel."""
    write_series(folder, Phantom(depth=5, rows=40, columns=36, row_mm=0.7, column_mm=0.9, turn=turn))
    grid = read_image(folder).grid
    labels = np.zeros(grid.shape, np.uint8)
    labels[1:4, 5:20, 6:18] = 1
    labels[0:3, 24:33, 20:30] = 2
    labels[2, 36, 4:20] = labels[4, 2, 2] = 7
    return Mask(labels, grid, {1: "one", 2: "two", 7: "thin"})


@pytest.mark.parametrize("turn", TURNS)
@pytest.mark.parametrize("kind", ["BINARY", "FRACTIONAL"])
def test_dcmqi_finds_the_same_voxels(tmp_path, turn, kind):
    mask = drawn(tmp_path / "ct", turn)
    write_mask(mask, tmp_path / "m.dcm", reference=tmp_path / "ct", format=f"dicom-seg:{kind}")
    out = tmp_path / "out"
    out.mkdir()
    subprocess.run(
        [DCMQI, "--inputDICOM", tmp_path / "m.dcm", "--outputDirectory", out, "--outputType", "nii"],
        check=True,
        capture_output=True,
    )
    for number, label in enumerate(mask.ids, start=1):
        theirs = read_mask(out / f"{number}.nii.gz", reference=mask.grid)
        assert np.array_equal(theirs.labels != 0, mask.labels == label)


@pytest.mark.parametrize("turn", TURNS[:1])  # plastimatch lays structures on axial slices only
def test_plastimatch_finds_the_same_voxels(tmp_path, turn):
    mask = drawn(tmp_path / "ct", turn)
    write_mask(mask, tmp_path / "m.dcm", reference=tmp_path / "ct", format="rtstruct")
    subprocess.run(
        [
            "plastimatch", "convert", "--input", tmp_path / "m.dcm", "--referenced-ct", tmp_path / "ct",
            "--output-prefix", tmp_path / "out", "--prefix-format", "nrrd",
        ],
        check=True,
        capture_output=True,
    )  # fmt: skip
    for label, name in mask.names.items():
        theirs = read_mask(tmp_path / "out" / f"{name}.nrrd", reference=mask.grid)
        assert np.array_equal(theirs.labels != 0, mask.labels == label), name
