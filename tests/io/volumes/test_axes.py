"""Axes of volumes: order, colours, several volumes, and places that agree with SimpleITK in both directions to 0.01 mm."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

import medsam
from medsam.errors import GeometryError

SUFFIXES = [".nrrd", ".nhdr", ".mha", ".mhd", ".nii", ".nii.gz"]
CORNERS = np.array([(z, y, x) for z in (0, 1) for y in (0, 1) for x in (0, 1)])


def corners(shape: tuple[int, ...]) -> np.ndarray:
    return CORNERS * (np.array(shape[:3]) - 1)


def itk_corners(image: sitk.Image, shape: tuple[int, ...]) -> np.ndarray:
    return np.array([image.TransformIndexToPhysicalPoint([int(i) for i in zyx[::-1]]) for zyx in corners(shape)])


def turned(seed: int) -> np.ndarray:
    """A random rotation, mirrored for odd seeds."""
    axes, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    return axes if (np.linalg.det(axes) > 0) == (seed % 2 == 0) else -axes


def oblique(seed: int, dtype: type = np.int16) -> sitk.Image:
    values = np.random.default_rng(seed).integers(0, 200, (4, 5, 6)).astype(dtype)
    image = sitk.GetImageFromArray(values)
    image.SetDirection(turned(seed).ravel().tolist())
    image.SetSpacing((0.7, 1.3, 5.0))
    image.SetOrigin((-120.5, 33.25, 987.125))
    return image


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("seed", range(4))
def test_oblique_images_of_simpleitk_are_read_where_they_lie(tmp_path: Path, suffix: str, seed: int) -> None:
    source = oblique(seed)
    path = tmp_path / f"a{suffix}"
    sitk.WriteImage(source, str(path), useCompression=seed < 2)
    image = medsam.read_image(path)
    assert image.values.dtype == np.int16
    assert np.array_equal(image.values, sitk.GetArrayFromImage(source))
    assert (
        np.abs(image.grid.to_world(corners(image.values.shape)) - itk_corners(source, image.values.shape)).max() < 0.001
    )


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("seed", range(4))
def test_masks_are_written_where_simpleitk_finds_them(tmp_path: Path, suffix: str, seed: int) -> None:
    source = oblique(seed)
    sitk.WriteImage(source, str(tmp_path / "image.nrrd"))
    grid = medsam.read_image(tmp_path / "image.nrrd").grid
    labels = np.zeros(grid.shape, np.int64)
    labels[1:3, 2:4, 1:5] = 7
    labels[3, 4, 5] = 300
    path = tmp_path / f"m{suffix}"
    medsam.write_mask(medsam.Mask(labels, grid), path)
    written = sitk.ReadImage(str(path))
    assert written.GetPixelIDTypeAsString() == "16-bit unsigned integer"
    assert np.array_equal(sitk.GetArrayFromImage(written), labels)
    assert np.abs(itk_corners(written, grid.shape) - itk_corners(source, grid.shape)).max() < 0.01
    again = medsam.read_mask(path, reference=tmp_path / "image.nrrd")
    assert np.array_equal(again.labels, labels)
    assert again.grid.same_as(grid, 1e-6)


@pytest.mark.parametrize("suffix", [".nrrd", ".nhdr", ".mha", ".mhd", ".nii.gz"])
@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint16, np.int32, np.uint32, np.float32, np.float64])
def test_every_type_keeps_its_values(tmp_path: Path, suffix: str, dtype: type) -> None:
    source = oblique(3, dtype)
    sitk.WriteImage(source, str(tmp_path / f"a{suffix}"), useCompression=True)
    values = medsam.read_image(tmp_path / f"a{suffix}").values
    assert values.dtype == dtype
    assert np.array_equal(values, sitk.GetArrayFromImage(source))


@pytest.mark.parametrize("suffix", [".nrrd", ".mha", ".mhd", ".nii.gz"])
def test_colour_volumes_come_as_three_channels(tmp_path: Path, suffix: str) -> None:
    values = np.random.default_rng(0).integers(0, 255, (3, 4, 5, 3)).astype(np.uint8)
    sitk.WriteImage(sitk.GetImageFromArray(values, isVector=True), str(tmp_path / f"a{suffix}"))
    image = medsam.read_image(tmp_path / f"a{suffix}")
    assert np.array_equal(image.values, values)


@pytest.mark.parametrize("suffix", [".nrrd", ".mha", ".nii.gz"])
def test_a_single_slice_file_has_one_slice(tmp_path: Path, suffix: str) -> None:
    source = sitk.GetImageFromArray(np.arange(20, dtype=np.int16).reshape(4, 5))
    source.SetSpacing((0.5, 0.25))
    source.SetOrigin((3.0, -4.0))
    sitk.WriteImage(source, str(tmp_path / f"a{suffix}"))
    image = medsam.read_image(tmp_path / f"a{suffix}")
    assert image.values.shape == (1, 4, 5)
    assert image.grid.spacing_mm == pytest.approx((1.0, 0.25, 0.5))
    assert image.grid.to_world([[0, 0, 0]])[0, :2] == pytest.approx((3.0, -4.0))


@pytest.mark.parametrize("suffix", [".nrrd", ".mha", ".nii.gz"])
def test_one_of_several_volumes_is_chosen(tmp_path: Path, suffix: str) -> None:
    values = np.arange(2 * 3 * 4 * 5, dtype=np.int16).reshape(2, 3, 4, 5)
    series = sitk.JoinSeries([sitk.GetImageFromArray(v) for v in values])
    sitk.WriteImage(series, str(tmp_path / f"a{suffix}"))
    with pytest.raises(medsam.MedsamError, match="2 volumes"):
        medsam.read_image(tmp_path / f"a{suffix}")
    assert np.array_equal(medsam.read_image(tmp_path / f"a{suffix}", volume=1).values, values[1])
    with pytest.raises(medsam.MedsamError, match="no volume 2"):
        medsam.read_image(tmp_path / f"a{suffix}", volume=2)


def test_real_volumes_agree_with_simpleitk(shared_data: Path) -> None:
    paths = sorted(p for p in (shared_data / "volumes").rglob("*") if p.name.endswith((".nii.gz", ".nrrd")))
    assert len(paths) > 20
    for path in paths:
        image, oracle = medsam.read_image(path), sitk.ReadImage(str(path))
        assert np.array_equal(image.values, sitk.GetArrayFromImage(oracle)), path.name
        where = image.grid.to_world(corners(image.values.shape))
        assert np.abs(where - itk_corners(oracle, image.values.shape)).max() < 0.001, path.name


def test_real_labels_come_back_in_every_format(shared_data: Path, tmp_path: Path) -> None:
    path = shared_data / "volumes" / "spine_bids" / "sub-ct_seg-subreg_label-22_msk.nii.gz"
    mask = medsam.read_mask(path, reference=path.with_name("sub-ct_label-22_ct.nii.gz"))
    assert mask.grid.orientation == "RIP"
    for suffix in SUFFIXES:
        medsam.write_mask(mask, tmp_path / f"m{suffix}")
        again = medsam.read_mask(tmp_path / f"m{suffix}", reference=path.with_name("sub-ct_label-22_ct.nii.gz"))
        assert np.array_equal(again.labels, mask.labels)
        assert again.labels.dtype == np.uint8


def test_a_mask_of_another_place_is_refused(tmp_path: Path) -> None:
    source = oblique(0, np.uint8)
    sitk.WriteImage(source, str(tmp_path / "a.nrrd"))
    source.SetOrigin((-120.5, 33.25, 988.0))
    sitk.WriteImage(source, str(tmp_path / "b.nrrd"))
    with pytest.raises(GeometryError):
        medsam.read_mask(tmp_path / "b.nrrd", reference=tmp_path / "a.nrrd")
