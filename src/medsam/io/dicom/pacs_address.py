"""Addresses of an archive: parsed in one place, and shown without credentials in one place.

An address is the archive's DICOMweb root with `dicomweb://` (http) or `dicomwebs://` (https) in front, and for one study
or series its path: dicomwebs://pacs.example.org/dicom-web/studies/1.2.3/series/1.2.3.4.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from medsam.errors import InputFileError

SCHEMES = {"dicomweb": "http", "dicomwebs": "https"}
EXAMPLE = "dicomweb://host:port/dicom-web[/studies/UID[/series/UID]]"
UID = re.compile(r"[0-9.]{1,64}")


@dataclass(frozen=True)
class PacsAddress:
    """Where an archive, a study or a series is.

    Args:
        url: http(s) root of the DICOMweb service, without credentials.
        study: StudyInstanceUID, None for the whole archive.
        series: SeriesInstanceUID, None for the whole study.
        user: Name to sign in with; None takes the entry of ~/.netrc, or of the file that NETRC names.
        password: Belongs to user; never shown.
    """

    url: str
    study: str | None = None
    series: str | None = None
    user: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)


def is_address(text: object) -> bool:
    """Whether a text is an address of an archive and not a path."""
    return str(text).partition(":/")[0] in SCHEMES


def redact(text: object) -> str:
    """An address as messages, records and logs may show it: without user, password and query; a path stays as it is.

    Everything up to the last "@" goes, so that a password with a slash in it goes too.
    """
    shown = str(text)
    if not is_address(shown):
        return shown
    scheme, _, rest = shown.partition(":/")
    return f"{scheme}://{re.split('[?#]', rest.lstrip('/').rpartition('@')[2])[0]}"


def parse_address(text: str) -> PacsAddress:
    """Read an address.

    Raises:
        InputFileError: not a DICOMweb address, or a path that is not studies/UID[/series/UID].
    """
    archive = redact(text).partition("/studies")[0]  # UIDs of a patient stay out of messages
    if "://" not in text:
        text = text.replace(":/", "://", 1)  # pathlib folds the two slashes
    try:
        parts = urlsplit(text)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        raise InputFileError(
            f"{archive} has no valid host and port", expected=EXAMPLE, fix="check the address"
        ) from None
    if parts.scheme not in SCHEMES or not parts.hostname:
        raise InputFileError(f"{archive} is no address of an archive", expected=EXAMPLE, fix="check the address")
    root, mark, rest = parts.path.rstrip("/").partition("/studies/")
    study, series_mark, series = rest.partition("/series/")
    bad_uid = any(uid and not UID.fullmatch(uid) for uid in (study, series))
    if (mark and not study) or (series_mark and not series) or bad_uid:
        raise InputFileError(
            f"the address at {archive} names no study or series", expected=EXAMPLE, fix="give UIDs of digits and dots"
        )
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    user = unquote(parts.username) if parts.username else None
    return PacsAddress(
        f"{SCHEMES[parts.scheme]}://{host}{port}{root.rstrip('/')}",
        study or None,
        series or None,
        user,
        unquote(parts.password or "") if user else None,
    )
