"""Patient and study attributes that the standard forbids neither stop a SEG or an RTSTRUCT nor stand in a message."""

from __future__ import annotations

import numpy as np
import pydicom
import pytest
from dicom_phantom import Phantom, dataset
from pydicom import Dataset
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag

from medsam import Mask, read_image, write_mask
from medsam.errors import OutputError
from medsam.io.dicom.header_repair import repair_headers
from medsam.io.formats import check_writable

ODD = [
    ("PatientSex", "CS", b"U "), ("PatientSex", "CS", b"female"), ("PatientBirthDate", "DA", b"1901/02/03"),
    ("PatientBirthDate", "DA", b"1901"), ("PatientBirthDate", "DA", b"00/00/0000"), ("StudyDate", "DA", b"3.2.1901"),
    ("StudyTime", "TM", b"12:30:15"), ("PatientWeight", "DS", b"70kg"), ("PatientWeight", "DS", b"70,5"),
    ("PatientAge", "AS", b"70 years"), ("PatientSize", "DS", b"1m80"), ("PatientName", "PN", b"A" * 200),
    ("PatientID", "LO", b"B" * 80), ("AccessionNumber", "SH", b"C" * 40), ("SeriesNumber", "IS", b"S3"),
    ("PregnancyStatus", "US", b"\x09\0"), ("SmokingStatus", "CS", b"MAYBE "), ("EthnicGroup", "SH", b"D" * 30),
    ("ReferringPhysicianName", "PN", b"\xff\xfe\\x"), ("StudyID", "SH", b"E" * 30),
]  # fmt: skip


def store_odd(ds: Dataset, keyword: str, vr: str, value: bytes) -> None:
    ds._dict[Tag(keyword)] = RawDataElement(Tag(keyword), vr, len(value), value, 0, False, True)


@pytest.mark.parametrize(("keyword", "vr", "value"), ODD)
def test_an_odd_patient_attribute_costs_nothing(tmp_path, keyword, vr, value):
    folder = tmp_path / "ct"
    folder.mkdir()
    for k in range(2):
        ds = dataset(Phantom(depth=2, rows=8), k)
        store_odd(ds, keyword, vr, value)
        ds.save_as(folder / f"{k}.dcm", enforce_file_format=True)
    grid = read_image(folder).grid
    mask = Mask(np.eye(8, 9, dtype=np.uint8)[None].repeat(2, 0), grid)
    for format in ("dicom-seg", "rtstruct"):
        check_writable(tmp_path / "m.dcm", reference=folder, format=format)
        write_mask(mask, tmp_path / "m.dcm", reference=folder, format=format)
        written = pydicom.dcmread(tmp_path / "m.dcm")
        assert str(written.get(keyword, "")) != value.decode("latin-1").strip(" \0")
        if keyword != "PatientName":
            assert written.PatientName == "Canary^Patient"


def test_a_weight_with_a_comma_is_kept_as_a_number():
    ds = dataset(Phantom(), 0)
    store_odd(ds, "PatientWeight", "DS", b"70,5")
    assert repair_headers([ds])[0].PatientWeight == 70.5


def test_valid_values_stay_and_absent_ones_become_empty():
    ds = dataset(Phantom(tags=(("PatientSex", "F"), ("PatientAge", "070Y"), ("PatientWeight", "70"))), 0)
    repaired = repair_headers([ds])[0]
    assert (repaired.PatientSex, repaired.PatientAge, repaired.PatientWeight) == ("F", "070Y", 70)
    assert (repaired.PatientBirthDate, repaired.AccessionNumber) == ("19010203", "")
    assert "AccessionNumber" not in ds


@pytest.mark.parametrize("keyword", ["StudyInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID", "SOPClassUID"])
def test_a_missing_identifier_is_named_before_any_work(tmp_path, keyword):
    folder = tmp_path / "ct"
    folder.mkdir()
    for k in range(2):
        ds = dataset(Phantom(depth=2, rows=8), k)
        del ds[keyword]
        ds.save_as(folder / f"{k}.dcm", enforce_file_format=False)
    for format in ("dicom-seg", "rtstruct"):
        with pytest.raises(OutputError, match=f"2 of 2 images of the source have no {keyword}") as caught:
            check_writable(tmp_path / "m.dcm", reference=folder, format=format)
        assert "anary" not in str(caught.value)
