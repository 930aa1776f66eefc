"""DICOM files as they come: folders with other things in them, zips, several series, broken and hostile files."""

from __future__ import annotations

import logging
import zipfile
from pathlib import Path

import pydicom
import pytest
from dicom_phantom import CANARY, Phantom, dataset, write_series

from medsam import read_image
from medsam.errors import GeometryError, InputFileError, MedsamError

BUNDLED = Path(pydicom.__file__).parent / "data" / "test_files"
OTHER = "1.2.826.0.1.3680043.8.498.2"


def test_folder_is_searched_with_its_folders_and_other_files_are_passed_over(tmp_path):
    write_series(tmp_path / "deep" / "er", Phantom())
    (tmp_path / "notes.txt").write_text("not an image")
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "plan.dcm").write_bytes((BUNDLED / "rtplan.dcm").read_bytes())
    (tmp_path / "DICOMDIR").write_bytes((BUNDLED / "dicomdirtests" / "DICOMDIR").read_bytes())
    assert read_image(tmp_path).values.shape == (6, 7, 9)


@pytest.mark.parametrize("content", [b"", b"<html>404</html>", b"\x08\x00\x05\x00cut", b"\0" * 400])
@pytest.mark.parametrize("name", ["lost.dcm", "LOST.IMA"])
def test_a_file_named_dicom_that_is_none_is_named_not_skipped(tmp_path, name, content):
    """A slice lost in a copy would otherwise leave a shorter volume."""
    folder = tmp_path / "series"
    write_series(folder, Phantom())
    (folder / name).write_bytes(content)
    with zipfile.ZipFile(tmp_path / "series.zip", "w") as archive:
        for file in folder.iterdir():
            archive.write(file, file.name)
    for path in (folder, tmp_path / "series.zip"):
        with pytest.raises(InputFileError, match=rf"^{name} (is|cannot be read)"):
            read_image(path)


def test_what_plainly_is_something_else_is_passed_over(tmp_path):
    write_series(tmp_path, Phantom())
    for name in ("notes.txt", "look.png", "run.json", "DICOMDIR", "._slice_0.dcm"):
        (tmp_path / name).write_bytes(b"\0\x05\x16\x07 something else")
    assert read_image(tmp_path).values.shape == (6, 7, 9)


def test_folder_without_dicom_is_refused_with_the_count_of_its_files(tmp_path):
    (tmp_path / "notes.txt").write_text("not an image")
    with pytest.raises(InputFileError, match=r"holds no DICOM image \(1 other files\)"):
        read_image(tmp_path)


