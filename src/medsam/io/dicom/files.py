"""DICOM files as they lie in a folder, a zip or alone: found, opened and their headers read, none of them trusted.

Nothing is extracted to disk, no name inside a file or an archive is joined to a path, and no message repeats a value of
a header: a patient's name may stand in any of them.
"""

from __future__ import annotations

import io
import logging
import os
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.filereader import read_dataset
from pydicom.tag import Tag
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    UID_dictionary,
)

from medsam.errors import InputFileError
from medsam.io.dicom.bounded_reader import BoundedReader
from medsam.io.dicom.inflate import INFLATED_FLOOR, INFLATED_RATIO, Inflated

# What a parser may raise on bytes nobody vouches for; MedsamError is none of them and passes.
PARSE_ERRORS = (
    ArithmeticError, AssertionError, AttributeError, BufferError, BytesLengthException, EOFError, ImportError,
    InvalidDicomError, LookupError, MemoryError, OSError, RuntimeError, TypeError, ValueError, struct.error,
    zipfile.BadZipFile, zlib.error,
)  # fmt: skip
SUFFIXES = (".dcm", ".dicom", ".ima")
PIXEL_TAGS = frozenset((0x7FE00008, 0x7FE00009, 0x7FE00010))
MAX_MEMBER_BYTES = 4 << 30
MAX_ARCHIVE_BYTES = 64 << 30
MAX_MEMBERS = 100_000
UNDEFINED_LENGTH = 0xFFFFFFFF
RECOPY = "copy or export it again"
UNPACK = "unpack it yourself and pass the folder"


@dataclass(frozen=True)
class FileSource:
    """Where the bytes of one file are.

    Args:
        name: File name for messages, without its folder.
        path: The file, or the archive that holds it.
        size: Bytes, uncompressed.
        archive: The open archive, None for a plain file; it closes when its last source is forgotten.
        member: The entry of the archive.
    """

    name: str
    path: Path
    size: int
    archive: zipfile.ZipFile | None = None
    member: zipfile.ZipInfo | None = None

    @property
    def claims_dicom(self) -> bool:
        """Whether the name says so; macOS leaves "._NAME" beside files on foreign disks and in zips."""
        return self.name.lower().endswith(SUFFIXES) and not self.name.startswith("._")

    def head(self) -> bytes:
        """The first 132 bytes: preamble and magic."""
        if self.archive is None or self.member is None:
            with self.path.open("rb") as file:
                return file.read(132)
        with self.archive.open(self.member) as packed:
            return packed.read(132)

    @contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """Open for reading from the start, in memory if it comes out of an archive."""
        if self.archive is None or self.member is None:
            with self.path.open("rb") as file:
                yield file
            return
        with self.archive.open(self.member) as packed:
            data = packed.read(self.size + 1)
        if len(data) != self.size:
            raise InputFileError(
                f"{self.name} in {self.path.name} is not as long as the archive says",
                expected="an honest zip",
                fix="make the zip again",
            )
        yield io.BytesIO(data)


@dataclass(frozen=True, eq=False)
class Instance:
    """One DICOM object with pixels.

    Args:
        name: File name for messages.
        header: Everything before the pixels.
        pixel_bytes: Length of the pixel data; for encapsulated pixels, all that the file holds after its header.
        encapsulated: Whether the pixels are compressed.
        load: Gives the header together with the pixels.
    """

    name: str
    header: Dataset
    pixel_bytes: int
    encapsulated: bool
    load: Callable[[], Dataset]


@dataclass(frozen=True)
class Contents:
    """What a path held: the objects with pixels, in file order, and how many files were something else."""

    instances: tuple[Instance, ...]
    ignored: int


@contextmanager
def guard_parsing(name: str, problem: str = "cannot be read as DICOM") -> Iterator[None]:
    """Turn whatever a parser trips over into an InputFileError that names the file and nothing in it."""
    try:
        yield
    except PARSE_ERRORS as error:
        kind = type(error).__name__
    except BaseException as error:
        kind = type(error).__name__
        if kind != "PanicException":  # how decoders written in Rust fail; no subclass of Exception
            raise
    else:
        return
    raise InputFileError(f"{name} {problem} ({kind})", expected="a whole, valid DICOM file", fix=RECOPY)


