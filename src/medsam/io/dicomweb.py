"""A PACS over DICOMweb: query, fetch a series into a folder, store objects beside it. Needs the `pacs` extra.

An address is the archive's DICOMweb root with `dicomweb://` (http) or `dicomwebs://` (https) in front, and for one study
or series its path: dicomwebs://pacs.example.org/dicom-web/studies/1.2.3/series/1.2.3.4. A user name and password come
from the address (user:password@host) or from ~/.netrc; they never appear in a message.
"""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from medsam.errors import InputFileError, MissingDependencyError, OutputError, RemoteError

if TYPE_CHECKING:
    from pydicom import Dataset

SCHEMES = {"dicomweb": "http", "dicomwebs": "https"}
CONNECT_SECONDS, READ_SECONDS = 5.0, 60.0
FOUND_FIELDS = (
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "Modality",
    "SeriesDescription",
    "NumberOfSeriesRelatedInstances",
)


@dataclass(frozen=True)
class PacsAddress:
    """Where an archive, a study or a series is.

    Args:
        url: http(s) root of the DICOMweb service, without credentials.
        study: StudyInstanceUID, None for the whole archive.
        series: SeriesInstanceUID, None for the whole study.
        user: Name to sign in with; None takes ~/.netrc.
        password: Belongs to user; never shown.
    """

    url: str
    study: str | None = None
    series: str | None = None
    user: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class SeriesFound:
    """One series of a query's answer; the PACS may leave the description and the count out."""

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


def is_address(text: object) -> bool:
    """Whether a text is a PACS address rather than a path."""
    return str(text).partition(":/")[0] in SCHEMES


def parse_address(text: str) -> PacsAddress:
    """Read an address.

    Raises:
        InputFileError: not a DICOMweb address, or a path that is not studies/UID[/series/UID].
    """
    text = text.replace(":/", "://", 1) if "://" not in text else text  # pathlib folds the two slashes
    parts = urlsplit(text)
    example = "dicomweb://host:port/dicom-web[/studies/UID[/series/UID]]"
    if parts.scheme not in SCHEMES or not parts.hostname:
        raise InputFileError(f"{_shown(text)} is no PACS address", expected=example, fix="check the address")
    root, mark, rest = parts.path.partition("/studies/")
    study, series_mark, series = rest.partition("/series/")
    bad_uid = next((uid for uid in (study, series) if uid and not all(c.isdigit() or c == "." for c in uid)), None)
    if (mark and not study) or (series_mark and not series) or bad_uid:
        raise InputFileError(
            f"{_shown(text)} names no study or series", expected=example, fix="give UIDs of digits and dots"
        )
    try:
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        raise InputFileError(f"{_shown(text)} has no valid port", expected=example, fix="check the address") from None
    url = f"{SCHEMES[parts.scheme]}://{parts.hostname}{port}{root.rstrip('/')}"
    user = unquote(parts.username) if parts.username else None
    return PacsAddress(
        url, study or None, series.rstrip("/") or None, user, unquote(parts.password or "") if user else None
    )


def query(
    address: PacsAddress,
    *,
    modality: str | None = None,
    patient_id: str | None = None,
    study_date: str | None = None,
    limit: int = 100,
) -> list[SeriesFound]:
    """List the series of an archive or a study.

    Args:
        address: Archive or study.
        modality: DICOM code such as CT.
        patient_id: Exact id to look for.
        study_date: YYYYMMDD or a range YYYYMMDD-YYYYMMDD.
        limit: Most series to give.

    Raises:
        RemoteError: the PACS is away or refuses.
    """
    wanted = {
        "Modality": modality,
        "PatientID": patient_id,
        "StudyDate": study_date,
        "SeriesInstanceUID": address.series,
    }
    filters = {key: value for key, value in wanted.items() if value}
    with _talking(address, "query") as client:
        rows = client.search_for_series(address.study, search_filters=filters, fields=FOUND_FIELDS, limit=limit)
    return [_found(row) for row in rows]


def _found(row: dict[str, dict[str, Any]]) -> SeriesFound:
    def value(tag: str) -> str:
        values = row.get(tag, {}).get("Value") or [""]
        return str(values[0])

    count = value("00201209")
    return SeriesFound(
        value("0020000D"),
        value("0020000E"),
        value("00080060"),
        value("0008103E"),
        int(count) if count.isdigit() else None,
    )


