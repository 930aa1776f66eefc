"""Stored DICOM pixels to values: decompressed, padded bits cleared, rescaled, colour as RGB, white-is-low inverted.

Shape legend: D frames, H rows, W columns.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.encaps import get_frame
from pydicom.pixels import apply_color_lut, apply_modality_lut, convert_color_space, get_decoder
from pydicom.pixels.decoders.base import Decoder
from pydicom.uid import (
    UID,
    JPEG2000TransferSyntaxes,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSTransferSyntaxes,
    JPEGTransferSyntaxes,
    RLELossless,
)

from medsam.errors import InputFileError, MissingDependencyError
from medsam.io.dicom.attributes import read_number, read_parts, require_whole
from medsam.io.dicom.bits import BitLayout, read_layout, take_decoded, take_pixels
from medsam.io.dicom.files import RECOPY, guard_parsing
from medsam.io.dicom.planes import Plane
from medsam.io.limits import MAX_BYTES, say_size

# Which decoder is asked first; what it cannot do goes to the next. GDCM is not among them: a damaged lossless JPEG
# ends the whole process there (an exception of its own that nobody catches).
PLUGINS = ("pylibjpeg", "pyjpegls", "pillow", "pydicom")
CODECS = (
    (frozenset({RLELossless}), "pylibjpeg pylibjpeg-rle"),
    (frozenset(JPEGLSTransferSyntaxes), "pyjpegls"),
    (frozenset(JPEG2000TransferSyntaxes), "pylibjpeg pylibjpeg-openjpeg"),
    (frozenset(JPEGTransferSyntaxes), "pillow imagecodecs"),
)
TURBO = frozenset({JPEGExtended12Bit, JPEGLossless, JPEGLosslessSV1})  # decoded by libjpeg-turbo, through imagecodecs
INT_TYPES = (np.int16, np.int32)
HUGE_FRAME_BYTES = 256 << 20  # a frame above it must be at least 1/200 of its size on disk
FRAME_RATIO = 200


def read_values(planes: Sequence[Plane]) -> np.ndarray:
    """Decode frames of one size into one array, in the order given.

    Args:
        planes: Frames of equal shape; may come from one or many objects.

    Returns:
        (D, H, W), or (D, H, W, 3) for colour. Whole-number slopes and intercepts give uint8, int16 or int32, others
        float32. MONOCHROME1 is inverted within its stored range; padding is never above the lowest true value.

    Raises:
        InputFileError: pixels are damaged, cut off, or of a kind that is not an image.
        MissingDependencyError: no decoder for the compression is installed.
    """
    declared = len(planes) * int(np.prod(planes[0].shape)) * 2
    if declared > MAX_BYTES:
        raise InputFileError(
            f"{planes[0].instance.name} and its series declare {say_size(declared)} of pixels",
            expected=f"at most {say_size(MAX_BYTES)}",
            fix="check where the files come from, or split them",
        )
    values: np.ndarray | None = None
    for index, frame in _frames(planes):
        if values is None:
            values = np.zeros((len(planes), *frame.shape), dtype=_common_type(planes, frame))
        if frame.shape != values.shape[1:]:
            raise InputFileError(
                f"{planes[index].instance.name} has frames of several shapes", expected="one", fix=RECOPY
            )
        if np.result_type(frame, values) != values.dtype:
            values = values.astype(np.result_type(frame, values))
        values[index] = frame
    assert values is not None  # noqa: S101 - there is at least one plane
    return values


def _common_type(planes: Sequence[Plane], frame: np.ndarray) -> np.dtype[np.generic]:
    whole = all(plane.slope.is_integer() and plane.intercept.is_integer() for plane in planes)
    return frame.dtype if whole or frame.ndim == 3 else np.result_type(frame, np.float32)


def _frames(planes: Sequence[Plane]) -> Iterator[tuple[int, np.ndarray]]:
    """Each frame's index and values, loading every object once."""
    wanted: dict[int, list[int]] = {}
    for index, plane in enumerate(planes):
        wanted.setdefault(id(plane.instance), []).append(index)
    for indices in wanted.values():
        instance = planes[indices[0]].instance
        dataset = instance.load()
        with guard_parsing(instance.name, "has pixels that cannot be decoded"):
            decoder = _decoder(dataset, instance.name)
            for index in indices:
                yield index, _frame(dataset, decoder, planes[index])


def _decoder(dataset: Dataset, name: str) -> Decoder:
    meta = getattr(dataset, "file_meta", None) or {}
    syntax = UID(str(meta.get("TransferSyntaxUID") or "1.2.840.10008.1.2.1"))
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError:
        raise InputFileError(
            f"{name} is compressed as {syntax.name[:80]}",
            expected="a still-image compression of DICOM",
            fix="convert it first",
        ) from None
    if decoder.is_encapsulated and syntax not in TURBO and not _plugins(decoder):
        package = next((package for syntaxes, package in CODECS if syntax in syntaxes), "pylibjpeg pylibjpeg-openjpeg")
        raise MissingDependencyError(
            f"{name} is compressed as {syntax.name[:80]}",
            expected="a decoder for it",
            fix=f"run: pip install {package}",
        )
    return decoder