@contextmanager
def silence_parser() -> Iterator[None]:
    """Keep what pydicom and highdicom log and warn to themselves: they quote header values, the patient's name too."""
    loggers = [logging.getLogger(name) for name in ("pydicom", "highdicom")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"pydicom|highdicom|medsam")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def read_contents(path: Path) -> Contents:
    """Read the headers of a DICOM file, of all DICOM files in a folder and its folders, or of those in a zip.

    Raises:
        InputFileError: a DICOM file, or one named like one, is broken, an archive is not to be trusted, or nothing has pixels.
    """
    candidates = _sources(path)
    alone = path.is_file() and len(candidates) == 1
    found = [instance for source in candidates if (instance := read_instance(source, strict=alone))]
    if not found:
        raise InputFileError(
            f"{path.name} holds no DICOM image ({len(candidates)} other files)",
            expected="DICOM files with pixels",
            fix="check the path",
        )
    return Contents(tuple(found), len(candidates) - len(found))


def _sources(path: Path) -> list[FileSource]:
    if path.is_dir():
        files = sorted(Path(folder) / name for folder, _, names in os.walk(path) for name in names)
        return [FileSource(file.name, file, file.stat().st_size) for file in files if file.is_file()]
    if not path.is_file():
        raise InputFileError(
            f"{path.name} does not exist", expected="an existing file or DICOM folder", fix="check the path"
        )
    packed = zipfile.is_zipfile(path) and not _has_magic(path)
    return _members(path) if packed else [FileSource(path.name, path, path.stat().st_size)]


