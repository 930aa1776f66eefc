"""Images to NIfTI, NRRD and MetaImage: values and grid as they are, nothing turned, scaled or resampled."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from medsam.errors import OutputError
from medsam.imaging.image import Image
from medsam.io.atomic import replacing
from medsam.io.placement import affine_of

NIFTI_TYPES = "u1 i1 u2 i2 u4 i4 f4 f8"
RGB = np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])


def write_image(image: Image, path: Path) -> None:
    """Write an image; the suffix says how.

    Raises:
        OutputError: values that the format cannot hold, a sheared grid for MetaImage, or the disk refused.
    """
    values = image.values.astype(np.uint8) if image.values.dtype == bool else image.values
    values = values.astype(np.float32) if values.dtype == np.float16 else values
    if values.dtype.str[1:] not in NIFTI_TYPES or (image.is_rgb and values.dtype != np.uint8):
        raise OutputError(
            f"the image holds {values.dtype}{' colours' if image.is_rgb else ''}",
            expected="grey values of up to 32 bits (integers) or 64 bits (floats), or 8-bit colours",
            fix="convert the values first",
        )
    name = path.name.lower()
    write = (
        _write_nifti if name.endswith((".nii", ".nii.gz")) else _write_nrrd if name.endswith(".nrrd") else _write_mha
    )
    with replacing(path) as temporary:
        write(image, np.ascontiguousarray(values), temporary)


def _write_nifti(image: Image, values: np.ndarray, path: Path) -> None:
    import nibabel

    if image.is_rgb:
        values = values.view(RGB)[..., 0]
    ras = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine_of(image.grid)[:, [2, 1, 0, 3]]
    made = nibabel.Nifti1Image(values.transpose(2, 1, 0), ras, dtype=values.dtype)
    made.header.set_xyzt_units("mm" if image.grid.spacing_mm is not None else "unknown")
    made.set_sform(ras, code="scanner")
    made.set_qform(ras, code="scanner", strip_shears=True)
    nibabel.save(made, path)


def _write_nrrd(image: Image, values: np.ndarray, path: Path) -> None:
    import nrrd

    header: dict[str, object] = {"kinds": ["domain"] * 3, "encoding": "gzip"}
    if image.grid.spacing_mm is not None:
        affine = affine_of(image.grid)
        columns: list[np.ndarray | None] = [affine[:3, axis] for axis in (2, 1, 0)]
        header |= {"space": "left-posterior-superior", "space origin": affine[:3, 3]}
        directions = np.array([[np.nan] * 3, *columns] if image.is_rgb else columns)
        header["space directions"] = directions
    if image.is_rgb:
        header["kinds"] = ["RGB-color", "domain", "domain", "domain"]
    nrrd.write(str(path), values, header, index_order="C", compression_level=4)


def _write_mha(image: Image, values: np.ndarray, path: Path) -> None:
    import SimpleITK as sitk

    made = sitk.GetImageFromArray(values, isVector=image.is_rgb)
    spacing = image.grid.spacing_mm
    if spacing is not None:
        affine = affine_of(image.grid)
        directions = affine[:3, [2, 1, 0]] / np.array(spacing)[::-1]
        if np.abs(directions.T @ directions - np.eye(3)).max() > 1e-4:
            raise OutputError(
                "the grid is sheared", expected="axes at right angles for MetaImage", fix="write .nii.gz or .nrrd"
            )
        made.SetSpacing(spacing[::-1])
        made.SetOrigin(affine[:3, 3].tolist())
        made.SetDirection(directions.ravel().tolist())
    sitk.WriteImage(made, str(path), useCompression=True)
