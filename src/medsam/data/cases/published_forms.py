"""Forms in which some sets publish annotations and pictures: XML outlines, OsiriX property lists, LIDC readings, raw pixels."""

from __future__ import annotations

import plistlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture
from PIL import ImageDraw

from medsam.errors import InputFileError
from medsam.imaging.image import Grid, Image, Mask
from medsam.imaging.modality import Modality

RAW_SIDE = 2048
LIDC_READERS = 2  # voxels that at least two of the four readers marked
MAX_XML_BYTES = 1 << 28


def read_raw(path: Path, modality: Modality) -> Image:
    """2048 x 2048 big-endian 16-bit pixels without a header, as JSRT; 12 bits, turned so that bone is bright.

    Raises:
        InputFileError: missing or of another size.
    """
    expected = RAW_SIDE * RAW_SIDE * 2
    size = path.stat().st_size if path.is_file() else 0
    if size != expected:
        raise InputFileError(f"{path} has {size} bytes", expected=f"{expected}", fix="copy it again")
    stored = np.fromfile(path, dtype=">u2").reshape(1, RAW_SIDE, RAW_SIDE)
    return Image((4095 - np.minimum(stored, 4095)).astype(np.uint16), Grid(stored.shape), modality=modality)


def read_npy(path: Path) -> np.ndarray:
    """An array of numbers, never unpickled.

    Raises:
        InputFileError: not such a file.
    """
    try:
        values = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputFileError(
            f"{path} cannot be read ({type(error).__name__})", expected="an npy file of numbers", fix="write it again"
        ) from None
    return np.asarray(values)


def read_npy_image(path: Path, modality: Modality) -> Image:
    """A slice of the released pre-processing: (H, W) or (H, W, 3), floats in [0, 1] or uint8.

    Raises:
        InputFileError: anything else.
    """
    values = read_npy(path)
    floats = values.dtype.kind == "f"
    if values.ndim not in (2, 3) or values.shape[2:] not in ((), (3,)) or not (floats or values.dtype == np.uint8):
        raise InputFileError(
            f"{path} holds {values.dtype} of shape {values.shape}", expected="(H, W, 3) in [0, 1]", fix="write it again"
        )
    if floats and not (np.isfinite(values).all() and values.min() >= 0 and values.max() <= 1):
        raise InputFileError(f"{path} has values outside [0, 1]", expected="(H, W, 3) in [0, 1]", fix="write it again")
    pixels = np.rint(values * 255).astype(np.uint8) if floats else values
    return Image(pixels[None], Grid((1, *pixels.shape[:2])), modality=modality, normalized=True)


def read_npy_mask(path: Path) -> Mask:
    """(H, W) labels.

    Raises:
        InputFileError: anything else.
    """
    values = read_npy(path)
    if values.ndim != 2 or values.dtype.kind not in "ui" or (values.size and values.min() < 0):
        raise InputFileError(
            f"{path} holds {values.dtype} of shape {values.shape}", expected="(H, W) labels", fix="write it again"
        )
    return Mask(values[None], Grid((1, *values.shape)))


def read_gif(path: Path) -> Mask:
    """The first frame of a GIF as labels.

    Raises:
        InputFileError: not a GIF.
    """
    try:
        with Picture.open(path, formats=["GIF"]) as picture:
            labels = np.asarray(picture.convert("L"))[None]
    except (OSError, SyntaxError, ValueError) as error:
        raise InputFileError(
            f"{path} cannot be read ({type(error).__name__})", expected="a GIF", fix="copy it again"
        ) from None
    return Mask(labels, Grid(labels.shape))


def read_outlines(path: Path, grid: Grid) -> Mask:
    """Objects drawn as outlines in an Aperio XML or an OsiriX property list, numbered from 1 in the file's order.

    Raises:
        InputFileError: not such a file.
    """
    return draw_outlines(load_outlines(path), grid)


def load_outlines(path: Path) -> list[NDArray[np.float64]]:
    """The outlines of such a file, each (P, 2) x y in pixels.

    Raises:
        InputFileError: not such a file.
    """
    root = _parse(path)
    return list(_osirix(path) if root.tag == "plist" else _aperio(root))


def draw_outlines(outlines: Sequence[NDArray[np.float64]], grid: Grid) -> Mask:
    """Outlines filled on a single slice; object i is label i + 1."""
    labels = np.zeros(grid.shape, dtype=np.uint16)
    for number, points in enumerate(outlines, start=1):
        labels[0][_filled(points, grid.shape[1:])] = number
    return Mask(labels, grid)


