"""Stored values to labels: what is whole, what nearly is, and what is no label."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest

import medsam
from medsam.errors import GeometryError, InputFileError
from medsam.imaging.image import Grid
from medsam.io.labels import choose_grid_without_geometry, convert_to_labels, is_mask_picture, narrow_labels

HERE = Path("a.nii")


def row(*values: float) -> np.ndarray:
    return np.array(values).reshape(1, 1, -1)


@pytest.mark.parametrize(("top", "dtype"), [(255, "uint8"), (256, "uint16"), (65536, "uint32")])
def test_labels_take_the_smallest_type(top: int, dtype: str) -> None:
    assert convert_to_labels(row(0, top).astype(np.int64), HERE).dtype == dtype
    assert narrow_labels(row(0, top).astype(np.float64)).dtype == dtype


@pytest.mark.parametrize("value", [0.9985, 2.0015, 0.5, float("nan"), float("inf"), 1e30, -1.0])
def test_what_is_no_label_is_refused_with_its_value(value: float) -> None:
    with pytest.raises(InputFileError, match=rf"a.nii holds the value {value:.9g}".replace("+", r"\+")):
        convert_to_labels(row(0, value), HERE)


@pytest.mark.parametrize("dtype", ["int64", "uint64"])
def test_labels_of_more_than_32_bits_are_not_cut(dtype: str) -> None:
    assert convert_to_labels(row(0, 2**32 - 1).astype(dtype), HERE).max() == 2**32 - 1
    for large in (2**32, 2**40 + 1):
        with pytest.raises(InputFileError, match=f"holds the value {large}; expected labels up to 4294967295"):
            convert_to_labels(row(0, large).astype(dtype), HERE)


def test_colours_are_no_labels() -> None:
    with pytest.raises(InputFileError, match="holds colours"):
        convert_to_labels(np.zeros((1, 2, 2, 3)), HERE)


def test_the_rounding_of_a_slope_is_taken_off(tmp_path: Path) -> None:
    """A slope of 17/255 on bytes of 0, 15, ... 255: labels 0 to 17, up to 1e-6 off in float32."""
    image = nibabel.Nifti1Image(np.arange(0, 256, 15, dtype=np.uint8).reshape(3, 3, 2), np.eye(4))
    image.header.set_slope_inter(np.float32(17 / 255), 0)
    nibabel.save(image, tmp_path / "a.nii.gz")
    off = medsam.read_image(tmp_path / "a.nii.gz").values
    assert 0 < np.abs(off - np.rint(off)).max() < 1e-5
    assert sorted(medsam.read_mask(tmp_path / "a.nii.gz").labels.ravel().tolist()) == list(range(18))
    image.header.set_slope_inter(12 / 255, 0)
    nibabel.save(image, tmp_path / "b.nii.gz")
    with pytest.raises(InputFileError, match=r"holds the value \d+\.\d+ "):
        medsam.read_mask(tmp_path / "b.nii.gz")


@pytest.mark.parametrize(
    ("values", "is_one"), [([0, 255], True), ([0, 0], False), ([255, 255], False), ([0, 255, 7], False)]
)
def test_a_mask_picture_holds_0_and_255_alone(values: list[int], is_one: bool) -> None:
    assert is_mask_picture(row(*values).astype(np.uint8)) is is_one
    assert is_mask_picture(row(*values).astype(np.uint16)) is is_one
    assert is_mask_picture((row(*values) * 257).astype(np.uint16)) is is_one
    assert not is_mask_picture(row(*values).astype(np.int32))


def test_a_mask_without_a_place_lies_where_its_image_does() -> None:
    grid = Grid((1, 2, 3), spacing_mm=(1, 1, 1))
    assert choose_grid_without_geometry((1, 2, 3), grid, HERE) is grid
    assert choose_grid_without_geometry((1, 2, 3), None, HERE).spacing_mm is None
    with pytest.raises(GeometryError, match="as the image"):
        choose_grid_without_geometry((1, 3, 2), grid, HERE)
