"""Objects that came from an archive: whole, and of the series that was asked for."""

from __future__ import annotations

from pathlib import Path

import pytest
from dicom_phantom import Phantom, dataset
from hostile_pacs import SERIES, STUDY, encode, slices
from pydicom.uid import RLELossless

from medsam.errors import InputFileError
from medsam.io.dicom.received import check_received


def received(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def test_a_whole_object_gives_its_uid(tmp_path: Path) -> None:
    ds = dataset(Phantom(rows=32, columns=24), 0)
    ds.StudyInstanceUID, ds.SeriesInstanceUID = STUDY, SERIES
    assert check_received(received(tmp_path / "a.dcm", encode(ds)), STUDY, SERIES) == ds.SOPInstanceUID


def test_an_object_of_another_series_is_refused_without_its_uid(tmp_path: Path) -> None:
    path = received(tmp_path / "a.dcm", slices(1)[0])
    for study, series in (("1.9", SERIES), (STUDY, "1.9")):
        with pytest.raises(InputFileError, match=r"a\.dcm is of another series") as caught:
            check_received(path, study, series)
        assert SERIES not in str(caught.value)


@pytest.mark.parametrize("lost", [2, 100])
def test_plain_pixels_that_are_cut_are_refused(tmp_path: Path, lost: int) -> None:
    with pytest.raises(InputFileError):
        check_received(received(tmp_path / "a.dcm", slices(1)[0][:-lost]), STUDY, SERIES)


def test_compressed_pixels_need_their_end_and_a_piece_a_frame(tmp_path: Path) -> None:
    ds = dataset(Phantom(rows=32, columns=24), 0)
    ds.StudyInstanceUID, ds.SeriesInstanceUID = STUDY, SERIES
    ds.compress(RLELossless, generate_instance_uid=False)
    whole = encode(ds)
    assert check_received(received(tmp_path / "a.dcm", whole), STUDY, SERIES)
    for lost in (8, 40):  # the closing tag, and pixels with it
        with pytest.raises(InputFileError, match="fewer pixels than it declares"):
            check_received(received(tmp_path / "a.dcm", whole[:-lost]), STUDY, SERIES)
    ds.NumberOfFrames = 2
    with pytest.raises(InputFileError, match="fewer pixels than it declares"):
        check_received(received(tmp_path / "a.dcm", encode(ds)), STUDY, SERIES)