def _parse(path: Path) -> ElementTree.Element:
    size = path.stat().st_size
    content = path.read_bytes() if size <= MAX_XML_BYTES else b""
    if not content or b"<!ENTITY" in content:
        raise InputFileError(
            f"{path} has {size} bytes or declares entities", expected="a plain XML file", fix="copy it again"
        )
    try:
        return ElementTree.fromstring(content)  # noqa: S314 - no entities, see above
    except ElementTree.ParseError as error:
        raise InputFileError(f"{path} is not XML ({error})", expected="an XML file", fix="copy it again") from None


def _aperio(root: ElementTree.Element) -> Iterator[NDArray[np.float64]]:
    for region in root.iter("Region"):
        points = [(float(v.get("X", "nan")), float(v.get("Y", "nan"))) for v in region.iter("Vertex")]
        if len(points) >= 3:
            yield np.array(points)


def _osirix(path: Path) -> Iterator[NDArray[np.float64]]:
    """Outlines of a property list; points are texts as "(10.5, 20.25)"."""
    with path.open("rb") as file:
        content = plistlib.load(file)
    for image in content.get("Images", []):
        for region in image.get("ROIs", []):
            points = [re.findall(r"-?\d+(?:\.\d+)?", text) for text in region.get("Point_px", [])]
            if len(points) >= 3:
                yield np.array([(float(x), float(y)) for x, y, *_ in points])


def _filled(points_P2: NDArray[np.float64], shape: Sequence[int]) -> NDArray[np.bool_]:
    canvas = Picture.new("1", (shape[1], shape[0]))
    ImageDraw.Draw(canvas).polygon([(float(x), float(y)) for x, y in points_P2], fill=1, outline=1)
    return np.asarray(canvas)


def read_lidc(paths: Sequence[Path], image: Path, grid: Grid) -> Mask:
    """Nodules of an LIDC reading: voxels inside the outlines of at least two readers.

    Outlines are one pixel outside the nodule, so their own pixels do not count (LIDC annotation rules).

    Raises:
        InputFileError: not such a file, or an outline on a slice that is not there.
    """
    votes = np.zeros(grid.shape, dtype=np.uint8)
    index_of = _slices_by_uid(image, grid)
    for path in paths:
        for session in _named(_parse(path), "readingSession"):
            marked = np.zeros(grid.shape, dtype=bool)
            for roi in _named(session, "roi"):
                _mark(roi, marked, index_of, path)
            votes += marked
    return Mask((votes >= LIDC_READERS).astype(np.uint8), grid)


def _mark(roi: ElementTree.Element, marked: NDArray[np.bool_], index_of: dict[str, int], path: Path) -> None:
    uid = _text(roi, "imageSOP_UID")
    if uid not in index_of:
        raise InputFileError(
            f"{path} outlines a slice that is not in the series",
            expected="the reading of this series",
            fix="copy the scan again",
        )
    points = np.array([(float(_text(e, "xCoord")), float(_text(e, "yCoord"))) for e in _named(roi, "edgeMap")])
    if len(points) < 3:
        return
    plane = marked[index_of[uid]]
    edge = np.zeros_like(plane)
    x, y = points.astype(int).T
    edge[np.clip(y, 0, edge.shape[0] - 1), np.clip(x, 0, edge.shape[1] - 1)] = True
    inside = _filled(points, edge.shape) & ~edge
    plane[inside] = _text(roi, "inclusion").upper() != "FALSE"


def _named(element: ElementTree.Element, name: str) -> Iterator[ElementTree.Element]:
    """Elements of a name in any namespace."""
    return (child for child in element.iter() if child.tag.rpartition("}")[2] == name)


def _text(element: ElementTree.Element, name: str) -> str:
    return next((child.text or "" for child in _named(element, name)), "").strip()


def _slices_by_uid(folder: Path, grid: Grid) -> dict[str, int]:
    return {uid: index for _, uid, index in _slices(folder, grid)}


def order_slices(folder: Path, grid: Grid) -> list[int]:
    """For the DICOM files of a folder in the order of their names: the slice of the volume each one is."""
    return [index for _, _, index in _slices(folder, grid)]


def _slices(folder: Path, grid: Grid) -> list[tuple[str, str, int]]:
    """(file name, SOP instance UID, slice) of the DICOM files of a folder that lie on a grid."""
    import pydicom
    from pydicom.errors import InvalidDicomError

    out = []
    for path in sorted(p for p in folder.iterdir() if p.is_file()):
        try:
            header = pydicom.dcmread(
                path, stop_before_pixels=True, specific_tags=["SOPInstanceUID", "ImagePositionPatient"]
            )
        except InvalidDicomError:
            continue
        if "ImagePositionPatient" in header:
            index = grid.to_index(np.array(header.ImagePositionPatient, dtype=float))[0]
            out.append((path.name, str(header.SOPInstanceUID), int(index[0] + 0.5)))
    return out