def _has_magic(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"


def _members(path: Path) -> list[FileSource]:
    with guard_parsing(path.name):
        archive = zipfile.ZipFile(path)
        members = [member for member in archive.infolist() if not member.is_dir()]
    total = sum(member.file_size for member in members)
    if len(members) > MAX_MEMBERS or total > MAX_ARCHIVE_BYTES:
        raise InputFileError(
            f"{path.name} holds {len(members)} files of {total} bytes",
            expected=f"at most {MAX_MEMBERS} files of {MAX_ARCHIVE_BYTES} bytes",
            fix=UNPACK,
        )
    for member in members:
        bound = max(INFLATED_FLOOR, INFLATED_RATIO * member.compress_size)
        if member.file_size > min(bound, MAX_MEMBER_BYTES):
            raise InputFileError(
                f"{path.name} packs {member.file_size} bytes into {member.compress_size}",
                expected=f"a ratio of at most {INFLATED_RATIO}",
                fix=UNPACK,
            )
        if member.flag_bits & 1:
            raise InputFileError(f"{path.name} is encrypted", expected="a zip without a password", fix=UNPACK)
    return [FileSource(Path(member.filename).name, path, member.file_size, archive, member) for member in members]


def read_instance(source: FileSource, *, strict: bool = False) -> Instance | None:
    """Read the header of one file.

    Args:
        source: The file.
        strict: Refuse a file that is not DICOM or has no pixels, instead of giving None.

    Raises:
        InputFileError: it is DICOM by its content or its name, but broken or cut off.
    """
    with guard_parsing(source.name):
        start = source.head()
        plain = start[:4] if len(start) >= 8 else b""
        magic = start[128:] == b"DICM"
        # Files from before 1996 have no preamble and begin with group 0002 or 0008.
        if not magic and plain[:2] not in (b"\x02\x00", b"\x08\x00"):
            if strict or source.claims_dicom:
                raise _not_dicom(source, alone=strict)
            return None
        with source.open() as file:
            return _parse(source, file, strict=strict, legacy=not magic)


def read_object(path: Path, *, last: str | None = None) -> FileDataset:
    """Read one DICOM object of any kind, up to its pixels if it has any.

    Args:
        path: A DICOM file with its file meta information, deflated or not.
        last: Keyword of the last attribute that is needed.

    Raises:
        InputFileError: it is broken, cut off or no DICOM file.
    """
    source = FileSource(path.name, path, path.stat().st_size)
    end = Tag(last) if last is not None else 0xFFFFFFFF
    with guard_parsing(path.name), source.open() as file:
        opened = _opened(source, file, legacy=source.head()[128:] != b"DICM")

        def is_after(tag: int, *_: object) -> bool:
            return tag in PIXEL_TAGS or tag > end

        reader = BoundedReader(path.name, opened.stream)
        return opened.dataset(read_dataset(reader, opened.implicit, opened.little, stop_when=is_after))


def _not_dicom(source: FileSource, *, alone: bool) -> InputFileError:
    """A slice that was lost on the way must not leave a shorter volume behind."""
    return InputFileError(
        f"{source.name} is not a DICOM file" if source.size else f"{source.name} is empty (0 bytes)",
        expected="the letters DICM at byte 128",
        fix="check the path" if alone else f"{RECOPY}, or take it out if it is no slice",
    )


def _parse(source: FileSource, file: BinaryIO, *, strict: bool, legacy: bool) -> Instance | None:
    try:
        opened = _opened(source, file, legacy=legacy)
        seen: list[tuple[int, int]] = []  # head and body length of the element the header ends at

        def at_pixels(tag: int, vr: str | None, length: int) -> bool:
            if tag in PIXEL_TAGS:
                seen.append((8 if vr is None else 12, length))
            return tag in PIXEL_TAGS

        reader = BoundedReader(source.name, opened.stream)
        parsed = read_dataset(reader, opened.implicit, opened.little, stop_when=at_pixels)
    except PARSE_ERRORS:
        if legacy and not strict and not source.claims_dicom:
            return None  # only looked like DICOM
        raise
    header = opened.dataset(parsed)
    if not seen:
        _refuse_without_pixels(source, header, strict=strict, legacy=legacy)
        return None
    offset, (head, length) = opened.stream.tell(), seen[0]
    encapsulated = length == UNDEFINED_LENGTH
    end = opened.size(offset + head + (0 if encapsulated else length))
    if not encapsulated and offset + head + length > end:
        raise InputFileError(
            f"{source.name} is truncated: {max(end - offset - head, 0)} of {length} bytes of pixels",
            expected="a whole file",
            fix=RECOPY,
        )
    size = end - offset if encapsulated else length
    return Instance(source.name, header, size, encapsulated, lambda: _with_pixels(source, header, offset, legacy))


def _refuse_without_pixels(source: FileSource, header: FileDataset, *, strict: bool, legacy: bool) -> None:
    kind = str(header.file_meta.get("MediaStorageSOPClassUID") or header.get("SOPClassUID") or "")
    image = "Rows" in header or "NumberOfFrames" in header
    named = _uid_name(kind)
    if image or (("Image Storage" in named or not kind) and not legacy):
        raise InputFileError(f"{source.name} ends before its pixels", expected="a whole DICOM image", fix=RECOPY)
    if strict:
        raise InputFileError(
            f"{source.name} holds no pixels (it is a {named or 'DICOM file of unknown kind'})",
            expected="a DICOM image",
            fix="pass the folder of the images",
        )


def _uid_name(uid: str) -> str:
    return UID_dictionary[uid][0] if uid in UID_dictionary else ""


@dataclass(frozen=True, eq=False)
class _Opened:
    """A file open at the start of its data set, plain even if it was deflated, and how that is encoded."""

    stream: BinaryIO | Inflated
    meta: FileMetaDataset
    implicit: bool
    little: bool

    def size(self, least: int) -> int:
        """Bytes of the data set from its start to its end; refuses to unfold more than a header may ask for."""
        return self.stream.size(least) if isinstance(self.stream, Inflated) else self.stream.seek(0, io.SEEK_END)

    def dataset(self, *parts: Dataset) -> FileDataset:
        elements = {tag: element for part in parts for tag, element in part._dict.items()}
        whole = FileDataset(io.BytesIO(), elements, b"\0" * 128, self.meta, self.implicit, self.little)
        whole.set_original_encoding(self.implicit, self.little, parts[0]._character_set)
        return whole


def _opened(source: FileSource, file: BinaryIO, *, legacy: bool) -> _Opened:
    file.seek(0 if legacy else 132)
    meta = FileMetaDataset(read_dataset(file, False, True, stop_when=lambda tag, *_: tag >> 16 != 2))
    syntax = UID(str(meta.get("TransferSyntaxUID", "")))
    if not syntax:
        implicit, little = _guessed_encoding(file)
        meta.TransferSyntaxUID = (
            ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian if little else ExplicitVRBigEndian
        )
        return _Opened(file, meta, implicit, little)
    if syntax != DeflatedExplicitVRLittleEndian:
        return _Opened(file, meta, syntax == ImplicitVRLittleEndian, syntax != ExplicitVRBigEndian)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return _Opened(Inflated(source.name, file, source.size - file.tell()), meta, False, True)


def _guessed_encoding(file: BinaryIO) -> tuple[bool, bool]:
    head = file.read(6)
    file.seek(-len(head), io.SEEK_CUR)
    group, _, vr = struct.unpack("<HH2s", head)
    explicit = vr.isalpha() and vr.isupper()
    return not explicit, not (explicit and group >= 0x0400)


def _with_pixels(source: FileSource, header: FileDataset, offset: int, legacy: bool) -> Dataset:
    with guard_parsing(source.name), source.open() as file:
        opened = _opened(source, file, legacy=legacy)
        if isinstance(opened.stream, Inflated):
            opened.stream.with_pixels()
        opened.stream.seek(offset)
        reader = BoundedReader(source.name, opened.stream, pixels=True)
        return opened.dataset(header, read_dataset(reader, opened.implicit, opened.little))
