"""PNG, JPEG and BMP: pictures of one slice, whose spacing is unknown.

EXIF rotation is applied. Transparent pixels are laid on black, the background of medical images. Palettes become
colours in an image and stay label ids in a mask. CMYK is refused: without its profile the colours would be wrong.
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image as Picture
from PIL import ImageOps

from medsam.errors import InputFileError, OutputError
from medsam.imaging.image import Grid, Image, Mask
from medsam.imaging.overlay import label_color
from medsam.io.atomic import replacing
from medsam.io.formats import ReadOptions, WriteOptions
from medsam.io.labels import grid_without_geometry, labels_of, smallest
from medsam.io.limits import head, other_content, refuse_oversized

KINDS = {
    ".png": ("PNG", b"\x89PNG\r\n\x1a\n"),
    ".jpg": ("JPEG", b"\xff\xd8\xff"),
    ".jpeg": ("JPEG", b"\xff\xd8\xff"),
    ".bmp": ("BMP", b"BM"),
}
PLAIN = {"1", "L", "P", "PA", "LA", "RGB", "RGBA", "I", "F", "I;16", "I;16B", "I;16L", "I;16N", "YCbCr"}


def read_image(path: Path, options: ReadOptions) -> Image:
    """Read a picture as (1, H, W) or (1, H, W, 3); 16 bits stay 16 bits.

    Raises:
        InputFileError: truncated, damaged, a decompression bomb, animated, CMYK, or another format than its suffix.
    """
    values = _pixels(path, options.max_bytes, labels=False)
    return Image(values, Grid(values.shape[:3]))


def read_mask(path: Path, reference: Grid | None) -> Mask:
    """Read a label picture: palette indices, or grey values, where 0 and 255 alone mean background and label 1.

    Raises:
        InputFileError: as read_image, or colours.
        GeometryError: another shape than the reference.
    """
    values = _pixels(path, ReadOptions().max_bytes, labels=True)
    labels = labels_of(values, path)
    return Mask(labels, grid_without_geometry(labels.shape, reference, path))


def write_mask(mask: Mask, path: Path, options: WriteOptions) -> None:
    """Write a PNG that a person can see: 0 and 255 for the one label 1, else a palette whose indices are the labels.

    Above label 255 it is 16-bit grey.

    Raises:
        OutputError: more than one slice, or a label above 65535.
    """
    del options
    picture = _picture_of(mask)
    with replacing(path) as temporary:
        picture.save(temporary, format="PNG")


def _picture_of(mask: Mask) -> Picture.Image:
    if mask.grid.shape[0] != 1:
        raise OutputError(
            f"a mask of {mask.grid.shape[0]} slices for a PNG",
            expected="one slice",
            fix="write .nii.gz, .nrrd, .mha or .tif instead",
        )
    labels, ids = smallest(mask.labels[0]), mask.ids
    if ids in ((), (1,)):
        return Picture.fromarray(np.where(labels > 0, np.uint8(255), np.uint8(0)))
    if ids[-1] > 65535:
        raise OutputError(
            f"label {ids[-1]} for a PNG", expected="labels up to 65535", fix="renumber them, or write .nii.gz"
        )
    if ids[-1] > 255:
        return Picture.fromarray(labels.astype(np.uint16))
    picture = Picture.fromarray(labels.astype(np.uint8), mode="P")
    colors = [(0, 0, 0), *(label_color(i, mask.colors) for i in range(1, 256))]
    picture.putpalette([value for color in colors for value in color])
    return picture


def _pixels(path: Path, max_bytes: int, *, labels: bool) -> np.ndarray:
    """(1, H, W) or (1, H, W, 3); for labels, palette indices and grey values with 0 and 255 alone read as 0 and 1."""
    kind, magic = KINDS[path.suffix.lower()]
    first = head(path, 540)
    if not first.startswith(magic):
        raise other_content(path, first, f"a {kind} picture")
    try:
        with Picture.open(path, formats=[kind]) as picture:
            channels = len(picture.getbands()) * (2 if picture.mode.startswith("I;16") else 1)
            declared = picture.width * picture.height * channels
            stored = path.stat().st_size
            refuse_oversized(path, declared, stored, encoding="zlib" if kind == "PNG" else "bzip2", max_bytes=max_bytes)
            _refuse_unreadable(picture, path)
            if kind == "PNG" and first[24] == 16 and picture.mode not in ("I", "I;16", "I;16B"):
                return _deep_png(path, labels=labels)  # Pillow would cut 16-bit colours to 8
            picture.load()
            upright = ImageOps.exif_transpose(picture)
            return _label_values(upright) if labels else _image_values(upright)
    except (
        OSError,
        SyntaxError,
        ValueError,
        EOFError,
        struct.error,
        zlib.error,
        Picture.DecompressionBombError,
    ) as error:
        raise InputFileError(
            f"{path} cannot be read to its end ({error})",
            expected=f"a whole {kind} picture",
            fix="copy or export it again",
        ) from None


def _refuse_unreadable(picture: Picture.Image, path: Path) -> None:
    if picture.format == "PNG" and getattr(picture, "n_frames", 1) > 1:
        raise InputFileError(f"{path} is animated", expected="one picture", fix="save the frame you mean")
    if picture.mode not in PLAIN:
        raise InputFileError(
            f"{path} is a {picture.mode} picture",
            expected="grey, RGB or palette",
            fix="convert it to RGB with its colour profile",
        )


def _deep_png(path: Path, *, labels: bool) -> np.ndarray:
    import imagecodecs

    try:
        values: np.ndarray = imagecodecs.png_decode(path.read_bytes())
    except RuntimeError as error:
        raise ValueError(str(error)) from None
    return grey_labels(values[None]) if labels else on_black(values[None])


def _image_values(picture: Picture.Image) -> np.ndarray:
    if picture.mode == "1":
        return np.asarray(picture.convert("L"))[None]
    if picture.mode in ("P", "PA"):
        clear = picture.mode == "PA" or "transparency" in picture.info
        values = on_black(np.asarray(picture.convert("RGBA" if clear else "RGB"))[None])
        return values[..., 0] if (values[..., :1] == values[..., 1:]).all() else values
    return on_black(_native(np.asarray(picture.convert("RGB") if picture.mode == "YCbCr" else picture)))


def _label_values(picture: Picture.Image) -> np.ndarray:
    values = _native(np.asarray(picture))
    if picture.mode in ("P", "1"):
        return values.astype(np.uint8, copy=False)
    return grey_labels(values)


def _native(values: np.ndarray) -> np.ndarray:
    return values.astype(values.dtype.newbyteorder("="), copy=False)[None]


def grey_labels(values: np.ndarray) -> np.ndarray:
    """Grey values as labels; 8-bit pictures of 0 and 255 alone become 0 and 1, grey kept as RGB becomes grey.

    Args:
        values: (D, H, W), or (D, H, W, C) with equal channels; opaque alpha is dropped.

    Returns:
        (D, H, W); or the values as they came where they are real colours, for the caller to refuse.
    """
    if values.ndim == 4 and values.shape[-1] in (2, 4) and (values[..., -1] == np.iinfo(values.dtype).max).all():
        values = values[..., :-1]
    if values.ndim == 4 and (values[..., :1] == values).all():
        values = values[..., 0]
    if values.dtype == bool or (values.dtype == np.uint8 and ((values == 0) | (values == 255)).all()):
        return (values > 0).astype(np.uint8)
    return values


def on_black(values: np.ndarray) -> np.ndarray:
    """Lay (D, H, W, 2) grey or (D, H, W, 4) colour with straight alpha on black; other shapes pass."""
    if values.ndim < 4 or values.shape[-1] not in (2, 4):
        return values
    alpha, shown = values[..., -1:], values[..., :-1]
    top = np.iinfo(values.dtype).max
    if not (alpha == top).all():
        shown = np.rint(shown * (alpha / top)).astype(values.dtype)
    return shown[..., 0] if shown.shape[-1] == 1 else shown
