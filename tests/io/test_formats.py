"""The table of formats: by suffix, by content, in words; and detached pixels that stay beside their header."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pytest

import medsam
from medsam.errors import GeometryError, InputFileError, OutputError
from medsam.io.formats import FORMATS, format_names, format_of

MASK = medsam.Mask((np.arange(24) % 3).reshape(2, 3, 4), medsam.Grid((2, 3, 4), spacing_mm=(5.0, 2.0, 1.0)))


@pytest.mark.parametrize("ability", ["read_image", "read_mask", "write_mask"])
def test_every_row_can_what_it_claims(ability: str) -> None:
    from importlib import import_module

    for row in FORMATS:
        if ability in row.can:
            assert callable(getattr(import_module(row.module), ability)), row.name
    assert "nifti" in format_names(ability)


def test_suffixes_are_read_in_any_case(tmp_path: Path) -> None:
    medsam.write_mask(MASK, tmp_path / "M.NII.GZ")
    assert np.array_equal(medsam.read_mask(tmp_path / "M.NII.GZ").labels, MASK.labels)
    assert format_of(tmp_path / "M.NII.GZ").name == "nifti"


def test_the_longest_suffix_decides(tmp_path: Path) -> None:
    medsam.write_mask(MASK, tmp_path / "a.seg.nrrd")
    medsam.write_mask(MASK, tmp_path / "a.nrrd")
    assert format_of(tmp_path / "a.seg.nrrd").name == "seg.nrrd"
    assert format_of(tmp_path / "a.nrrd").name == "nrrd"


def test_a_format_by_name_overrides_the_suffix(tmp_path: Path) -> None:
    medsam.write_mask(MASK, tmp_path / "mask.dat", format="nifti")
    (tmp_path / "mask.dat").rename(tmp_path / "mask.nii")
    assert np.array_equal(medsam.read_mask(tmp_path / "mask.nii").labels, MASK.labels)
    with pytest.raises(OutputError, match="'word'"):
        medsam.write_mask(MASK, tmp_path / "mask.dat", format="word")


@pytest.mark.parametrize("read", [medsam.read_image, medsam.read_mask])
def test_missing_empty_and_unknown_files_are_refused(tmp_path: Path, read: object) -> None:
    assert callable(read)
    (tmp_path / "empty.nii.gz").touch()
    (tmp_path / "notes.txt").write_text("some text")
    (tmp_path / "picture.xyz").write_bytes(b"\x89PNG\r\n\x1a\n....")
    (tmp_path / "scan.png").write_bytes(b"II*\0".ljust(128, b"\0") + b"DICM")  # a preamble that is a TIFF head
    for name, words in {
        "missing.nii": "does not exist",
        "empty.nii.gz": "is empty",
        "notes.txt": "holds text",
        "picture.xyz": "a PNG picture",
        "scan.png": "a DICOM file",
    }.items():
        with pytest.raises(InputFileError, match=words):
            read(tmp_path / name)


@pytest.mark.parametrize("name", ["mask", "mask.xyz", "mask.nii.bz2", "mask.jpg", ""])
def test_unknown_suffixes_are_refused_before_anything_is_written(tmp_path: Path, name: str) -> None:
    with pytest.raises(OutputError, match="suffix"):
        medsam.write_mask(MASK, tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_the_reference_may_be_an_image_a_grid_or_a_file(tmp_path: Path) -> None:
    medsam.write_mask(MASK, tmp_path / "m.nii.gz")
    image = medsam.Image(np.zeros((2, 3, 4)), MASK.grid)
    for reference in (image, MASK.grid, tmp_path / "m.nii.gz", str(tmp_path / "m.nii.gz")):
        mask = medsam.read_mask(tmp_path / "m.nii.gz", reference=reference)
        assert np.array_equal(mask.labels, MASK.labels)
    assert medsam.read_mask(tmp_path / "m.nii.gz", reference=MASK.grid).grid is MASK.grid


def test_a_mask_stored_the_other_way_round_is_turned_onto_its_reference(tmp_path: Path) -> None:
    affine = np.array(MASK.grid.affine)
    affine[:3, 3] += affine[:3, 2] * 3
    affine[:3, 2] *= -1
    mirrored = medsam.Mask(MASK.labels[..., ::-1], medsam.Grid((2, 3, 4), affine=affine))
    medsam.write_mask(mirrored, tmp_path / "m.nii.gz")
    assert np.array_equal(medsam.read_mask(tmp_path / "m.nii.gz", reference=MASK.grid).labels, MASK.labels)


def test_a_mask_of_another_shape_or_place_is_refused(tmp_path: Path) -> None:
    medsam.write_mask(MASK, tmp_path / "m.nii.gz")
    for grid in (
        medsam.Grid((2, 3, 4), spacing_mm=(5.0, 2.0, 1.1)),
        medsam.Grid((2, 3, 3), spacing_mm=(5.0, 2.0, 1.0)),
    ):
        with pytest.raises(GeometryError):
            medsam.read_mask(tmp_path / "m.nii.gz", reference=grid)


def test_the_modality_of_the_caller_wins(tmp_path: Path) -> None:
    medsam.write_mask(MASK, tmp_path / "a.mha")
    header, _, pixels = (tmp_path / "a.mha").read_bytes().partition(b"ElementDataFile")
    (tmp_path / "a.mha").write_bytes(header + b"Modality = MET_MOD_CT\nElementDataFile" + pixels)
    assert medsam.read_image(tmp_path / "a.mha").modality == "CT"
    assert medsam.read_image(tmp_path / "a.mha", modality="mri").modality == "MR"


NHDR = "NRRD0004\ntype: uint8\ndimension: 3\nsizes: 4 3 2\nencoding: raw\ndata file: {}\n\n"
MHD = "NDims = 3\nDimSize = 4 3 2\nElementType = MET_UCHAR\nElementDataFile = {}\n"
OUTSIDE = [
    "../secret.raw", "sub/../../secret.raw", "{absolute}", "..\\secret.raw", "link.raw", "./../secret.raw", "/etc/hostname",
    "LIST", "LIST 2", "part%02d.raw 1 2 1", "missing.raw", "", ".",
]  # fmt: skip


@pytest.mark.parametrize("name", OUTSIDE)
@pytest.mark.parametrize(("suffix", "text"), [(".nhdr", NHDR), (".mhd", MHD)])
def test_pixels_outside_the_headers_folder_are_never_read(tmp_path: Path, name: str, suffix: str, text: str) -> None:
    secret = tmp_path / "secret.raw"
    secret.write_bytes(bytes(range(24)))
    folder = tmp_path / "case"
    (folder / "sub").mkdir(parents=True)
    (folder / "link.raw").symlink_to(secret)
    header = folder / f"a{suffix}"
    header.write_text(text.format(name.format(absolute=secret)))
    with pytest.raises(InputFileError):
        medsam.read_image(header)
    with pytest.raises(InputFileError):
        medsam.read_mask(header)


@pytest.mark.parametrize(("suffix", "text"), [(".nhdr", NHDR), (".mhd", MHD)])
def test_pixels_beside_the_header_or_below_are_read(tmp_path: Path, suffix: str, text: str) -> None:
    (tmp_path / "sub").mkdir()
    for name in ("pixels.raw", "sub/pixels.raw", "two words.raw"):
        (tmp_path / name).write_bytes(bytes(range(24)))
        (tmp_path / f"a{suffix}").write_text(text.format(name))
        assert medsam.read_image(tmp_path / f"a{suffix}").values.ravel().tolist() == list(range(24))


@pytest.mark.parametrize("suffix", [".nrrd", ".mha", ".nii", ".nii.gz", ".npz", ".tif"])
def test_every_cut_of_a_file_is_refused(tmp_path: Path, suffix: str) -> None:
    noise = np.random.default_rng(0).integers(0, 60000, (3, 16, 16))
    medsam.write_mask(medsam.Mask(noise, medsam.Grid(noise.shape)), tmp_path / f"a{suffix}")
    whole = (tmp_path / f"a{suffix}").read_bytes()
    cut = tmp_path / f"b{suffix}"
    for size in np.linspace(0, len(whole) - 1, 40).astype(int):
        cut.write_bytes(whole[:size])
        with pytest.raises(InputFileError):
            medsam.read_image(cut)


@pytest.mark.parametrize(
    "suffix", [".nrrd", ".nhdr", ".mha", ".mhd", ".nii", ".nii.gz", ".npz", ".tif", ".png", ".json"]
)
def test_damaged_bytes_end_in_our_errors_only(tmp_path: Path, suffix: str) -> None:
    labels = np.random.default_rng(0).integers(0, 200, (1, 9, 9))
    medsam.write_mask(
        medsam.Mask(labels, medsam.Grid(labels.shape, spacing_mm=(1.0, 1.0, 1.0))), tmp_path / f"a{suffix}"
    )
    whole = (tmp_path / f"a{suffix}").read_bytes()
    rng = np.random.default_rng(1)
    for _ in range(60):
        spoiled = bytearray(whole)
        for _ in range(int(rng.integers(1, 4))):
            spoiled[int(rng.integers(min(len(spoiled), 600)))] = int(rng.integers(256))
        (tmp_path / f"a{suffix}").write_bytes(spoiled)
        for read in (medsam.read_mask, medsam.read_image) if suffix != ".json" else (medsam.read_mask,):
            with contextlib.suppress(medsam.MedsamError):
                read(tmp_path / f"a{suffix}")


def test_labels_are_chosen_by_name_or_number_one_or_several(tmp_path: Path) -> None:
    medsam.write_mask(medsam.Mask(MASK.labels, MASK.grid, {1: "liver"}), tmp_path / "m.seg.nrrd")
    for only, ids in (("liver", (1,)), (2, (2,)), ([1, 2], (1, 2)), (["liver", "2"], (1, 2))):
        assert medsam.read_mask(tmp_path / "m.seg.nrrd", only=only).ids == ids


def test_an_empty_path_and_an_image_as_a_path_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match="empty path"):
        medsam.read_image("")
    image = medsam.Image([[[0, 1], [2, 3]]], medsam.Grid((1, 2, 2)))  # type: ignore[arg-type]
    with pytest.raises(OutputError, match="reference is Image"):
        medsam.write_mask(MASK, tmp_path / "m.dcm", reference=image)  # type: ignore[arg-type]
    assert medsam.Mask([[[0, 1], [2, 3]]], image.grid).ids == (1, 2, 3)  # type: ignore[arg-type]


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha", ".tif"])
def test_one_volume_of_a_mask_with_several_is_chosen(tmp_path: Path, suffix: str) -> None:
    import SimpleITK as sitk
    import tifffile

    both = np.stack([MASK.labels, MASK.labels[::-1]]).astype(np.uint8)
    path = tmp_path / f"both{suffix}"
    if suffix == ".tif":
        tifffile.imwrite(path, both.swapaxes(0, 1), imagej=True, metadata={"axes": "ZCYX"})
    else:
        sitk.WriteImage(sitk.GetImageFromArray(both, isVector=False), path)
    with pytest.raises(InputFileError, match="--volume"):
        medsam.read_mask(path)
    assert np.array_equal(medsam.read_mask(path, volume=1).labels, both[1])
    with pytest.raises(InputFileError, match=r"volume 2|0 to 1"):
        medsam.read_mask(path, volume=2)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".npz", ".nii.gz", ".seg.nrrd", ".json"])
def test_a_volume_that_is_not_there_is_refused_by_every_format(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    medsam.write_mask(medsam.Mask(MASK.labels[:1], medsam.Grid((1, 3, 4), spacing_mm=(5.0, 2.0, 1.0))), path)
    assert medsam.read_mask(path, volume=0).ids == (1, 2)
    with pytest.raises(InputFileError, match="holds no volume 3"):
        medsam.read_mask(path, volume=3)
    if suffix in (".png", ".tif", ".nii.gz"):
        with pytest.raises(InputFileError, match="holds no volume 3"):
            medsam.read_image(path, volume=3)


def test_a_reference_of_several_volumes_gives_their_one_grid(tmp_path: Path) -> None:
    import nibabel

    medsam.write_mask(MASK, tmp_path / "m.nii.gz")
    one = nibabel.load(tmp_path / "m.nii.gz")
    four = np.stack([np.asarray(one.dataobj)] * 2, axis=-1).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(four, one.affine), tmp_path / "four.nii.gz")
    mask = medsam.read_mask(tmp_path / "m.nii.gz", reference=tmp_path / "four.nii.gz")
    assert np.array_equal(mask.labels, MASK.labels)
