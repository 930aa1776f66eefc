"""Images of files and of data sets in memory, and what is no image."""

from __future__ import annotations

import io

import pydicom
import pytest
from dicom_phantom import Phantom, dataset, write_series

from medsam import read_image
from medsam.errors import InputFileError
from medsam.io.dicom.image import read_series


def test_data_sets_without_pixels_or_none_at_all_are_refused():
    with pytest.raises(InputFileError, match="no data sets"):
        read_series([])
    ds = dataset(Phantom(), 0)
    del ds.PixelData
    with pytest.raises(InputFileError, match="object 1 has no pixels"):
        read_series([ds])


def test_data_sets_from_memory_equal_files(tmp_path):
    files = write_series(tmp_path, Phantom())
    sets = [pydicom.dcmread(io.BytesIO(file.read_bytes())) for file in files]
    one, two = read_series(sets), read_image(tmp_path)
    assert (one.values == two.values).all()
    assert one.grid.same_as(two.grid, 1e-9)
