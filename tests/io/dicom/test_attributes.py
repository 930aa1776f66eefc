"""Values that exporters write wrong: read where only one thing can be meant, absent or an error that does not repeat them."""

from __future__ import annotations

import numpy as np
import pytest
from dicom_phantom import Phantom, dataset, enhanced
from pydicom import Dataset
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag

from medsam.errors import InputFileError
from medsam.imaging.modality import Window
from medsam.io.dicom.attributes import read_number, read_parts, read_text, require_numbers, require_whole
from medsam.io.dicom.image import read_series


def stored(keyword: str, vr: str, value: bytes, ds: Dataset | None = None) -> Dataset:
    """A data set with a value as a file may hold it, whatever the value representation allows."""
    ds = Dataset() if ds is None else ds
    ds._dict[Tag(keyword)] = RawDataElement(Tag(keyword), vr, len(value), value, 0, False, True)
    return ds


def test_a_decimal_comma_is_a_point():
    assert read_number(stored("SliceThickness", "DS", b"2,5 "), "SliceThickness") == 2.5
    ds = stored("PixelSpacing", "DS", b"0,5\\0,75")
    assert require_numbers(read_parts(ds, "PixelSpacing"), 2, "PixelSpacing", "a.dcm") == (0.5, 0.75)


@pytest.mark.parametrize("value", [b"A1", b"nan", b"1e99", b"1.234,5", b"12 mm"])
def test_what_is_no_number_is_absent_or_an_error_without_the_value(value):
    ds = stored("SliceThickness", "DS", value)
    assert read_number(ds, "SliceThickness", 7.0) == 7.0
    with pytest.raises(InputFileError, match=r"a\.dcm has a SliceThickness that is not a number") as caught:
        require_numbers(read_parts(ds, "SliceThickness"), 1, "SliceThickness", "a.dcm")
    assert value.decode() not in str(caught.value)


def test_empty_and_absent_values():
    assert read_parts(Dataset(), "Rows") == ()
    assert read_text(stored("ImageType", "CS", b"ORIGINAL\\PRIMARY "), "ImageType") == "ORIGINAL\\PRIMARY"
    assert require_whole(Dataset(), "NumberOfFrames", "a.dcm", 1) == 1
    with pytest.raises(InputFileError, match="no usable Rows"):
        require_whole(Dataset(), "Rows", "a.dcm")
    with pytest.raises(InputFileError, match="no usable NumberOfFrames"):
        require_whole(stored("NumberOfFrames", "IS", b"1.5"), "NumberOfFrames", "a.dcm")


OPTIONAL = [
    ("InstanceNumber", "IS", b"A1"),
    ("EchoTime", "DS", b"4,2"),
    ("SliceThickness", "DS", b"thick"),
    ("WindowCenter", "DS", b"wide"),
    ("AcquisitionNumber", "IS", b"1A"),
    ("ImagesInAcquisition", "IS", b"many"),
    ("SeriesNumber", "IS", b"S3"),
]


@pytest.mark.parametrize(("keyword", "vr", "value"), OPTIONAL)
def test_an_optional_value_does_not_cost_the_image(keyword, vr, value):
    slices = [stored(keyword, vr, value, dataset(Phantom(), k)) for k in range(6)]
    assert read_series(slices).values.shape == (6, 7, 9)


def test_commas_in_window_spacing_and_position_are_read():
    slices = [dataset(Phantom(), k) for k in range(6)]
    for k, ds in enumerate(slices):
        stored("WindowCenter", "DS", b"40,5", stored("WindowWidth", "DS", b"400,0", ds))
        stored("PixelSpacing", "DS", b"0,75\\0,5", ds)
        stored("ImagePositionPatient", "DS", f"-20,0\\30,0\\{100 + 3 * k},0".encode(), ds)
    image = read_series(slices)
    assert image.window == Window(400.0, 40.5)
    assert np.allclose(image.grid.affine, read_series([dataset(Phantom(), k) for k in range(6)]).grid.affine)


@pytest.mark.parametrize(
    ("keyword", "vr"),
    [("ImagePositionPatient", "DS"), ("PixelSpacing", "DS"), ("RescaleSlope", "DS"), ("RescaleIntercept", "DS")],
)
def test_a_needed_value_that_is_unreadable_names_its_attribute(keyword, vr):
    with pytest.raises(InputFileError, match=f"has a {keyword} that is not"):
        read_series([stored(keyword, vr, b"0.5 mm", dataset(Phantom(depth=1), 0))])
    multi = enhanced(Phantom(depth=2))
    del multi.NumberOfFrames
    with pytest.raises(InputFileError, match="has a NumberOfFrames"):
        read_series([stored("NumberOfFrames", "IS", b"two", multi)])
