"""One key for a volume at every door, and words for what keeps several from being one."""

from __future__ import annotations

import numpy as np
import pydicom
import pytest
from dicom_phantom import Phantom, dataset, picture, turned, write_series

from medsam import Mask, read_image, write_mask
from medsam.errors import GeometryError, InputFileError, OutputError
from medsam.io.dicom.image import read_series
from medsam.io.dicom.series import list_series
from medsam.io.formats import check_writable

UID = Phantom().series


def two_acquisitions(folder):
    """Two volumes of one series at the same places; returns the SOPInstanceUIDs of the second."""
    for number in (1, 2):
        write_series(folder / str(number), Phantom(depth=4, rows=8, tags=(("AcquisitionNumber", number),)))
    return {str(pydicom.dcmread(path).SOPInstanceUID) for path in (folder / "2").iterdir()}


@pytest.mark.parametrize("key", ["2", f"{UID}#2"])
@pytest.mark.parametrize("format", ["dicom-seg", "rtstruct"])
def test_every_door_takes_the_same_key(tmp_path, key, format):
    second = two_acquisitions(tmp_path / "ct")
    image = read_image(tmp_path / "ct", series=key)
    mask = Mask(np.eye(8, 9, dtype=np.uint8)[None].repeat(4, 0), image.grid)
    check_writable(tmp_path / "m.dcm", reference=tmp_path / "ct", format=format, series=key)
    write_mask(mask, tmp_path / "m.dcm", reference=tmp_path / "ct", format=format, series=key)
    written = (tmp_path / "m.dcm").read_bytes()
    assert all(uid.encode() in written for uid in second)


def test_two_acquisitions_are_not_chosen_for_the_caller(tmp_path):
    two_acquisitions(tmp_path / "ct")
    with pytest.raises(InputFileError, match=r"2 volumes of different AcquisitionNumber: 1 .* 2 ") as caught:
        read_image(tmp_path / "ct", series=UID)
    assert UID not in str(caught.value)
    grid = read_image(tmp_path / "ct", series="1").grid
    mask = Mask(np.ones(grid.shape, np.uint8), grid)
    with pytest.raises(InputFileError, match="2 series or volumes of ct have the grid of the mask"):
        write_mask(mask, tmp_path / "m.dcm", reference=tmp_path / "ct")
    with pytest.raises(InputFileError, match="2 series or volumes of ct have the grid"):
        check_writable(tmp_path / "m.dcm", reference=tmp_path / "ct", grid=grid)
    with pytest.raises(InputFileError, match="holds no series 3"):
        check_writable(tmp_path / "m.dcm", reference=tmp_path / "ct", series="3")


def test_a_scout_of_the_series_is_never_chosen_by_itself(tmp_path):
    write_series(tmp_path / "a", Phantom())
    scout = (("ImageType", ["ORIGINAL", "PRIMARY", "LOCALIZER"]), ("InstanceNumber", 0))
    write_series(tmp_path / "b", Phantom(depth=1, turn=turned(90), tags=scout))
    for series in (None, UID, f"{UID}#1", "1"):
        assert read_image(tmp_path, series=series).values.shape == (6, 7, 9)
    assert read_image(tmp_path, series="2").values.shape == (1, 7, 9)


def test_slices_without_a_position_are_named_as_that(tmp_path):
    slices = [dataset(Phantom(), k) for k in range(6)]
    for ds in slices[2:]:
        del ds.ImagePositionPatient
    with pytest.raises(GeometryError, match="4 of 6 slices in the series have no ImagePositionPatient"):
        read_series(slices)
    for ds in slices[:2]:
        del ds.ImagePositionPatient
    with pytest.raises(GeometryError, match="6 of 6 slices in the series have no ImagePositionPatient"):
        read_series(slices)
    assert read_series(slices, series="3").values[0, 0, 0] == 2 * 63


