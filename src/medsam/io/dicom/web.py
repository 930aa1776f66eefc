"""An archive over DICOMweb: query, fetch a series into a folder, store objects beside it. Needs the `pacs` extra.

A user name and password come from the address (user:password@host) or from ~/.netrc; they never appear in a message,
and neither do UIDs. What an archive sends is checked before it is believed.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medsam.errors import InputFileError, OutputError, RemoteError
from medsam.files.atomic import replacing
from medsam.io.dicom.files import read_object
from medsam.io.dicom.pacs_address import UID, PacsAddress, is_address, parse_address, redact
from medsam.io.dicom.received import check_received
from medsam.io.dicom.web_session import PacsSession
from medsam.io.dicom.web_watch import LIMITS, TransferLimits
from medsam.progress import Progress

__all__ = [
    "PacsAddress", "SeriesFound", "StoreReport", "TransferLimits", "fetch", "is_address", "parse_address", "query",
    "redact", "store",
]  # fmt: skip
FOUND_FIELDS = (
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "Modality",
    "SeriesDescription",
    "NumberOfSeriesRelatedInstances",
)
STUDY, SERIES, SOP = "0020000D", "0020000E", "00080018"
MODALITY, DESCRIPTION, COUNT = "00080060", "0008103E", "00201209"
FAILED, REASON = "00081198", "00081197"
MAX_TEXT = 200  # characters of a description that are shown
DISK_SHARE = 0.9  # of the free space of the disk that one series may take


@dataclass(frozen=True)
class SeriesFound:
    """One series of a query's answer; the archive may leave the description and the count out."""

    study: str
    series: str
    modality: str
    description: str
    instances: int | None


@dataclass(frozen=True)
class StoreReport:
    """What a store did: SOPInstanceUIDs newly stored, and those that were there already."""

    stored: tuple[str, ...]
    present: tuple[str, ...]


def query(
    address: PacsAddress,
    *,
    modality: str | None = None,
    patient_id: str | None = None,
    study_date: str | None = None,
    limit: int = 100,
    limits: TransferLimits = LIMITS,
) -> list[SeriesFound]:
    """List the series of an archive or a study.

    Args:
        address: Archive or study.
        modality: DICOM code such as CT.
        patient_id: Exact id to look for.
        study_date: YYYYMMDD or a range YYYYMMDD-YYYYMMDD.
        limit: Most series to give.
        limits: What the archive may cost.

    Raises:
        RemoteError: the archive is away, refuses, or answers what is no list of series.
    """
    wanted = {"Modality": modality, "PatientID": patient_id, "StudyDate": study_date}
    filters = {key: value for key, value in wanted.items() if value}
    with PacsSession(address, "query", limits) as session:
        return _find_series(session, filters, limit)


def _find_series(session: PacsSession, filters: dict[str, str], limit: int) -> list[SeriesFound]:
    address = session.address
    own = {"SeriesInstanceUID": address.series} if address.series else {}
    path = f"studies/{address.study}/series" if address.study else "series"
    rows = session.get_rows(path, {**filters, **own, "includefield": list(FOUND_FIELDS), "limit": str(limit)})
    return [_make_found(session, row) for row in rows[:limit]]


def _make_found(session: PacsSession, row: dict[str, Any]) -> SeriesFound:
    count = _text(session, row, COUNT)
    known = count.isascii() and count.isdigit() and len(count) < 10
    return SeriesFound(
        _uid(session, row, STUDY) if STUDY in row or not session.address.study else session.address.study,
        _uid(session, row, SERIES),
        _text(session, row, MODALITY),
        _text(session, row, DESCRIPTION),
        int(count) if known else None,
    )


