"""NIfTI: values, scaling, units, conflicts of the two transforms, and files that lie."""

from __future__ import annotations

import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

import medsam
from medsam.errors import GeometryError, InputFileError

VALUES = np.arange(2 * 3 * 4, dtype=np.int16).reshape(2, 3, 4)  # (i, j, k)


def saved(path: Path, values: np.ndarray = VALUES, affine: np.ndarray | None = None, **header: object) -> Path:
    image = nib.Nifti1Image(values, np.diag([2.0, 3.0, 4.0, 1.0]) if affine is None else affine)
    for key, value in header.items():
        image.header[key] = value
    nib.save(image, path)
    return path


def patched(path: Path, **fields: object) -> Path:
    """Change header fields of an uncompressed file behind nibabel's back."""
    data = bytearray(path.read_bytes())
    header = nib.Nifti1Header(bytes(data[:348]), check=False)
    for key, value in fields.items():
        header[key] = value
    data[:348] = header.binaryblock
    path.write_bytes(bytes(data))
    return path


def test_stored_order_is_turned_into_z_y_x_and_ras_into_lps(tmp_path: Path) -> None:
    affine = np.array([[2.0, 0, 0, 10], [0, 3, 0, 20], [0, 0, 4, 30], [0, 0, 0, 1]])
    image = medsam.read_image(saved(tmp_path / "a.nii.gz", affine=affine))
    assert image.values.shape == (4, 3, 2)
    assert image.values[3, 2, 1] == VALUES[1, 2, 3]
    assert image.grid.spacing_mm == (4.0, 3.0, 2.0)
    assert image.grid.to_world([[0, 0, 0], [3, 2, 1]]).tolist() == [[-10, -20, 30], [-12, -26, 42]]
    assert image.grid.orientation == "SAR"


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_big_endian_files_are_read(tmp_path: Path, suffix: str) -> None:
    header = nib.Nifti1Header(endianness=">")
    header.set_data_dtype(">i2")
    image = nib.Nifti1Image(VALUES, np.eye(4), header=header)
    nib.save(image, tmp_path / f"a{suffix}")
    values = medsam.read_image(tmp_path / f"a{suffix}").values
    assert values.dtype == np.dtype(np.int16)
    assert np.array_equal(values, VALUES.T)


def test_nifti_2_is_read(tmp_path: Path) -> None:
    nib.save(nib.Nifti2Image(VALUES, np.eye(4)), tmp_path / "a.nii.gz")
    assert np.array_equal(medsam.read_image(tmp_path / "a.nii.gz").values, VALUES.T)


@pytest.mark.parametrize(
    ("slope", "inter", "dtype"),
    [
        (1, 0, np.int16),
        (0, 5, np.int16),
        (np.nan, 0, np.int16),
        (1, -1024, np.int16),
        (1, 40000, np.int32),
        (0.5, 3, np.float32),
    ],
)
def test_scaling_is_applied_and_integers_stay_integers(tmp_path: Path, slope: float, inter: float, dtype: type) -> None:
    path = patched(saved(tmp_path / "a.nii"), scl_slope=slope, scl_inter=inter)
    values = medsam.read_image(path).values
    unscaled = slope == 0 or np.isnan(slope)
    applied = VALUES if unscaled else VALUES.astype(np.float64) * slope + inter
    assert values.dtype == dtype
    assert np.array_equal(values, applied.T)


@pytest.mark.parametrize(("code", "factor"), [(1, 1000.0), (2, 1.0), (3, 0.001), (0, 1.0)])
def test_units_become_millimetres(tmp_path: Path, code: int, factor: float) -> None:
    image = medsam.read_image(saved(tmp_path / "a.nii.gz", xyzt_units=code))
    assert image.grid.spacing_mm == pytest.approx((4 * factor, 3 * factor, 2 * factor))


def test_a_file_that_never_says_how_large_a_voxel_is(tmp_path: Path) -> None:
    path = patched(saved(tmp_path / "a.nii", affine=np.eye(4)), sform_code=0, qform_code=0, xyzt_units=0)
    assert medsam.read_image(path).grid.spacing_mm is None
    path = patched(saved(tmp_path / "b.nii"), sform_code=0, qform_code=0)
    grid = medsam.read_image(path).grid
    assert grid.spacing_mm == (4.0, 3.0, 2.0)
    assert grid.to_world([[0, 0, 0]]).tolist() == [[0, 0, 0]]


