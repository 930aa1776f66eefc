"""The table of formats: by suffix, by content, in words; and detached pixels that stay beside their header."""

from __future__ import annotations

import contextlib
import resource
import signal
import tempfile
from functools import partial
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from dicom_phantom import Phantom, turned, write_series
from fuzzing import in_child
from hypothesis import given, settings
from hypothesis import strategies as st

import medsam
from medsam.errors import GeometryError, InputFileError, OutputError
from medsam.io.formats import detect_format, write_image
from medsam.io.suffixes import FORMATS

MASK = medsam.Mask((np.arange(24) % 3).reshape(2, 3, 4), medsam.Grid((2, 3, 4), spacing_mm=(5.0, 2.0, 1.0)))


@pytest.mark.parametrize("ability", ["read_image", "read_mask", "write_mask"])
def test_every_row_can_what_it_claims(ability: str) -> None:
    from importlib import import_module

    for row in FORMATS:
        if ability in row.can:
            module = import_module(row.module)
            whole = "write_image" in row.can  # labels go through the functions of images
            kept_apart = ability == "read_mask" and hasattr(module, "read_segments")
            name = {"read_mask": "read_image", "write_mask": "write_values"}.get(ability, ability) if whole else ability
            assert kept_apart or callable(getattr(module, name)), row.name


def test_suffixes_are_read_in_any_case(tmp_path: Path) -> None:
    medsam.write_mask(MASK, tmp_path / "M.NII.GZ")
    assert np.array_equal(medsam.read_mask(tmp_path / "M.NII.GZ").labels, MASK.labels)
    assert detect_format(tmp_path / "M.NII.GZ").name == "nifti"


def test_the_longest_suffix_decides(tmp_path: Path) -> None:
    medsam.write_mask(MASK, tmp_path / "a.seg.nrrd")
    medsam.write_mask(MASK, tmp_path / "a.nrrd")
    assert detect_format(tmp_path / "a.seg.nrrd").name == "seg.nrrd"
    assert detect_format(tmp_path / "a.nrrd").name == "nrrd"


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

    medsam.write_mask(MASK, tmp_path / "m.nii.gz")
    one = nibabel.load(tmp_path / "m.nii.gz")
    four = np.stack([np.asarray(one.dataobj)] * 2, axis=-1).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(four, one.affine), tmp_path / "four.nii.gz")
    mask = medsam.read_mask(tmp_path / "m.nii.gz", reference=tmp_path / "four.nii.gz")
    assert np.array_equal(mask.labels, MASK.labels)


def test_another_reader_agrees_on_the_place(tmp_path):
    write_series(tmp_path / "ct", Phantom(turn=turned(10, -20, 30), row_mm=0.6, column_mm=0.6))
    image = medsam.read_image(tmp_path / "ct")
    for target in ("ct.nii.gz", "ct.nrrd", "ct.mha"):
        write_image(image, tmp_path / target)
        theirs = sitk.ReadImage(str(tmp_path / target))
        assert np.array_equal(sitk.GetArrayFromImage(theirs), image.values)
        for index in ((0, 0, 0), (5, 6, 8), (2, 1, 7)):
            there = theirs.TransformIndexToPhysicalPoint(index[::-1])
            assert np.allclose(there, image.grid.to_world(np.array(index))[0], atol=0.005), target


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
def test_colours_floats_and_unknown_spacing(tmp_path, suffix):
    rng = np.random.default_rng(0)
    for values in (
        rng.integers(0, 255, (2, 3, 4, 3), dtype=np.uint8),
        rng.normal(size=(2, 3, 4)),
        np.ones((2, 3, 4), dtype=bool),
    ):
        image = medsam.Image(values, medsam.Grid((2, 3, 4), (3, 2, 1)))
        write_image(image, tmp_path / f"i{suffix}")
        back = medsam.read_image(tmp_path / f"i{suffix}")
        assert np.array_equal(back.values, values)
        assert back.grid.spacing_mm == pytest.approx((3, 2, 1))
    write_image(medsam.Image(np.ones((2, 3, 4), dtype=np.int16), medsam.Grid((2, 3, 4))), tmp_path / f"u{suffix}")
    assert medsam.read_image(tmp_path / f"u{suffix}").grid.spacing_mm is None


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
def test_whole_numbers_of_64_bits_are_stored_in_32_where_they_fit(tmp_path, suffix):
    for values, dtype in (([0, 1, 2, 7], "int32"), ([0, 3 << 30], "uint32"), ([-1, 1 << 40], "int64")):
        image = medsam.Image(
            np.array(values, dtype=np.int64).reshape(1, 1, -1), medsam.Grid((1, 1, len(values)), (1, 1, 1))
        )
        write_image(image, tmp_path / f"i{suffix}")
        back = medsam.read_image(tmp_path / f"i{suffix}")
        assert back.values.ravel().tolist() == values
        assert back.values.dtype == dtype


