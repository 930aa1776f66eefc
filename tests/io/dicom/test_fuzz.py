"""Damaged DICOM files: whatever is in them, the answer is an image or one of our errors, and soon."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_phantom import Phantom, dataset, enhanced
from fuzzing import BYTES
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.uid import DeflatedExplicitVRLittleEndian

from medsam.errors import MedsamError
from medsam.io.dicom.image import read_image, read_series
from medsam.io.formats import Geometry, ReadOptions

BUNDLED = Path(pydicom.__file__).parent / "data" / "test_files"
COUNT = int(os.environ.get("MEDSAM_FUZZ", "300"))
NAMES = (
    "CT_small.dcm", "MR_small.dcm", "MR_small_RLE.dcm", "MR_small_jp2klossless.dcm", "MR_small_jpeg_ls_lossless.dcm",
    "MR_small_implicit.dcm", "MR_small_bigendian.dcm", "SC_rgb_jpeg_gdcm.dcm", "SC_rgb_jpeg_dcmtk.dcm", "JPGExtended.dcm",
    "JPEG2000.dcm", "SC_rgb_jls_lossy_line.dcm", "SC_rgb_rle_2frame.dcm", "SC_ybr_full_422_uncompressed.dcm", "rtdose.dcm",
    "image_dfl.dcm", "rtstruct.dcm", "693_J2KI.dcm", "SC_rgb_small_odd_jpeg.dcm", "badVR.dcm",
)  # fmt: skip
EXTREMES = (*BYTES[:6], b"NaN ", b"-1e99", b"SQ\0\0")


def seeds(folder: Path) -> list[bytes]:
    """Real files of every compression, and phantoms with functional groups and a deflated data set."""
    found = [(BUNDLED / name).read_bytes() for name in NAMES]
    deflated = dataset(Phantom(), 0)
    deflated.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    for number, ds in enumerate((dataset(Phantom(), 0), enhanced(Phantom()), deflated)):
        ds.save_as(folder / f"seed{number}", enforce_file_format=True)
        found.append((folder / f"seed{number}").read_bytes())
        (folder / f"seed{number}").unlink()
    return found


def mutated(data: bytes, rng: np.random.Generator) -> bytes:
    """One to three edits, most of them near a tag of the header or the start of the pixels."""
    out = bytearray(data)
    groups = [
        at for at in range(132, min(len(out) - 8, 6000), 2) if out[at + 1] == 0 and out[at] in (2, 8, 0x18, 0x20, 0x28)
    ]
    for _ in range(rng.integers(1, 4)):
        at = (
            int(rng.choice(groups)) + int(rng.integers(0, 12))
            if groups and rng.random() < 0.6
            else int(rng.integers(0, max(len(out), 1)))
        )
        kind = rng.integers(0, 8)
        if kind == 0:
            out[at : at + 1] = bytes([rng.integers(0, 256)])
        elif kind == 1:
            edit = EXTREMES[rng.integers(0, len(EXTREMES))]
            out[at : at + len(edit)] = edit
        elif kind == 2:
            del out[at : at + int(rng.integers(1, 64))]
        elif kind == 3:
            piece = out[at : at + int(rng.integers(1, 256))]
            out[at:at] = piece
        elif kind == 4 and rng.random() < 0.3:
            del out[max(at, 1) :]
        else:
            out[at : at + 4] = rng.integers(0, 256, 4, dtype=np.uint8).tobytes()
    return bytes(out)


def outcome(path: Path, geometry: Geometry) -> str:
    """The message of our error, empty if there is an image; any other error passes through."""
    try:
        read_image(path, ReadOptions(geometry=geometry))
    except MedsamError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("geometry", ["refuse", "resample"])
def test_damaged_files_give_an_image_or_our_error(tmp_path, geometry):
    originals = seeds(tmp_path)
    outcomes = {"image": 0, "error": 0}
    slowest = 0.0
    for number in range(COUNT // 2):
        rng = np.random.default_rng([number, len(geometry)])
        path = tmp_path / "damaged.dcm"
        path.write_bytes(mutated(originals[number % len(originals)], rng))
        start = time.perf_counter()
        message = outcome(path, geometry)
        outcomes["error" if message else "image"] += 1
        assert not message or "damaged.dcm" in message or "slices" in message, number
        slowest = max(slowest, time.perf_counter() - start)
    assert slowest < 10
    assert min(outcomes.values()) > COUNT // 20  # both ways are walked
    if COUNT > 300:
        print(f"\n{geometry}: {outcomes}, slowest {slowest:.2f} s")


NUMBERS = (
    "nan",
    "inf",
    "-inf",
    "0",
    "-1",
    "1e-300",
    "1e300",
    "1e38",
    "0.5",
    "3",
    "65536",
    "-99999999999",
    "",
    "x",
    "1e5",
)
FIELDS = {
    "ImagePositionPatient": 3, "ImageOrientationPatient": 6, "PixelSpacing": 2, "RescaleSlope": 1, "RescaleIntercept": 1,
    "WindowCenter": 1, "WindowWidth": 2, "SliceThickness": 1, "NumberOfFrames": 1, "InstanceNumber": 1,
    "ImagesInAcquisition": 1, "PixelPaddingValue": 1, "BitsStored": 1, "PixelRepresentation": 1, "Rows": 1,
}  # fmt: skip
edits = st.sampled_from(sorted(FIELDS)).flatmap(
    lambda name: st.tuples(st.just(name), st.lists(st.sampled_from(NUMBERS), max_size=FIELDS[name] + 1))
)


@pytest.mark.filterwarnings("error::RuntimeWarning")
@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(
    changes=st.lists(st.tuples(st.integers(0, 2), edits), min_size=1, max_size=3),
    geometry=st.sampled_from(["refuse", "resample"]),
    many=st.booleans(),
)
def test_absurd_numbers_give_an_image_or_our_error(changes, geometry, many):
    sets = [enhanced(Phantom(depth=3))] if many else [dataset(Phantom(depth=3), k) for k in range(3)]
    for k, (keyword, parts) in changes:
        ds = sets[k % len(sets)]
        holders = [ds, ds.PerFrameFunctionalGroupsSequence[k], ds.SharedFunctionalGroupsSequence[0]] if many else [ds]
        for holder in holders:
            replace_raw(holder, keyword, "\\".join(parts))
    try:
        image = read_series(sets, geometry=geometry)
    except MedsamError:
        return
    assert np.isfinite(image.grid.affine).all()


def replace_raw(ds: pydicom.Dataset, keyword: str, text: str) -> None:
    """Put text where a file could have it: unparsed, in the data set or one sequence below."""
    tag = pydicom.tag.Tag(keyword)
    vr = pydicom.datadict.dictionary_VR(tag)
    if vr.startswith("US"):  # a binary number: the text's own bytes
        raw = pydicom.dataelem.RawDataElement(tag, "US", 2, (text.encode() + b"\1\1")[:2], 0, False, True)
    else:
        raw = pydicom.dataelem.RawDataElement(tag, vr, len(text), text.encode(), 0, False, True)
    below = [item for element in ds._dict.values() if element.VR == "SQ" for item in element.value]
    for holder in [ds, *below]:
        if tag in holder:
            holder._dict[tag] = raw