def test_the_sform_wins_over_a_qform_of_another_space(tmp_path: Path) -> None:
    image = nib.Nifti1Image(VALUES, np.diag([2.0, 3.0, 4.0, 1.0]))
    moved = np.diag([2.0, 3.0, 4.0, 1.0])
    moved[:3, 3] = 50
    image.set_qform(moved, code=1)
    nib.save(image, tmp_path / "a.nii.gz")
    assert medsam.read_image(tmp_path / "a.nii.gz").grid.to_world([[0, 0, 0]]).tolist() == [[0, 0, 0]]
    image.set_sform(image.get_sform(), code=1)
    nib.save(image, tmp_path / "b.nii.gz")
    with pytest.raises(GeometryError, match=r"86\.6 mm apart"):
        medsam.read_image(tmp_path / "b.nii.gz")


def test_the_qform_alone_places_the_image(tmp_path: Path) -> None:
    image = nib.Nifti1Image(VALUES, None)
    affine = np.diag([-2.0, 3.0, 4.0, 1.0])
    affine[:3, 3] = (7, 8, 9)
    image.set_qform(affine, code=1)
    image.set_sform(None, code=0)
    nib.save(image, tmp_path / "a.nii.gz")
    grid = medsam.read_image(tmp_path / "a.nii.gz").grid
    assert grid.to_world([[0, 0, 0]]) == pytest.approx(np.array([[-7, -8, 9]]))
    assert grid.orientation == "SAL"


@pytest.mark.parametrize(
    "fields",
    [
        {"srow_x": [0, 0, 0, 0]},
        {"srow_x": [np.nan, 0, 0, 0]},
        {"srow_x": [0, 3, 0, 0]},
        {"pixdim": [1, 2, 3, 9, 0, 0, 0, 0]},
        {"sform_code": 0, "qform_code": 1, "quatern_b": 3.0},
        {"sform_code": 0, "qform_code": 1, "pixdim": [1, 0, 0, 0, 0, 0, 0, 0]},
    ],
)
def test_geometry_that_cannot_be_trusted_is_refused(tmp_path: Path, fields: dict[str, object]) -> None:
    with pytest.raises(GeometryError):
        medsam.read_image(patched(saved(tmp_path / "a.nii"), **fields))


def test_two_dimensions_are_one_slice(tmp_path: Path) -> None:
    image = medsam.read_image(saved(tmp_path / "a.nii.gz", VALUES[:, :, 0]))
    assert image.values.shape == (1, 3, 2)
    assert image.grid.spacing_mm is not None


def test_one_of_four_dimensions_is_chosen(tmp_path: Path) -> None:
    series = np.stack([VALUES, VALUES + 100], axis=-1)
    path = saved(tmp_path / "a.nii.gz", series)
    with pytest.raises(InputFileError, match=r"2 volumes.*0 to 1 with volume= .--volume"):
        medsam.read_image(path)
    assert np.array_equal(medsam.read_image(path, volume=1).values, (VALUES + 100).T)
    assert np.array_equal(medsam.read_image(saved(tmp_path / "b.nii.gz", series[..., :1])).values, VALUES.T)


def test_rgb_voxels_are_colours(tmp_path: Path) -> None:
    rgb = np.zeros((2, 3, 4), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    rgb["G"] = np.arange(24).reshape(2, 3, 4)
    image = medsam.read_image(saved(tmp_path / "a.nii.gz", rgb))
    assert image.values.shape == (4, 3, 2, 3)
    assert np.array_equal(image.values[..., 1], rgb["G"].T)
    assert image.values[..., 0].max() == 0


def test_complex_voxels_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match="complex64"):
        medsam.read_image(saved(tmp_path / "a.nii.gz", VALUES.astype(np.complex64)))


