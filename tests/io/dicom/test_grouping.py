"""Which frames make one volume, and the keys that volumes get."""

from __future__ import annotations

import copy
import shutil

import pytest
from dicom_phantom import Phantom, dataset, write_series

from medsam import read_image
from medsam.errors import GeometryError, InputFileError
from medsam.io.dicom.image import read_series
from medsam.io.dicom.series import list_series

UID = Phantom().series


def test_keys_do_not_follow_the_names_of_files(tmp_path):
    for name, depth, series in (("a", 3, f"{UID}.2"), ("b", 5, f"{UID}.1"), ("c", 4, UID)):
        write_series(tmp_path / "one" / name, Phantom(depth=depth, series=series))
    for name, other in (("a", "z"), ("b", "y"), ("c", "x")):
        shutil.copytree(tmp_path / "one" / name, tmp_path / "two" / other)
    assert list_series(tmp_path / "one") == list_series(tmp_path / "two")
    assert [summary.key for summary in list_series(tmp_path / "one")] == ["1", "2", "3"]


def test_a_doubled_slice_is_named_although_every_slice_has_its_time(tmp_path):
    slices = [dataset(Phantom(), k) for k in (0, 1, 2, 3, 3, 4, 5)]
    for number, ds in enumerate(slices):
        ds.AcquisitionTime = ds.ContentTime = f"1200{number:02d}"
    slices[4].PixelData = bytes(len(slices[4].PixelData))
    with pytest.raises(GeometryError, match=r"1 of 7 slices lie at the place of another, at 109\.000 mm"):
        read_series(slices)


def test_phases_of_one_place_are_volumes_by_their_time(tmp_path):
    slices = [dataset(Phantom(depth=3), k) for k in range(3) for _ in range(2)]
    for number, ds in enumerate(slices):
        ds.AcquisitionTime = f"12000{number % 2}"
    with pytest.raises(InputFileError, match="2 volumes of different AcquisitionTime"):
        read_series(slices)
    assert read_series(slices, series="2").values.shape == (3, 7, 9)


def test_different_images_that_share_an_identifier_are_all_read_and_copies_once():
    slices = [dataset(Phantom(), k) for k in range(6)]
    for ds in slices:
        ds.SOPInstanceUID = "1.2.3"
    assert read_series([*slices, copy.deepcopy(slices[2])]).values.shape == (6, 7, 9)
    other = copy.deepcopy(slices[2])
    other.PixelData = bytes(len(other.PixelData))
    with pytest.raises(GeometryError, match="1 of 7 slices lie at the place of another"):
        read_series([*slices, other])


def test_echoes_at_the_same_places_are_volumes_of_their_own(tmp_path):
    for echo in (1, 2):
        write_series(tmp_path / str(echo), Phantom(modality="MR", tags=(("EchoNumbers", echo),)))
    with pytest.raises(InputFileError, match="EchoNumbers 2"):
        read_image(tmp_path)
    assert read_image(tmp_path, series=f"{Phantom().series}#2").values.shape == (6, 7, 9)