def test_zip_is_read_in_place(tmp_path):
    files = write_series(tmp_path / "in", Phantom())
    with zipfile.ZipFile(tmp_path / "scan.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for number, file in enumerate(files):
            archive.write(file, f"../../outside/{number}")  # a name that would climb out is only a name
        archive.writestr("readme.txt", "hello")
    before = sorted(tmp_path.rglob("*"))
    assert (read_image(tmp_path / "scan.zip").values == read_image(tmp_path / "in").values).all()
    assert sorted(tmp_path.rglob("*")) == before


def test_zip_bomb_is_refused_before_it_is_unpacked(tmp_path):
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.dcm", bytes(64 << 20))
    with pytest.raises(InputFileError, match=r"bomb\.zip packs 67108864 bytes into"):
        read_image(tmp_path / "bomb.zip")


def test_zip_that_lies_about_its_sizes_is_refused(tmp_path):
    data = write_series(tmp_path / "in", Phantom(depth=1))[0].read_bytes()
    with zipfile.ZipFile(tmp_path / "lie.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.dcm", data)
    raw, shorter = (tmp_path / "lie.zip").read_bytes(), len(data) - 100
    (tmp_path / "lie.zip").write_bytes(raw.replace(len(data).to_bytes(4, "little"), shorter.to_bytes(4, "little")))
    with pytest.raises(InputFileError, match=r"a\.dcm"):
        read_image(tmp_path / "lie.zip")


def test_broken_zip_is_refused(tmp_path):
    (tmp_path / "a.zip").write_bytes(b"PK\x03\x04 and nothing else")
    with pytest.raises(InputFileError):
        read_image(tmp_path / "a.zip")


def test_deep_sequences_are_refused(tmp_path):
    item = b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
    nest = (b"\x08\x00\x40\x11SQ\x00\x00\xff\xff\xff\xff" + item) * 3000
    path = write_series(tmp_path, Phantom(depth=1))[0]
    raw = path.read_bytes()
    at = raw.index(b"\x08\x00\x60\x00")  # before Modality
    path.write_bytes(raw[:at] + nest + raw[at:])
    with pytest.raises(InputFileError, match="cannot be read as DICOM"):
        read_image(path)


def test_size_beyond_the_file_is_refused_before_it_is_allocated(tmp_path):
    ds = dataset(Phantom(), 0)
    ds.Rows = ds.Columns = 65535
    ds.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    with pytest.raises(InputFileError, match=r"declares at least 8589672450 bytes of pixels and holds 126"):
        read_image(tmp_path / "a.dcm")


def test_cut_file_names_itself_alone(tmp_path):
    paths = write_series(tmp_path, Phantom())
    paths[2].write_bytes(paths[2].read_bytes()[:-40])
    with pytest.raises(InputFileError, match=f"^{paths[2].name} is truncated: 86 of 126 bytes"):
        read_image(tmp_path)
    with pytest.raises(InputFileError, match=r"^MR_truncated\.dcm is truncated"):
        read_image(BUNDLED / "MR_truncated.dcm")


def test_slice_cut_before_its_pixels_is_not_passed_over(tmp_path):
    paths = write_series(tmp_path, Phantom())
    for keep in (300, 700):
        whole = paths[5].read_bytes()
        paths[5].write_bytes(whole[:keep])
        with pytest.raises(InputFileError, match=paths[5].name):
            read_image(tmp_path)
        paths[5].write_bytes(whole)


def test_other_dicom_objects_say_what_they_are():
    with pytest.raises(InputFileError, match="RT Structure Set Storage"):
        read_image(BUNDLED / "rtstruct.dcm")
    with pytest.raises(InputFileError, match="a dose"):
        read_image(BUNDLED / "rtdose.dcm")


@pytest.mark.filterwarnings("ignore:The value length")
def test_no_message_and_no_log_line_repeats_the_patient(tmp_path, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    cases = {
        "gap": Phantom(missing=(2,)),
        "double": Phantom(doubled=(2,)),
        "tilt": Phantom(tilt_degrees=9),
        "short": Phantom(tags=(("ImagesInAcquisition", 9),)),
        "bad": Phantom(tags=(("AccessionNumber", f"{CANARY}-too-long-for-it-and-\\bad"),)),
    }
    for name, phantom in cases.items():
        write_series(tmp_path / name, phantom)
    write_series(tmp_path / "two" / "a", Phantom())
    write_series(tmp_path / "two" / "b", Phantom(series=OTHER))
    cut = write_series(tmp_path / "cut", Phantom())[0]
    cut.write_bytes(cut.read_bytes().replace(b"\x28\x00\x10\x00US", b"\x28\x00\x10\x00PN"))
    texts = []
    for name in [*cases, "two", "cut"]:
        try:
            read_image(tmp_path / name)
        except MedsamError as error:
            texts.append(str(error))
    said = "".join([*texts, caplog.text, *capfd.readouterr()])
    assert len(texts) == 6
    assert not any(word in said for word in ("Canary", "CANARY", "19010203"))


def test_gapped_series_in_a_zip_resamples(tmp_path):
    files = write_series(tmp_path / "in", Phantom(missing=(2,)))
    with zipfile.ZipFile(tmp_path / "scan.zip", "w") as archive:
        for number, file in enumerate(files):
            archive.write(file, str(number))
    with pytest.raises(GeometryError):
        read_image(tmp_path / "scan.zip")
    assert read_image(tmp_path / "scan.zip", geometry="resample").values.shape == (6, 7, 9)