def test_float_labels_are_taken_only_when_whole(tmp_path: Path) -> None:
    mask = medsam.read_mask(saved(tmp_path / "a.nii.gz", (VALUES % 3).astype(np.float64)))
    assert mask.labels.dtype == np.uint8
    assert np.array_equal(mask.labels, (VALUES % 3).T)
    for bad in (VALUES / 2, np.where(VALUES == 5, np.nan, VALUES)):
        with pytest.raises(InputFileError, match="integer labels"):
            medsam.read_mask(saved(tmp_path / "b.nii.gz", bad))
    with pytest.raises(InputFileError, match="-3"):
        medsam.read_mask(saved(tmp_path / "c.nii.gz", VALUES - 3))


@pytest.mark.parametrize(("top", "dtype"), [(1, np.uint8), (255, np.uint8), (256, np.uint16), (70000, np.uint32)])
def test_labels_are_written_small_with_both_transforms(tmp_path: Path, top: int, dtype: type) -> None:
    grid = medsam.read_image(saved(tmp_path / "a.nii.gz")).grid
    labels = np.zeros(grid.shape, np.int64)
    labels[0, 0, 0] = top
    medsam.write_mask(medsam.Mask(labels, grid), tmp_path / "m.nii.gz")
    written = nib.load(tmp_path / "m.nii.gz")
    assert written.get_data_dtype() == dtype
    assert (int(written.header["sform_code"]), int(written.header["qform_code"])) == (1, 1)
    assert np.array_equal(written.get_sform(), np.diag([2.0, 3.0, 4.0, 1.0]))
    assert np.allclose(written.get_qform(), written.get_sform())
    assert np.array_equal(np.asarray(written.dataobj), labels.T)


def test_the_same_mask_gives_the_same_bytes(tmp_path: Path) -> None:
    mask = medsam.read_mask(saved(tmp_path / "a.nii.gz"))
    medsam.write_mask(mask, tmp_path / "m.nii.gz")
    medsam.write_mask(mask, tmp_path / "n.nii.gz")
    assert (tmp_path / "m.nii.gz").read_bytes() == (tmp_path / "n.nii.gz").read_bytes()


def test_very_long_masks_are_nifti_2(tmp_path: Path) -> None:
    labels = np.zeros((1, 2, 40000), np.uint8)
    labels[0, 1, 39999] = 5
    medsam.write_mask(medsam.Mask(labels, medsam.Grid(labels.shape)), tmp_path / "m.nii.gz")
    assert np.array_equal(np.asarray(nib.load(tmp_path / "m.nii.gz").dataobj), labels.T)
    assert np.array_equal(medsam.read_mask(tmp_path / "m.nii.gz").labels, labels)


def test_unknown_spacing_stays_unknown(tmp_path: Path) -> None:
    mask = medsam.Mask(np.eye(3, dtype=np.uint8)[None], medsam.Grid((1, 3, 3)))
    for suffix in (".nii.gz", ".nrrd", ".mha", ".npz"):
        medsam.write_mask(mask, tmp_path / f"m{suffix}")
        assert medsam.read_mask(tmp_path / f"m{suffix}").grid.spacing_mm is None


