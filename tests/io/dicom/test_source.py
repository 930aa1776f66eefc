"""The series under a mask is found by its grid, or refused."""

from __future__ import annotations

import pydicom
import pytest
from dicom_phantom import Phantom, random_mask, series, write_series

from medsam import read_image, write_mask
from medsam.errors import GeometryError, InputFileError


def test_a_single_slice_of_the_series_is_no_reference(tmp_path):
    folder, grid = series(tmp_path)
    for kind in (None, "rtstruct"):
        with pytest.raises(GeometryError, match="lies on no series"):
            write_mask(random_mask(grid), tmp_path / "m.dcm", reference=next(folder.iterdir()), format=kind)
    assert not (tmp_path / "m.dcm").exists()


def test_of_two_series_the_one_with_the_masks_grid_is_taken_and_twins_are_refused(tmp_path):
    folder = tmp_path / "study"
    write_series(folder / "a", Phantom())
    write_series(folder / "b", Phantom(depth=4, series="1.2.826.0.1.3680043.8.498.2"))
    grid = read_image(folder / "a").grid
    write_mask(random_mask(grid), tmp_path / "m.dcm", reference=folder)
    assert pydicom.dcmread(tmp_path / "m.dcm").ReferencedSeriesSequence[0].SeriesInstanceUID == Phantom().series
    write_series(folder / "c", Phantom(series="1.2.826.0.1.3680043.8.498.3"))
    with pytest.raises(InputFileError, match="2 series or volumes of study have the grid"):
        write_mask(random_mask(grid), tmp_path / "m.dcm", reference=folder)