def fetch(
    address: PacsAddress, folder: str | Path, *, progress: Callable[[int, int | None], None] | None = None
) -> int:
    """Fetch a series into a folder of its own, whole or not at all.

    Args:
        address: A series.
        folder: New folder for its files, one per instance.
        progress: Called with (instances fetched, instances in all or None).

    Returns:
        Number of instances.

    Raises:
        RemoteError: the PACS is away, refuses, has no such series, or breaks off; the folder is not made.
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
    temporary = target.with_name(f".{secrets.token_hex(6)}.{target.name}")
    try:
        temporary.mkdir(parents=True)
        expected = _expected_count(address)
        count = 0
        with _talking(address, "fetch") as client:
            for count, dataset in enumerate(client.iter_series(address.study, address.series), start=1):
                dataset.save_as(temporary / f"{count:06d}.dcm", enforce_file_format=True)
                if progress is not None:
                    progress(count, expected)
        if expected is not None and count != expected:
            raise RemoteError(
                f"{count} of {expected} instances came", expected="the whole series", fix="fetch it again"
            )
        temporary.rename(target)
    except OSError as error:
        raise OutputError(
            f"{target} could not be written ({error.strerror or error})",
            expected="a writable folder with room",
            fix="free space or choose another folder",
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return count


def _expected_count(address: PacsAddress) -> int | None:
    found = [row for row in query(address, limit=2) if row.series == address.series]
    if not found:
        raise RemoteError(
            f"{address.url} has no series {address.series}",
            expected="a series of the archive",
            fix="run medsam pacs query to find it",
        )
    return found[0].instances


def store(address: PacsAddress, paths: Sequence[str | Path]) -> StoreReport:
    """Store DICOM files, each once: what the archive has already is left alone, so that a broken store can be repeated.

    Args:
        address: The archive.
        paths: DICOM files; all are read before the first is sent.

    Returns:
        Which SOPInstanceUIDs were stored now and which were there.

    Raises:
        InputFileError: a file is no DICOM file.
        RemoteError: the PACS is away, refuses an object, or breaks off; the message says how many are stored. Repeat the
            same call to store the rest.
    """
    datasets = [_read(Path(path)) for path in paths]
    stored: list[str] = []
    present: list[str] = []
    with _talking(
        address, "store", lambda: f"; {len(stored) + len(present)} of {len(datasets)} objects are there"
    ) as client:
        for dataset in datasets:
            uid = str(dataset.SOPInstanceUID)
            if _is_there(client, dataset):
                present.append(uid)
                continue
            answer = client.store_instances([dataset])
            failed = answer.get("FailedSOPSequence") or ()
            if failed:
                reason = int(failed[0].get("FailureReason", 0))
                raise RemoteError(
                    f"the PACS refused an object (failure reason 0x{reason:04X}), {len(stored)} stored before it",
                    expected="an archive that accepts DICOM SEG",
                    fix="ask its administrator to allow this SOP class",
                )
            stored.append(uid)
    return StoreReport(tuple(stored), tuple(present))


def _read(path: Path) -> Dataset:
    import pydicom
    from pydicom.errors import InvalidDicomError

    if not path.is_file():
        raise InputFileError(f"{path} does not exist", expected="a DICOM file", fix="check the path")
    try:
        dataset = pydicom.dcmread(path)
        _ = dataset.SOPInstanceUID, dataset.SeriesInstanceUID, dataset.StudyInstanceUID
    except (InvalidDicomError, AttributeError, EOFError, ValueError, OSError) as error:
        raise InputFileError(
            f"{path} is no whole DICOM object ({type(error).__name__})",
            expected="a DICOM file",
            fix="write it again with medsam convert",
        ) from None
    return dataset


def _is_there(client: Any, dataset: Dataset) -> bool:  # noqa: ANN401 - dicomweb-client ships no types
    rows = client.search_for_instances(
        str(dataset.StudyInstanceUID),
        str(dataset.SeriesInstanceUID),
        search_filters={"SOPInstanceUID": str(dataset.SOPInstanceUID)},
    )
    return any((row.get("00080018", {}).get("Value") or [""])[0] == str(dataset.SOPInstanceUID) for row in rows)


@contextmanager
def _talking(address: PacsAddress, verb: str, so_far: Callable[[], str] = lambda: "") -> Iterator[Any]:
    """A client whose failures become RemoteErrors that name the host but no patient and no password."""
    try:
        import requests
        from dicomweb_client.api import DICOMwebClient
    except ImportError:
        raise MissingDependencyError(
            "dicomweb-client is not installed", expected="the pacs extra", fix="run: pip install 'openmedsam[pacs]'"
        ) from None
    session = requests.Session()
    if address.user is not None:
        session.auth = (address.user, address.password or "")
    client = DICOMwebClient(address.url, session=session, timeout=(CONNECT_SECONDS, READ_SECONDS))
    client.set_http_retry_params(retry=False)
    try:
        yield client
    except requests.HTTPError as error:
        code = error.response.status_code if error.response is not None else 0
        raise _refusal(address, verb, code, so_far()) from None
    except requests.Timeout:
        raise RemoteError(
            f"{address.url} did not answer in time ({verb}){so_far()}",
            expected="a PACS that answers",
            fix="try again, or ask its administrator",
        ) from None
    except (requests.RequestException, ConnectionError) as error:
        broke = (
            isinstance(error, requests.exceptions.ChunkedEncodingError)
            or "aborted" in str(error)
            or "reset" in str(error)
        )
        what = "broke off" if broke else "does not answer"
        raise RemoteError(
            f"{address.url} {what} ({verb}){so_far()}",
            expected="a running PACS at this address",
            fix="check host and port, then run the same command again",
        ) from None
    except ValueError as error:
        raise RemoteError(
            f"{address.url} gave an answer that is no DICOMweb ({verb}: {type(error).__name__})",
            expected="a DICOMweb service",
            fix="check the path, often /dicom-web",
        ) from None


def _refusal(address: PacsAddress, verb: str, code: int, so_far: str) -> RemoteError:
    if code in (401, 403):
        return RemoteError(
            f"{address.url} refuses access (HTTP {code}, {verb}){so_far}",
            expected="valid credentials",
            fix="put user and password into ~/.netrc or the address (user:password@host)",
        )
    if code == 404:
        return RemoteError(
            f"{address.url} has nothing there (HTTP 404, {verb}){so_far}",
            expected="a DICOMweb root and UIDs that exist",
            fix="check the path and run medsam pacs query",
        )
    return RemoteError(
        f"{address.url} failed (HTTP {code}, {verb}){so_far}",
        expected="a PACS in working order",
        fix="try again, then ask its administrator",
    )


def _shown(text: str) -> str:
    """The address without credentials."""
    head, at, tail = text.rpartition("@")
    return tail if at and "/" not in head.partition("://")[2] else text