def test_a_small_file_that_declares_15_gib_is_refused_before_it_unfolds(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.nii", np.zeros((64, 64, 64), np.int16))
    patched(path, dim=[3, 2048, 2048, 1920, 1, 1, 1, 1])
    (tmp_path / "b.nii.gz").write_bytes(gzip.compress(path.read_bytes()))
    for bad in (path, tmp_path / "b.nii.gz"):
        with pytest.raises(InputFileError, match=r"15\.0 GiB"):
            medsam.read_image(bad)
        with pytest.raises(InputFileError, match="declares"):
            medsam.read_image(bad, max_bytes=1 << 50)
        with pytest.raises(InputFileError):
            medsam.read_mask(bad)


@pytest.mark.parametrize("count", [0, 1, 10, 60, 90])
def test_truncated_files_are_refused(tmp_path: Path, count: int) -> None:
    noise = np.random.default_rng(0).integers(0, 999, (30, 30, 30)).astype(np.int16)
    for suffix in (".nii", ".nii.gz"):
        whole = saved(tmp_path / f"a{suffix}", noise).read_bytes()
        (tmp_path / f"b{suffix}").write_bytes(whole[: len(whole) * count // 100])
        with pytest.raises(InputFileError):
            medsam.read_image(tmp_path / f"b{suffix}")


def test_a_flipped_bit_in_compressed_pixels_is_noticed(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 999, (30, 30, 30)).astype(np.int16)
    data = bytearray(saved(tmp_path / "a.nii.gz", noise).read_bytes())
    data[-5] ^= 1  # the checksum
    (tmp_path / "a.nii.gz").write_bytes(data)
    with pytest.raises(InputFileError, match="damaged"):
        medsam.read_image(tmp_path / "a.nii.gz")


def test_damage_in_a_stream_that_unfolds_to_more_is_noticed(tmp_path: Path) -> None:
    """64 bytes doubled in the middle: there are pixels enough, only the checksum behind them is wrong."""
    noise = np.random.default_rng(0).integers(0, 60000, (4, 64, 64)).astype(np.uint16)
    medsam.write_mask(medsam.Mask(noise, medsam.Grid(noise.shape)), tmp_path / "a.nii.gz")
    whole = (tmp_path / "a.nii.gz").read_bytes()
    for at in range(500, len(whole) - 100, len(whole) // 20):
        (tmp_path / "a.nii.gz").write_bytes(whole[: at + 64] + whole[at:])
        with pytest.raises(InputFileError):
            medsam.read_image(tmp_path / "a.nii.gz")


@pytest.mark.parametrize("code", [1, 2])
def test_a_sform_of_zeros_gives_way_to_the_qform(tmp_path: Path, code: int) -> None:
    path = saved(tmp_path / "a.nii", qform_code=1)
    patched(path, sform_code=code, srow_x=0, srow_y=0, srow_z=0)
    assert medsam.read_image(path).grid.spacing_mm == pytest.approx((4, 3, 2))


def test_several_gzip_members_and_trailing_bytes_are_read(tmp_path: Path) -> None:
    plain = saved(tmp_path / "a.nii").read_bytes()
    (tmp_path / "b.nii.gz").write_bytes(gzip.compress(plain[:360]) + gzip.compress(plain[360:]))
    (tmp_path / "c.nii.gz").write_bytes(gzip.compress(plain + bytes(99)))
    for name in ("b", "c"):
        assert np.array_equal(medsam.read_image(tmp_path / f"{name}.nii.gz").values, VALUES.T)


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("a.nii.gz", b"hello, I am a text file " * 40, "holds text"),
        ("a.nii.gz", gzip.compress(b"hello, I am a text file " * 40, mtime=0), "holds text in gzip"),
        ("a.nii.gz", b"\x1f\x8b" + bytes(99), "unknown data|nothing"),
        ("a.nii", b"\x89PNG\r\n\x1a\n" + bytes(600), "a PNG picture"),
        ("a.nii", gzip.compress(bytes(400), mtime=0), "gzip data"),
    ],
    ids=["text", "text in gzip", "not gzip", "png", "gzip"],  # the same in every process that collects
)
def test_other_files_are_named_for_what_they_are(tmp_path: Path, name: str, data: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InputFileError, match=words):
        medsam.read_image(tmp_path / name)


@pytest.mark.parametrize(
    "fields",
    [
        {"dim": [0] * 8},
        {"dim": [9, 2, 3, 4, 1, 1, 1, 1]},
        {"dim": [3, -2, 3, 4, 1, 1, 1, 1]},
        {"datatype": 999},
        {"vox_offset": 10},
        {"vox_offset": 9999},
    ],
)
def test_headers_that_make_no_sense_are_refused(tmp_path: Path, fields: dict[str, object]) -> None:
    with pytest.raises(InputFileError):
        medsam.read_image(patched(saved(tmp_path / "a.nii"), **fields))


def test_real_volumes_agree_with_nibabel(shared_data: Path) -> None:
    for path in sorted((shared_data / "volumes").rglob("*.nii.gz")):
        image, oracle = medsam.read_image(path), nib.load(path)
        assert np.array_equal(image.values, np.asanyarray(oracle.dataobj).T)
        corner = np.array([n - 1 for n in oracle.shape] + [1.0])
        assert image.grid.to_world([corner[2::-1]])[0] == pytest.approx(
            (oracle.affine @ corner)[:3] * (-1, -1, 1), abs=1e-4
        )