def _frame(dataset: Dataset, decoder: Decoder, plane: Plane) -> np.ndarray:
    if decoder.is_encapsulated:
        _refuse_other_size(dataset, decoder.UID, plane)
    stored, kind = _decoded(dataset, decoder, plane)
    if stored.shape != (plane.shape if plane.shape[2] == 3 else plane.shape[:2]):
        raise InputFileError(
            f"{plane.instance.name} decodes to {stored.shape} pixels", expected=f"{plane.shape}", fix=RECOPY
        )
    if kind == "PALETTE COLOR":
        colours = apply_color_lut(stored, dataset)[..., :3]
        return np.asarray(colours >> 8 if colours.dtype.itemsize == 2 else colours, dtype=np.uint8)
    if plane.shape[2] == 3:
        return stored
    if kind not in ("MONOCHROME1", "MONOCHROME2"):
        raise InputFileError(
            f"{plane.instance.name} has one sample of a colour image",
            expected="grey, palette or RGB",
            fix="convert it first",
        )
    return _grey(stored, dataset, plane, inverted=kind == "MONOCHROME1")


def _plugins(decoder: Decoder) -> list[str]:
    return [plugin for plugin in PLUGINS if plugin in decoder.available_plugins]


def _decoded(dataset: Dataset, decoder: Decoder, plane: Plane) -> tuple[np.ndarray, str]:
    """One frame's pixels and what they mean (the photometric interpretation)."""
    if "PixelData" not in dataset:  # floating point
        array, found = decoder.as_array(dataset, index=plane.frame)
        return array, str(found["photometric_interpretation"])
    layout = read_layout(dataset, plane.instance.name)
    if layout.shift:
        return _shifted(dataset, decoder, plane, layout)
    if not decoder.is_encapsulated:
        array, found = decoder.as_array(dataset, index=plane.frame)
        return array, str(found["photometric_interpretation"])
    if decoder.UID in TURBO:
        array, kind = _turbo(_stream(dataset, plane.frame), dataset)
    else:
        array, kind = _unpacked(dataset, decoder, plane)
    if plane.shape[2] != 1 or RLELossless == decoder.UID:  # RLE packs whole cells, whose other bits pydicom clears
        return array, kind
    return take_decoded(array, layout, plane.instance.name), kind


def _unpacked(dataset: Dataset, decoder: Decoder, plane: Plane) -> tuple[np.ndarray, str]:
    order = _plugins(decoder)
    for number, plugin in enumerate(order, start=1):
        try:
            array, found = decoder.as_array(dataset, index=plane.frame, decoding_plugin=plugin)
        except (RuntimeError, ValueError):
            if number == len(order):
                raise
        else:
            return array, str(found["photometric_interpretation"])
    raise ValueError("no decoder")


def _shifted(dataset: Dataset, decoder: Decoder, plane: Plane, layout: BitLayout) -> tuple[np.ndarray, str]:
    """Pixels that do not begin at the lowest bit of their cells; only cells that are stored as they are can be cut."""
    if plane.shape[2] != 1 or (decoder.is_encapsulated and RLELossless != decoder.UID):
        raise InputFileError(
            f"{plane.instance.name} has HighBit {layout.high} with BitsStored {layout.stored}",
            expected="BitsStored - 1 for colour and for a compression that keeps no cells",
            fix=RECOPY,
        )
    plugin = {"decoding_plugin": _plugins(decoder)[0]} if decoder.is_encapsulated else {}
    cells, found = decoder.as_array(
        dataset, index=plane.frame, bits_stored=layout.allocated, pixel_representation=0, **plugin
    )
    return take_pixels(cells, layout), str(found["photometric_interpretation"])


def _stream(dataset: Dataset, frame: int) -> bytes:
    """The compressed bytes of one frame."""
    count = int(read_number(dataset, "NumberOfFrames")) or 1
    table, lengths = dataset.get("ExtendedOffsetTable"), dataset.get("ExtendedOffsetTableLengths")
    extended = None if table is None or lengths is None else (table, lengths)
    return bytes(get_frame(dataset.PixelData, frame, number_of_frames=count, extended_offsets=extended))


def _turbo(stream: bytes, dataset: Dataset) -> tuple[np.ndarray, str]:
    """Decode an extended or lossless JPEG of any depth."""
    import imagecodecs

    kind = str(dataset.PhotometricInterpretation)
    if int(dataset.get("SamplesPerPixel") or 1) == 3:
        # Declared as what comes out, so that nothing is converted on the way.
        array = np.asarray(imagecodecs.jpeg_decode(stream, colorspace="RGB", outcolorspace="RGB"))
        return (convert_color_space(array, "YBR_FULL", "RGB"), "RGB") if kind.startswith("YBR") else (array, kind)
    return np.asarray(imagecodecs.jpeg_decode(stream)), kind


