"""Thirty patient attributes with telltale values, through every road there is: none comes back in any words."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_phantom import Phantom, turned, write_series
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag

from medsam import Mask, read_image, read_mask, write_mask
from medsam.cli.app import main
from medsam.errors import MedsamError
from medsam.io.dicom.series import list_series
from medsam.io.formats import check_writable

TEXTS = (
    "PatientName", "PatientID", "IssuerOfPatientID", "OtherPatientNames", "PatientBirthName", "PatientMotherBirthName",
    "PatientAddress", "MilitaryRank", "BranchOfService", "CountryOfResidence", "RegionOfResidence",
    "PatientTelephoneNumbers", "EthnicGroup", "Occupation", "AdditionalPatientHistory", "PatientReligiousPreference",
    "PatientComments", "PatientInsurancePlanCodeSequence", "ResponsiblePerson", "ResponsibleOrganization",
    "MedicalAlerts", "Allergies", "AccessionNumber", "StudyID", "ReferringPhysicianName", "OperatorsName",
    "PerformingPhysicianName", "NameOfPhysiciansReadingStudy", "InstitutionName", "StudyDescription",
    "AdmittingDiagnosesDescription", "RequestingPhysician",
)  # fmt: skip
ODD = {
    "PatientBirthDate": b"1901/CANARY",
    "PatientSex": b"CANARY",
    "PatientAge": b"CANARY",
    "PatientWeight": b"CANARYkg",
}
CANARIES = [f"CANARY{number:02d}" for number in range(len(TEXTS))]


def mark(ds: pydicom.Dataset) -> pydicom.Dataset:
    """Put a canary into every patient attribute, valid where it can be and as a file holds it where not."""
    for keyword, canary in zip(TEXTS, CANARIES, strict=True):
        if pydicom.datadict.dictionary_VR(Tag(keyword)) != "SQ":
            setattr(ds, keyword, canary)
    for keyword, value in ODD.items():
        tag = Tag(keyword)
        ds._dict[tag] = RawDataElement(tag, pydicom.datadict.dictionary_VR(tag), len(value), value, 0, False, True)
    ds.SeriesInstanceUID = ds.SeriesInstanceUID + ".777"
    return ds


def write_marked(folder: Path, phantom: Phantom, **changes: object) -> Path:
    for path in write_series(folder, phantom):
        ds = mark(pydicom.dcmread(path))
        for keyword, value in changes.items():
            if value is None:
                del ds[keyword]
            else:
                setattr(ds, keyword, value)
        ds.save_as(path, enforce_file_format=False)
    return folder


PHANTOM = Phantom(depth=4, rows=8)


@pytest.fixture
def refused(tmp_path: Path) -> list[Path]:
    """Sources that some reader or writer refuses."""
    folders = [
        write_marked(tmp_path / "gapped", Phantom(missing=(2,), rows=8)),
        write_marked(tmp_path / "doubled", Phantom(depth=4, doubled=(1,), rows=8)),
        write_marked(tmp_path / "tilted", Phantom(depth=4, tilt_degrees=9, rows=8)),
        *(
            write_marked(tmp_path / keyword, PHANTOM, **{keyword: None})
            for keyword in ("ImagePositionPatient", "SOPInstanceUID", "FrameOfReferenceUID", "StudyInstanceUID",
                            "SOPClassUID", "PixelSpacing", "Rows", "PixelData", "SeriesInstanceUID")
        ),
        write_marked(tmp_path / "shared", PHANTOM, SOPInstanceUID="1.2.3"),
        write_marked(tmp_path / "bits", PHANTOM, HighBit=3),
        write_marked(tmp_path / "two" / "a", PHANTOM).parent,
    ]  # fmt: skip
    write_marked(tmp_path / "two" / "b", Phantom(depth=4, rows=8, turn=turned(90)))
    for name in ("cut", "damaged"):
        folder = write_marked(tmp_path / name, PHANTOM)
        for path in folder.iterdir():
            data = bytearray(path.read_bytes())
            data = data[: len(data) - 90] if name == "cut" else data[:500] + b"\xff" * 40 + data[540:]
            path.write_bytes(data)
        folders.append(folder)
    return folders


def test_no_canary_in_any_message_log_or_record(tmp_path, refused, caplog, capfd, recwarn):
    caplog.set_level(logging.DEBUG)
    good = write_marked(tmp_path / "good", PHANTOM)
    grid = read_image(good).grid
    mask = Mask(np.eye(8, 9, dtype=np.uint8)[None].repeat(4, 0), grid)
    words = []
    for folder in [good, *refused]:
        doors = [
            lambda f=folder: words.extend(map(str, list_series(f))),
            lambda f=folder: words.append(repr(read_image(f))[:0]),
            lambda f=folder: read_image(f, geometry="resample"),
            lambda f=folder: read_image(f, series="9"),
            lambda f=folder: read_mask(next(f.rglob("IM*")), reference=grid),
        ]
        for format in ("dicom-seg", "rtstruct"):
            target = tmp_path / f"{folder.name}-{format}.dcm"
            doors += [
                lambda f=folder, t=target, kind=format: check_writable(t, reference=f, format=kind),
                lambda f=folder, t=target, kind=format: write_mask(mask, t, reference=f, format=kind),
            ]
        for door in doors:
            try:
                door()
            except MedsamError as error:
                words.append(str(error))
        for verb in ("info", "info --json"):
            with pytest.raises(SystemExit) if folder is not good else _anything():
                main([*verb.split(), str(folder)])
    assert (tmp_path / "good-dicom-seg.dcm").is_file()
    assert (tmp_path / "good-rtstruct.dcm").is_file()
    out = capfd.readouterr()
    words += [out.out, out.err, caplog.text, *(str(w.message) for w in recwarn), json.dumps([str(w) for w in words])]
    text = "\n".join(words)
    assert len(words) > 60
    assert "CANARY" not in text
    assert ".777" not in text
    assert "1901/" not in text


class _anything:
    """Passes whatever a verb ends with."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> bool:
        return kind is SystemExit
