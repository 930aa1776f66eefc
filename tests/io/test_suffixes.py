"""What format a name is: one answer for reading, writing, jobs and training."""

from __future__ import annotations

import pytest

from medsam.errors import OutputError
from medsam.io.suffixes import find_format, find_named, find_stem, find_suffix, find_suffix_of_format, list_suffixes


@pytest.mark.parametrize(
    ("name", "suffix", "stem"),
    [
        ("scan.nii.gz", ".nii.gz", "scan"),
        ("SCAN.NII.GZ", ".nii.gz", "SCAN"),
        ("a/b.c/scan.seg.nrrd", ".seg.nrrd", "scan"),
        ("scan.v2.nrrd", ".nrrd", "scan.v2"),
        ("notes.txt", "", "notes.txt"),
        ("scan", "", "scan"),
        (".nii", ".nii", ""),
    ],
)
def test_the_longest_known_suffix_is_the_suffix(name: str, suffix: str, stem: str) -> None:
    assert (find_suffix(name), find_stem(name)) == (suffix, stem)


def test_a_suffix_counts_where_its_format_can_do_what_is_asked() -> None:
    assert find_suffix("a.seg.nrrd", "write_image") == ".nrrd"
    assert find_suffix("a.jpg", "write_mask") == ""
    assert find_format("a.jpg", "write_mask") is None
    wanted = {"a.seg.nrrd": "seg.nrrd", "a.nhdr": "nrrd", "a.dcm": "dicom-seg", "a.json": "coco", "a.tiff": "tiff"}
    for name, row in wanted.items():
        found = find_format(name, "write_mask")
        assert found is not None
        assert found.name == row
    assert find_format("a.dcm").name == "dicom"  # type: ignore[union-attr]
    assert list_suffixes("write_image") == (".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd")
    assert ".svs" in list_suffixes(name="slide")


def test_a_format_is_named_by_itself_or_by_a_suffix() -> None:
    assert find_named("dicom-seg:LABELMAP", "write_mask").name == "dicom-seg"
    for name, suffix in (
        ("nii.gz", ".nii.gz"),
        (".MHA", ".mha"),
        ("nifti", ".nii"),
        ("rtstruct", ".dcm"),
        ("coco", ".json"),
    ):
        assert find_suffix_of_format(name) == suffix
    for name in ("word", "jpeg", ""):
        with pytest.raises(OutputError, match="one of nifti"):
            find_suffix_of_format(name)