def _text(session: PacsSession, row: dict[str, Any], tag: str) -> str:
    """The first value of an attribute as a text that a terminal can show; empty where there is none."""
    attribute = row.get(tag)
    values = attribute.get("Value", []) if isinstance(attribute, dict) else [] if attribute is None else None
    if not isinstance(values, list):
        raise session.refuse_answer("an attribute has no list of values")
    value = values[0] if values else ""
    if not isinstance(value, (str, int, float)):
        if value is not None:
            raise session.refuse_answer("an attribute has a value of another type")
        value = ""
    return "".join(c if c.isprintable() else " " for c in str(value)[:MAX_TEXT]).strip()


def _uid(session: PacsSession, row: dict[str, Any], tag: str) -> str:
    uid = _text(session, row, tag)
    if not UID.fullmatch(uid):
        raise session.refuse_answer("an object of its list has no valid UID")
    return uid


def fetch(
    address: PacsAddress,
    folder: str | Path,
    progress: Progress | None = None,
    limits: TransferLimits = LIMITS,
) -> int:
    """Fetch a series into a folder of its own, whole or not at all.

    Every object is checked as it comes: readable, of this series, with all the pixels it declares. Files are named by
    their number and hold the bytes that came.

    Args:
        address: A series.
        folder: New folder for its files, one per instance.
        progress: Called with (instances fetched, instances in all or None).
        limits: What the archive may cost.

    Returns:
        Number of instances.

    Raises:
        RemoteError: the archive is away, refuses, has no such series, breaks off, sends too much or too slowly, or
            sends what is not whole or of another series; the folder is not made.
        InputFileError: the address names no series.
        OutputError: the folder exists already, or the disk refused.
    """
    target = Path(folder)
    if target.exists():
        raise OutputError(f"{target} exists already", expected="a folder to be made", fix="remove it or choose another")
    if address.series is None or address.study is None:
        raise InputFileError(
            "an address without a series",
            expected="dicomweb://.../studies/UID/series/UID",
            fix="run medsam pacs query to find it",
        )
    new = [parent for parent in target.absolute().parents if not parent.exists()]
    try:
        with replacing(target, what="the series") as temporary, PacsSession(address, "fetch", limits) as session:
            temporary.mkdir()
            count = _receive(session, temporary, progress)
    finally:
        for parent in new:
            if parent.is_dir() and not any(parent.iterdir()):
                parent.rmdir()
    return count


def _receive(session: PacsSession, folder: Path, progress: Progress | None) -> int:
    """Write the parts of the series into a folder, each checked; gives their number."""
    address, limits = session.address, session.limits
    study, series = str(address.study), str(address.series)
    expected = _count_expected(session)
    least = _count_listed(session) if expected is None else expected
    most = min(limits.series_bytes, int(shutil.disk_usage(folder).free * DISK_SHARE))
    seen: set[str] = set()
    for headers, content in session.iter_parts(f"studies/{study}/series/{series}", most):
        count = len(seen) + 1
        if count > (limits.instances if expected is None else min(expected, limits.instances)):
            raise session.refuse_answer(f"more than {count - 1} objects")
        file = folder / f"{count:06d}.dcm"
        size = _write(session, content, file)
        declared = headers.get("content-length", str(size))
        if declared != str(size):
            raise session.refuse_answer(f"object {count} has {size:,} bytes and not as many as it says")
        try:
            uid = check_received(file, study, series)
        except InputFileError as error:
            raise session.refuse_answer(f"object {count} is not whole or another one: {error.got}") from None
        if uid in seen:
            raise session.refuse_answer(f"object {count} came before")
        seen.add(uid)
        if progress is not None:
            progress(count, expected)
    if len(seen) < max(least, 1):
        raise RemoteError(
            f"{len(seen)} of {max(least, 1)} instances came",
            expected="the whole series",
            fix="fetch it again",
        )
    return len(seen)


