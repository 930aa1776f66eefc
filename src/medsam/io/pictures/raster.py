"""PNG, JPEG and BMP: pictures of one slice, whose spacing is unknown.

EXIF rotation is applied. Transparent pixels are laid on black, the background of medical images. Palettes become
colours in an image; in a mask their indices are labels (see palettes). CMYK is refused: without its profile the colours
would be wrong. Large pictures are taken over in bands of rows, so that no second copy of them is made.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import BmpImagePlugin, ImageFile, ImageOps, JpegImagePlugin, PngImagePlugin
from PIL import Image as Picture

from medsam.errors import InputFileError, OutputError
from medsam.files.atomic import replacing
from medsam.imaging.image import Grid, Image, Mask
from medsam.imaging.palette import choose_color
from medsam.io.formats import ReadOptions, WriteOptions
from medsam.io.guard import guarded
from medsam.io.labels import choose_grid_without_geometry, convert_to_labels, narrow_labels
from medsam.io.limits import DEFLATE_RATIO, explain_other_content, read_head, refuse_oversized
from medsam.io.pictures.palettes import find_used, iter_bands, read_palette_labels

KINDS: dict[str, tuple[str, bytes, Callable[[Path], ImageFile.ImageFile]]] = {  # Picture.open has a limit of its own
    ".png": ("PNG", b"\x89PNG\r\n\x1a\n", PngImagePlugin.PngImageFile),
    ".jpg": ("JPEG", b"\xff\xd8\xff", JpegImagePlugin.JpegImageFile),
    ".jpeg": ("JPEG", b"\xff\xd8\xff", JpegImagePlugin.JpegImageFile),
    ".bmp": ("BMP", b"BM", BmpImagePlugin.BmpImageFile),
}
BAND_PIXELS = 1 << 22  # taken over at a time
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # of a PNG by its colour type
DAMAGED = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error)
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
    labels = convert_to_labels(values, path)
    return Mask(labels, choose_grid_without_geometry(labels.shape, reference, path))


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


def save_picture(path: Path, pixels: np.ndarray) -> None:
    """Write uint8 pixels, (H, W) grey or (H, W, 3), as a PNG that is whole or absent.

    Raises:
        OutputError: the disk refused.
    """
    with replacing(path) as temporary:
        Picture.fromarray(np.ascontiguousarray(pixels)).save(temporary, format="PNG")


def _picture_of(mask: Mask) -> Picture.Image:
    if mask.grid.shape[0] != 1:
        raise OutputError(
            f"a mask of {mask.grid.shape[0]} slices for a PNG",
            expected="one slice",
            fix="write .nii.gz, .nrrd, .mha or .tif instead",
        )
    labels, ids = narrow_labels(mask.labels[0]), mask.ids
    if ids in ((), (1,)):
        return Picture.fromarray(np.where(labels > 0, np.uint8(255), np.uint8(0)))
    if ids[-1] > 65535:
        raise OutputError(
            f"label {ids[-1]} for a PNG", expected="labels up to 65535", fix="renumber them, or write .nii.gz"
        )
    if ids == (65535,):
        raise OutputError(
            f"label {ids[-1]} alone for a PNG", expected="a label that reads back", fix="renumber it, or write .nii.gz"
        )
    if ids[-1] > 255:
        return Picture.fromarray(labels.astype(np.uint16))
    picture = Picture.fromarray(labels.astype(np.uint8), mode="P")
    colors = [(0, 0, 0), *(choose_color(i, mask.colors) for i in range(1, 256))]
    picture.putpalette([value for color in colors for value in color])
    return picture


def _pixels(path: Path, max_bytes: int, *, labels: bool) -> np.ndarray:
    """(1, H, W) or (1, H, W, 3); for labels, palette indices and grey values with 0 and 255 alone read as 0 and 1."""
    kind, magic, opened = KINDS[path.suffix.lower()]
    first = read_head(path, 540)
    if not first.startswith(magic):
        raise explain_other_content(path, first, f"a {kind} picture")
    with guarded(path, f"a whole {kind} picture"):
        try:
            with opened(path) as picture:
                _refuse_oversized(picture, path, first, max_bytes)
                _refuse_unreadable(picture, path)
                if kind == "PNG" and first[24] == 16 and picture.mode not in ("I", "I;16", "I;16B"):
                    return _deep_png(path, labels=labels)  # Pillow would cut 16-bit colours to 8
                if kind == "BMP" and picture.mode == "1":
                    _read_whole_bytes(picture, int.from_bytes(first[28:30], "little"))
                picture.load()
                ImageOps.exif_transpose(picture, in_place=True)
                return _label_values(picture, path) if labels else _image_values(picture)
        except DAMAGED as error:
            raise InputFileError(
                f"{path} cannot be read to its end ({str(error)[:120]})",
                expected=f"a whole {kind} picture",
                fix="copy or export it again",
            ) from None


def _refuse_oversized(picture: ImageFile.ImageFile, path: Path, first: bytes, max_bytes: int) -> None:
    """Compare what is declared with what is stored as packed bits, and with what may be taken as pixels in memory."""
    stored = path.stat().st_size
    pixels = picture.width * picture.height
    bands = len(picture.getbands())
    if picture.format == "PNG":
        packed = picture.height * ((picture.width * first[24] * CHANNELS.get(first[25], 1) + 7) // 8)
        if packed > DEFLATE_RATIO * stored:  # also of a small picture: Pillow leaves the rows that are missing black
            raise InputFileError(
                f"{path} declares {picture.width} x {picture.height} pixels in {stored} bytes",
                expected="all the pixels that the header declares",
                fix="the file is truncated or its header is wrong: copy or export it again",
            )
    elif picture.format == "BMP" and int.from_bytes(first[30:34], "little") in (0, 3) and len(first) > 34:
        refuse_oversized(path, pixels * int.from_bytes(first[28:30], "little") // 8, stored, max_bytes=max_bytes)
    in_memory = pixels * (2 * bands if first[24] == 16 or picture.mode.startswith("I;16") else 4 if bands > 1 else 1)
    refuse_oversized(path, in_memory, stored, encoding="bzip2", max_bytes=max_bytes)


def _refuse_unreadable(picture: Picture.Image, path: Path) -> None:
    if picture.format == "PNG" and getattr(picture, "n_frames", 1) > 1:
        raise InputFileError(f"{path} is animated", expected="one picture", fix="save the frame you mean")
    if picture.mode not in PLAIN:
        raise InputFileError(
            f"{path} is a {picture.mode} picture",
            expected="grey, RGB or palette",
            fix="convert it to RGB with its colour profile",
        )


def _read_whole_bytes(picture: ImageFile.ImageFile, bits: int) -> None:
    """Correct Pillow, which takes the pixels of a black and white BMP for bits where the file has a byte for each."""
    if bits == 8:
        picture.tile = [tile._replace(args=("1;8", *(tile.args or ())[1:])) for tile in picture.tile]
    elif bits != 1:
        raise ValueError(f"{bits} bits a pixel for two colours")


def _deep_png(path: Path, *, labels: bool) -> np.ndarray:
    import imagecodecs

    try:
        values: np.ndarray = imagecodecs.png_decode(path.read_bytes())[None]
    except RuntimeError as error:
        raise ValueError(str(error)) from None
    return _take_png_labels(values) if labels else lay_on_black(values)


def _image_values(picture: Picture.Image) -> np.ndarray:
    if picture.mode not in ("P", "PA"):
        shown = {"1": "L", "YCbCr": "RGB"}.get(picture.mode, picture.mode)
        return _in_bands(picture, lambda band: lay_on_black(_native(np.asarray(band.convert(shown)))))
    mode = "RGBA" if picture.mode == "PA" or "transparency" in picture.info else "RGB"
    values = _in_bands(picture, lambda band: lay_on_black(np.asarray(band.convert(mode))[None]))
    return values[..., 0].copy() if _is_grey(values) else values


def _label_values(picture: Picture.Image, path: Path) -> np.ndarray:
    values = _in_bands(picture, lambda band: _native(np.asarray(band)))
    if picture.mode == "P":
        return read_palette_labels(values.astype(np.uint8, copy=False), _palette_of(picture), path)
    return _take_png_labels(values)


def _palette_of(picture: Picture.Image) -> np.ndarray:
    """(N, 3) uint8 of the entries that the file has, laid on black."""
    count = len(picture.getpalette() or ()) // 3
    entries = Picture.fromarray(np.arange(count, dtype=np.uint8)[None], mode="P")
    entries.putpalette(picture.getpalette() or [])
    entries.info = picture.info
    mode = "RGBA" if "transparency" in picture.info else "RGB"
    return np.asarray(lay_on_black(np.asarray(entries.convert(mode))[None])[0, 0])


def _in_bands(picture: Picture.Image, take: Callable[[Picture.Image], np.ndarray]) -> np.ndarray:
    """Take a picture over in bands of rows; `take` gives (1, h, W) or (1, h, W, C) of each."""
    rows = max(BAND_PIXELS // picture.width, 1)
    values: np.ndarray | None = None
    for top in range(0, picture.height, rows):
        band = take(picture.crop((0, top, picture.width, min(top + rows, picture.height))))
        if values is None:
            values = np.empty((1, picture.height, *band.shape[2:]), dtype=band.dtype)
        values[:, top : top + rows] = band
    assert values is not None  # noqa: S101 - a picture has a row
    return values


def _native(values: np.ndarray) -> np.ndarray:
    return values.astype(values.dtype.newbyteorder("="), copy=False)[None]


def _is_grey(values: np.ndarray) -> bool:
    """Whether all channels of (D, H, W, C) are equal."""
    return all((band[..., :1] == band).all() for band in iter_bands(values))


def _take_png_labels(values: np.ndarray) -> np.ndarray:
    """As take_labels; 16-bit pictures of 0 and 255 or of 0 and 65535 alone become 0 and 1 too."""
    labels = take_labels(values)
    if labels.ndim == 3 and labels.dtype == np.uint16:
        used = {0, *find_used(labels).tolist()}
        if used in ({0, 255}, {0, 65535}):
            return (labels > 0).view(np.uint8)
    return labels


def take_labels(values: np.ndarray) -> np.ndarray:
    """Take grey values as labels; 8-bit pictures of 0 and 255 alone become 0 and 1, grey kept as RGB becomes grey.

    Args:
        values: (D, H, W), or (D, H, W, C) with equal channels; opaque alpha is dropped.

    Returns:
        (D, H, W); or the values as they came where they are real colours, for the caller to refuse.
    """
    if values.ndim == 4 and values.shape[-1] in (2, 4):
        top = np.iinfo(values.dtype).max
        if all((band[..., -1] == top).all() for band in iter_bands(values)):
            values = values[..., :-1]
    if values.ndim == 4 and _is_grey(values):
        values = values[..., 0]
    if values.dtype == bool:
        return values.astype(np.uint8)  # not as a view: Pillow stores True as 255
    if values.ndim == 3 and values.dtype == np.uint8 and set(find_used(values).tolist()) <= {0, 255}:
        return (values > 0).view(np.uint8)
    return values


def lay_on_black(values: np.ndarray) -> np.ndarray:
    """Lay (D, H, W, 2) grey or (D, H, W, 4) colour with straight alpha on black; other shapes pass."""
    if values.ndim < 4 or values.shape[-1] not in (2, 4):
        return values
    top = np.iinfo(values.dtype).max
    shown = np.empty((*values.shape[:-1], values.shape[-1] - 1), dtype=values.dtype)
    for band, band_shown in zip(iter_bands(values), iter_bands(shown), strict=True):
        band_shown[...] = (band[..., :-1].astype(np.uint32) * band[..., -1:] + top // 2) // top
    return shown[..., 0] if shown.shape[-1] == 1 else shown