def test_what_cannot_be_written_is_refused_in_words(tmp_path):
    grid = medsam.Grid((2, 2, 2), (1, 1, 1))
    with pytest.raises(OutputError, match="uint16 colours"):
        write_image(medsam.Image(np.ones((2, 2, 2, 3), dtype=np.uint16), grid), tmp_path / "i.nii")
    with pytest.raises(OutputError, match="suffix"):
        write_image(medsam.Image(np.ones((2, 2, 2), dtype=np.int16), grid), tmp_path / "i.gif")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd"])
def test_images_are_whole_or_absent(tmp_path, suffix):
    image = medsam.Image(np.ones((2, 3, 4), dtype=np.int16), medsam.Grid((2, 3, 4), (1, 1, 1)))
    write_image(image, tmp_path / f"i{suffix}")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    huge = medsam.Image(np.random.default_rng(0).random((8, 64, 64)), medsam.Grid((8, 64, 64), (1, 1, 1)))
    said = in_child(partial(write_on_a_full_disk, huge, tmp_path / f"i{suffix}"))
    assert said.startswith("OutputError")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def write_on_a_full_disk(image: medsam.Image, path: Path) -> str:
    """In a child that may write files of 10 kB only."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
    try:
        write_image(image, path)
    except OutputError as error:
        return f"OutputError: {error}"
    return "written"


angles = st.floats(-180, 180, allow_nan=False)


tilts = st.floats(-0.9, 0.9, allow_nan=False)


spacings = st.floats(0.05, 12, allow_nan=False)


origins = st.floats(-2000, 2000, allow_nan=False)


def turn(axis: int, degrees: float) -> np.ndarray:
    one, two = (i for i in range(3) if i != axis)
    rotation = np.eye(3)
    rotation[one, one] = rotation[two, two] = np.cos(np.radians(degrees))
    rotation[two, one] = np.sin(np.radians(degrees))
    rotation[one, two] = -rotation[two, one]
    return rotation


@st.composite
def grids(draw: st.DrawFn, *, sheared: bool) -> medsam.Grid:
    axes = turn(0, draw(angles)) @ turn(1, draw(angles)) @ turn(2, draw(angles))
    if sheared:
        axes = axes @ np.array([[1, draw(tilts), draw(tilts)], [0, 1, draw(tilts)], [0, 0, 1]])
    axes = axes[:, draw(st.permutations([0, 1, 2]))] * [draw(st.sampled_from([-1, 1])) for _ in range(3)]
    affine = np.eye(4)
    affine[:3, :3] = axes * [draw(spacings) for _ in range(3)]
    affine[:3, 3] = [draw(origins) for _ in range(3)]
    return medsam.Grid(draw(st.tuples(*[st.integers(1, 6)] * 3)), affine=affine)


def labels_of(grid: medsam.Grid) -> np.ndarray:
    return (np.arange(np.prod(grid.shape)).reshape(grid.shape) % 5).astype(np.uint8)


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha", ".npz"])
@pytest.mark.parametrize("sheared", [False, True], ids=["rigid", "sheared"])
def test_every_grid_comes_back(suffix: str, sheared: bool) -> None:
    @given(grids(sheared=sheared))
    @settings(max_examples=40, deadline=None)
    def check(grid: medsam.Grid) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"m{suffix}"
            medsam.write_mask(medsam.Mask(labels_of(grid), grid), path)
            again = medsam.read_mask(path)
            assert np.array_equal(again.labels, labels_of(grid))
            assert again.grid.max_distance_mm(grid) < 0.01
            if suffix != ".npz":  # written for masks only
                write_image(medsam.Image(labels_of(grid), grid), path)
                assert medsam.read_image(path).grid.max_distance_mm(grid) < 0.01

    check()


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
def test_simpleitk_finds_rigid_grids_at_the_same_place(suffix: str) -> None:
    @given(grids(sheared=False))
    @settings(max_examples=30, deadline=None)
    def check(grid: medsam.Grid) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"m{suffix}"
            medsam.write_mask(medsam.Mask(labels_of(grid), grid), path)
            oracle = sitk.ReadImage(str(path))
            last = [n - 1 for n in grid.shape]
            for index in ([0, 0, 0], last):
                place = oracle.TransformIndexToPhysicalPoint(index[::-1])
                assert np.linalg.norm(grid.to_world([index])[0] - place) < 0.01
            assert np.array_equal(sitk.GetArrayFromImage(oracle), labels_of(grid))

    check()
