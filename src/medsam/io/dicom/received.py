"""Whether an object that came from an archive is whole and is of the series that was asked for."""

from __future__ import annotations

import struct
from pathlib import Path

from pydicom.dataset import Dataset

from medsam.errors import InputFileError
from medsam.io.dicom.files import FileSource, Instance, guard_parsing, read_instance, read_object
from medsam.io.dicom.planes import count_native_bytes

MAX_FRAGMENTS = 1 << 20
_ITEM, _END = 0xE000FFFE, 0xE0DDFFFE  # group and element, as two little-endian words


def check_received(path: Path, study: str, series: str) -> str:
    """Check a received file before it is called fetched.

    Args:
        path: The file.
        study: StudyInstanceUID that was asked for.
        series: SeriesInstanceUID that was asked for.

    Returns:
        Its SOPInstanceUID, which no message may repeat.

    Raises:
        InputFileError: no DICOM file, cut off, with fewer pixels than it declares, or of another series.
    """
    instance = read_instance(FileSource(path.name, path, path.stat().st_size))
    header: Dataset = read_object(path) if instance is None else instance.header
    with guard_parsing(path.name):
        found = tuple(str(header.get(name, "")) for name in ("StudyInstanceUID", "SeriesInstanceUID"))
        uid = str(header.get("SOPInstanceUID", ""))
        if instance is not None:
            _check_pixels(path, instance)
    if found != (study, series) or not uid:
        raise InputFileError(
            f"{path.name} is of another series", expected="the series that was asked for", fix="fetch it again"
        )
    return uid


def _check_pixels(path: Path, instance: Instance) -> None:
    header = instance.header
    frames = int(header.get("NumberOfFrames") or 1)
    if instance.encapsulated:
        if _count_fragments(path, path.stat().st_size - instance.pixel_bytes) >= frames:
            return
    elif 0 < count_native_bytes(header, frames) <= instance.pixel_bytes:
        return
    raise InputFileError(
        f"{path.name} holds fewer pixels than it declares", expected="a whole file", fix="fetch it again"
    )


def _count_fragments(path: Path, start: int) -> int:
    """Pieces of compressed pixels that lie whole in the file; 0 where their end is missing.

    Source: DICOM PS3.5, A.4.
    """
    size, place, items = path.stat().st_size, start + 12, 0  # the element's tag, VR and length come first
    with path.open("rb") as file:
        while place + 8 <= size and items <= MAX_FRAGMENTS:
            file.seek(place)
            tag, length = struct.unpack("<II", file.read(8))
            if tag == _END:
                return items - 1  # the first item is the offset table
            if tag != _ITEM:
                return 0
            place, items = place + 8 + length, items + 1
    return 0