def _refuse_other_size(dataset: Dataset, syntax: UID, plane: Plane) -> None:
    """Refuse a compressed frame that would unfold to another size than the header's, before it is unfolded."""
    name, stream = plane.instance.name, _stream(dataset, plane.frame)
    unfolded = int(np.prod(plane.shape)) * require_whole(dataset, "BitsAllocated", name) // 8
    size = plane.shape[:2] if syntax == RLELossless else read_codestream_size(stream)
    if size != plane.shape[:2] or unfolded > max(HUGE_FRAME_BYTES, FRAME_RATIO * len(stream)):
        holds = f"{size[0]} x {size[1]}" if size and size != plane.shape[:2] else "cannot hold them"
        raise InputFileError(
            f"{name} declares {plane.shape[0]} x {plane.shape[1]} pixels, its {len(stream)} compressed bytes {holds}",
            expected="the same size in both",
            fix=RECOPY,
        )


def read_codestream_size(stream: bytes) -> tuple[int, int] | None:
    """Rows and columns that a JPEG, JPEG-LS or JPEG 2000 stream declares; None if it does not say."""
    start = stream.find(b"\xff\x4f\xff\x51", 0, 4096)  # SOC and SIZ of JPEG 2000, perhaps inside a JP2 box
    if start >= 0 and not stream.startswith(b"\xff\xd8"):
        width, height, left, top = (int.from_bytes(stream[start + i : start + i + 4], "big") for i in (8, 12, 16, 20))
        return height - top, width - left
    at = 2
    while stream.startswith(b"\xff\xd8") and at + 9 < len(stream) and stream[at] == 0xFF:
        marker = stream[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
        elif marker == 0xF7 or (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)):
            return int.from_bytes(stream[at + 5 : at + 7], "big"), int.from_bytes(stream[at + 7 : at + 9], "big")
        else:
            at += 2 + int.from_bytes(stream[at + 2 : at + 4], "big")
    return None


def _grey(stored: np.ndarray, dataset: Dataset, plane: Plane, *, inverted: bool) -> np.ndarray:
    if dataset.get("ModalityLUTSequence"):
        values = np.asarray(apply_modality_lut(stored, dataset), dtype=np.float32)
        low, high = float(values.min()), float(values.max())
    else:
        low, high = find_value_range(dataset, plane)
        values = _rescaled(stored, plane)
    if inverted:
        values = _compact(low + high - values.astype(np.float64), values.dtype)
    padding = _padding(stored, dataset)
    if padding is not None and padding.any() and not padding.all():
        values = values if values.flags.writeable else values.copy()
        values[padding] = np.minimum(values[padding], values[~padding].min())
    return values


def find_value_range(dataset: Dataset, plane: Plane) -> tuple[float, float]:
    """Lowest and highest value that the stored bits can mean."""
    layout = read_layout(dataset, plane.instance.name)
    half = 2.0 ** (layout.stored - 1)
    ends = (-half, half - 1) if layout.signed else (0.0, 2 * half - 1)
    low, high = sorted(end * plane.slope + plane.intercept for end in ends)
    return low, high


def _rescaled(stored: np.ndarray, plane: Plane) -> np.ndarray:
    slope, intercept = plane.slope, plane.intercept
    same = slope == 1 and intercept == 0
    if same and stored.dtype in (np.uint8, np.int16):
        return stored
    if stored.dtype.kind not in "iu" or not (slope.is_integer() and intercept.is_integer()):
        exact = np.float32 if stored.dtype.itemsize <= 2 or stored.dtype == np.float32 else np.float64
        return np.asarray(stored.astype(np.float64) * slope + intercept, dtype=exact)
    ends = [int(end) * int(slope) + int(intercept) for end in (stored.min(), stored.max())]
    kind = next(
        (kind for kind in INT_TYPES if np.iinfo(kind).min <= min(ends) and max(ends) <= np.iinfo(kind).max), None
    )
    if kind is None:
        return np.asarray(stored.astype(np.float64) * slope + intercept)
    # Wrapping is harmless: the result fits, whatever the steps between did.
    scaled: np.ndarray = stored.astype(kind) * np.array(int(slope)).astype(kind)
    return np.asarray(scaled + np.array(int(intercept)).astype(kind))


def _compact(values: np.ndarray, like: np.dtype[np.generic]) -> np.ndarray:
    """Whole numbers back to the smallest of int16 and int32 that holds them; uint8 and floats to what they were."""
    if like.kind == "f" or (like == np.uint8 and values.min() >= 0 and values.max() <= 255):
        return values.astype(like)
    return values.astype(
        np.result_type(np.min_scalar_type(int(values.min())), np.min_scalar_type(int(values.max())), np.int16)
    )


def _padding(stored: np.ndarray, dataset: Dataset) -> NDArray[np.bool_] | None:
    """Where the pixels are padding: PixelPaddingValue, or from it to PixelPaddingRangeLimit."""
    if not read_parts(dataset, "PixelPaddingValue"):
        return None
    first = read_number(dataset, "PixelPaddingValue", np.nan)
    last = read_number(dataset, "PixelPaddingRangeLimit", first)
    return np.asarray((stored >= min(first, last)) & (stored <= max(first, last)))