@pytest.mark.parametrize("empty", [None, ""])
def test_slices_without_an_orientation_are_named_as_that(empty):
    slices = [dataset(Phantom(), k) for k in range(6)]
    for ds in slices:
        ds.ImageOrientationPatient = empty
    with pytest.raises(GeometryError, match="6 of 6 slices in the series have no ImageOrientationPatient"):
        read_series(slices)


def test_several_cines_are_called_cines():
    cines = [picture(np.full((5, 8, 9), k, np.uint8), "MONOCHROME2") for k in range(2)]
    with pytest.raises(InputFileError, match="holds 2 cines or images without a place"):
        read_series(cines)


def test_a_source_whose_images_share_an_identifier_gets_no_mask_that_points_to_them(tmp_path):
    for k in range(4):
        ds = dataset(Phantom(depth=4, rows=8), k)
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
        ds.save_as(tmp_path / f"{k}.dcm", enforce_file_format=True)
    for format in ("dicom-seg", "rtstruct"):
        with pytest.raises(OutputError, match="4 different images of the source carry the same SOPInstanceUID"):
            check_writable(tmp_path.parent / "m.dcm", reference=tmp_path, format=format)


OTHER = "1.2.826.0.1.3680043.8.498.2"


def test_two_series_are_listed_and_one_can_be_chosen(tmp_path):
    write_series(tmp_path / "a", Phantom())
    write_series(tmp_path / "b", Phantom(depth=3, modality="MR", series=OTHER))
    with pytest.raises(InputFileError) as caught:
        read_image(tmp_path)
    assert "1 (CT, 6 files, 6 x 7 x 9); 2 (MR, 3 files, 3 x 7 x 9)" in str(caught.value)
    assert OTHER not in str(caught.value)
    assert read_image(tmp_path, series=OTHER).values.shape == (3, 7, 9)
    assert [summary.files for summary in list_series(tmp_path)] == [6, 3]
    with pytest.raises(InputFileError, match="holds no series of that UID"):
        read_image(tmp_path, series="1.2.3")


def test_localizer_of_another_orientation_does_not_stand_in_the_way(tmp_path):
    write_series(tmp_path / "volume", Phantom())
    scout = (("ImageType", ["ORIGINAL", "PRIMARY", "LOCALIZER"]),)
    write_series(tmp_path / "scout", Phantom(depth=1, turn=turned(90), tags=scout))
    assert read_image(tmp_path).values.shape == (6, 7, 9)
    assert sorted(summary.note for summary in list_series(tmp_path)) == ["", "localizer"]


def test_two_orientations_of_one_series_can_be_told_apart_by_number(tmp_path):
    write_series(tmp_path / "a", Phantom())
    write_series(tmp_path / "b", Phantom(depth=3, turn=turned(90)))
    keys = [summary.key for summary in list_series(tmp_path)]
    assert [key.rpartition("#")[2] for key in keys] == ["1", "2"]
    assert {read_image(tmp_path, series=key).values.shape[0] for key in keys} == {3, 6}
    with pytest.raises(InputFileError, match="volumes of different orientation"):
        read_image(tmp_path, series=Phantom().series)


def test_echoes_of_one_acquisition_are_counted_together(tmp_path):
    tags = (("ImagesInAcquisition", 12), ("AcquisitionNumber", 1))
    for echo in (1, 2):
        write_series(tmp_path / str(echo), Phantom(modality="MR", tags=(("EchoNumbers", echo), *tags)))
    assert read_image(tmp_path, series=f"{Phantom().series}#1").values.shape == (6, 7, 9)


def test_images_in_acquisition_above_those_found_is_refused(tmp_path):
    write_series(tmp_path, Phantom(tags=(("ImagesInAcquisition", 8),)))
    with pytest.raises(GeometryError, match="6 images of an acquisition of 8"):
        read_image(tmp_path)
    assert read_image(tmp_path, geometry="resample").values.shape == (6, 7, 9)
    assert read_image(next(tmp_path.iterdir())).values.shape == (1, 7, 9)