def _write(session: PacsSession, content: Iterator[bytes], file: Path) -> int:
    """Write a part to disk; a part that does not begin like DICOM is refused before it fills the disk."""
    size, start = 0, b""
    with file.open("wb") as out:
        for piece in content:
            size += out.write(piece)
            if size > session.limits.instance_bytes:
                raise session.refuse_answer(f"an object has more than {session.limits.instance_bytes:,} bytes")
            if len(start) < 132:
                start = (start + piece)[:132]
                if len(start) == 132 and start[128:] != b"DICM":
                    raise session.refuse_answer("an object is no DICOM file")
    return size


def _count_expected(session: PacsSession) -> int | None:
    """How many objects the series has, where the archive says so.

    Raises:
        RemoteError: the archive has no such series.
    """
    found = [row for row in _find_series(session, {}, 2) if row.series == session.address.series]
    if not found:
        raise RemoteError(
            f"{session.address.url} has no series of this address",
            expected="a series of the archive",
            fix="run medsam pacs query to find it",
        )
    return found[0].instances


def _count_listed(session: PacsSession) -> int:
    """How many objects an archive lists that does not count them; it may list a page of them only."""
    address = session.address
    rows = session.get_rows(f"studies/{address.study}/series/{address.series}/instances", {})
    return len({_uid(session, row, SOP) for row in rows})


def store(address: PacsAddress, paths: Sequence[str | Path], limits: TransferLimits = LIMITS) -> StoreReport:
    """Store DICOM files, each once: what the archive has already is left alone, so that a broken store can be repeated.

    Args:
        address: The archive.
        paths: DICOM files; the headers of all are read before the first is sent.
        limits: What the archive may cost.

    Returns:
        Which SOPInstanceUIDs were stored now and which were there.

    Raises:
        InputFileError: a file is no DICOM file.
        RemoteError: the archive is away, refuses an object, or breaks off; the message says how many are stored. Repeat
            the same call to store the rest.
    """
    objects = [(Path(path), *_read_uids(Path(path))) for path in paths]
    stored: list[str] = []
    present: list[str] = []
    done = lambda: f"; {len(stored) + len(present)} of {len(objects)} objects are there"  # noqa: E731
    with PacsSession(address, "store", limits, done) as session:
        for path, study, series, uid in objects:
            if _is_there(session, study, series, uid):
                present.append(uid)
                continue
            _refuse_failed(session, session.post_file("studies", path))
            stored.append(uid)
    return StoreReport(tuple(stored), tuple(present))


def _read_uids(path: Path) -> tuple[str, str, str]:
    if not path.is_file():
        raise InputFileError(f"{path} does not exist", expected="a DICOM file", fix="check the path")
    try:
        header = read_object(path)
    except InputFileError:
        header = None
    names = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
    study, series, uid = ("" if header is None else str(header.get(name, "")) for name in names)
    if not all(UID.fullmatch(one) for one in (study, series, uid)):
        raise InputFileError(
            f"{path} is no whole DICOM object", expected="a DICOM file", fix="write it again with medsam convert"
        )
    return study, series, uid


def _is_there(session: PacsSession, study: str, series: str, uid: str) -> bool:
    rows = session.get_rows(f"studies/{study}/series/{series}/instances", {"SOPInstanceUID": uid})
    return any(_text(session, row, SOP) == uid for row in rows)


def _refuse_failed(session: PacsSession, answer: dict[str, Any]) -> None:
    """Raise where the archive says that it did not take the object.

    Source: DICOM PS3.18, 10.5.3.
    """
    attribute = answer.get(FAILED)
    values = attribute.get("Value") if isinstance(attribute, dict) else None
    if not values:
        return
    failed = values[0] if isinstance(values, list) else None
    if not isinstance(failed, dict):
        raise session.refuse_answer("its list of failures is none")
    reason = _text(session, failed, REASON)
    code = f"0x{int(reason):04X}" if reason.isascii() and reason.isdigit() and len(reason) < 7 else "none given"
    raise RemoteError(
        f"the PACS refused an object (failure reason {code}){session.tell_progress()}",
        expected="an archive that accepts DICOM SEG",
        fix="ask its administrator to allow this SOP class",
    )
