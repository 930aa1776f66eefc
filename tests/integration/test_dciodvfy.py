"""Every DICOM object we write, judged by Debian's dciodvfy: no errors, but the two that it finds in any LABELMAP."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_phantom import Phantom, enhanced, picture, turned, write_series

from medsam import read_image, write_mask
from medsam.imaging.image import Grid, Mask

pytestmark = pytest.mark.integration
# The tool is from 2022; LABELMAP is from 2024 (Supplement 243).
KNOWN = ("Information Object Not found", "SegmentNumber not monotonically increasing from one by one")
CR = "1.2.840.10008.5.1.4.1.1.1"


def errors(path: Path) -> list[str]:
    """What dciodvfy finds wrong."""
    done = subprocess.run(["dciodvfy", "-new", path], capture_output=True, text=True, check=False)
    assert done.stderr, "dciodvfy said nothing"
    return [line for line in done.stderr.splitlines() if line.startswith("Error")]


def mask_on(grid: Grid) -> Mask:
    rng = np.random.default_rng(0)
    labels = rng.choice([1, 2, 3, 40], grid.shape) * (rng.random(grid.shape) < 0.4)
    labels.flat[0] = 1
    return Mask(labels, grid, {1: "Tumor", 2: "left kidney", 3: "Läsion 腫瘍"}, {1: (255, 0, 0)})


def sources(folder: Path) -> dict[str, Path]:
    phantoms = {
        "axial": Phantom(),
        "oblique": Phantom(turn=turned(13, -21, 34)),
        "mirrored": Phantom(turn=turned(5, 5, 5, mirrored=True)),
        "tilted": Phantom(tilt_degrees=15),
        "gapped": Phantom(missing=(2,)),
        "mr": Phantom(modality="MR"),
        "one slice": Phantom(depth=1),
    }
    paths = {name: folder / name for name in phantoms}
    for name, phantom in phantoms.items():
        write_series(paths[name], phantom)
    paths["multi-frame"] = folder / "enhanced.dcm"
    enhanced(Phantom(), [3, 0, 5, 1, 4, 2]).save_as(paths["multi-frame"], enforce_file_format=True)
    paths["x-ray"] = folder / "cr.dcm"
    ds = picture(np.arange(72, dtype=np.uint8).reshape(8, 9), "MONOCHROME2", modality="CR")
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = pydicom.uid.UID(CR)
    del ds.FrameOfReferenceUID
    ds.save_as(paths["x-ray"], enforce_file_format=True)
    return paths


NAMES = ["axial", "oblique", "mirrored", "tilted", "gapped", "mr", "one slice", "multi-frame", "x-ray"]


ODD = {
    "patient": {
        "PatientSex": b"U ", "PatientBirthDate": b"1901/02/03", "PatientAge": b"70 years", "PatientWeight": b"70kg",
        "StudyTime": b"12:30:15", "StudyDate": b"1901", "PregnancyStatus": b"\x09\0", "SmokingStatus": b"MAYBE ",
    },
    "commas": {"PixelSpacing": b"0,75\\0,5 ", "SliceThickness": b"1,25", "PatientWeight": b"70,5", "WindowCenter": b"40,0"},
    "long": {"PatientID": b"B" * 80, "AccessionNumber": b"C" * 40, "StudyID": b"D" * 30, "PatientName": b"E" * 200},
    "numbers": {"SeriesNumber": b"S3", "InstanceNumber": b"A1", "AcquisitionNumber": b"1A", "EchoNumbers": b"2,5 "},
    "empty": {"PatientID": b"", "PatientName": b"", "StudyDate": b"", "StudyTime": b"", "AccessionNumber": b"", "StudyID": b""},
    "bits": {"BitsStored": b"\x0c\0", "HighBit": b"\x0f\0"},
}  # fmt: skip


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("format", ["dicom-seg", "rtstruct"])
def test_objects_of_odd_sources(tmp_path, name, format):
    for path in write_series(tmp_path / "ct", Phantom()):
        ds = pydicom.dcmread(path)
        for keyword, value in ODD[name].items():
            tag = pydicom.tag.Tag(keyword)
            vr = pydicom.datadict.dictionary_VR(tag)
            ds._dict[tag] = pydicom.dataelem.RawDataElement(tag, vr, len(value), value, 0, False, True)
        ds.save_as(path, enforce_file_format=True)
    mask = mask_on(read_image(tmp_path / "ct").grid)
    write_mask(mask, tmp_path / "m.dcm", reference=tmp_path / "ct", format=format)
    assert errors(tmp_path / "m.dcm") == []


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["BINARY", "FRACTIONAL", "LABELMAP"])
def test_segmentations(tmp_path, name, kind):
    source = sources(tmp_path)[name]
    write_mask(
        mask_on(read_image(source, geometry="resample").grid),
        tmp_path / "m.dcm",
        reference=source,
        format=f"dicom-seg:{kind}",
    )
    found = errors(tmp_path / "m.dcm")
    if kind == "LABELMAP":
        found = [line for line in found if not any(known in line for known in KNOWN)]
    assert found == []


@pytest.mark.parametrize("name", [name for name in NAMES if name != "x-ray"])
def test_structure_sets(tmp_path, name):
    source = sources(tmp_path)[name]
    write_mask(
        mask_on(read_image(source, geometry="resample").grid), tmp_path / "m.dcm", reference=source, format="rtstruct"
    )
    assert errors(tmp_path / "m.dcm") == []


def test_a_structure_set_with_contours_longer_than_an_explicit_ds_can_hold(tmp_path):
    write_series(tmp_path / "ct", Phantom(depth=1, rows=3, columns=3000))
    grid = read_image(tmp_path / "ct").grid
    labels = np.zeros(grid.shape, dtype=int)
    labels[0, 0], labels[0, :, ::2] = 1, 1  # a comb
    write_mask(Mask(labels, grid), tmp_path / "m.dcm", reference=tmp_path / "ct", format="rtstruct")
    (contour,) = pydicom.dcmread(tmp_path / "m.dcm").ROIContourSequence[0].ContourSequence
    assert sum(len(str(v)) + 1 for v in contour.ContourData) > 65_534
    assert errors(tmp_path / "m.dcm") == []
