"""Addresses of archives: parsed, refused, and shown without what nobody may see."""

from __future__ import annotations

from pathlib import Path

import pytest

from medsam.errors import InputFileError
from medsam.io.dicom.pacs_address import PacsAddress, is_address, parse_address, redact


def test_address_of_a_series_is_taken_apart() -> None:
    address = parse_address("dicomwebs://ann:p%40ss@pacs.example.org:8443/dicom-web/studies/1.2/series/1.2.3")
    assert address == PacsAddress("https://pacs.example.org:8443/dicom-web", "1.2", "1.2.3", "ann", "p@ss")
    assert "p@ss" not in repr(address)
    assert "ann" not in repr(address)


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("dicomweb://host", "http://host"),
        ("dicomweb:/host/dicom-web/", "http://host/dicom-web"),  # as pathlib folds it
        ("dicomweb://[::1]:8042/dicom-web", "http://[::1]:8042/dicom-web"),
    ],
)
def test_archive_is_taken_apart(text: str, url: str) -> None:
    assert parse_address(text) == PacsAddress(url)


@pytest.mark.parametrize(
    "text",
    [
        "http://host/dicom-web",
        "dicomweb://",
        "dicomweb://[abc/dicom-web",
        "dicomweb://host:99999/x",
        "dicomweb://host/studies/../../etc",
        "dicomweb://host/studies/1.2/series/a",
        "dicomweb://host/studies/" + "1" * 65,
        "dicomweb://ann:hun/ter2@host/studies/x",
        "dicomweb://ann:hunter2@host:port/dicom-web",
    ],
)
def test_what_is_no_address_is_refused_without_the_password(text: str) -> None:
    with pytest.raises(InputFileError) as caught:
        parse_address(text)
    for secret in ("ter2", "hun", "ann"):
        assert secret not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("dicomweb://ann:secret@host:8042/dicom-web/studies/1.2", "dicomweb://host:8042/dicom-web/studies/1.2"),
        ("dicomwebs:/ann:se/cr@et@host/dicom-web", "dicomwebs://host/dicom-web"),
        ("dicomweb://host/dicom-web?token=secret#secret", "dicomweb://host/dicom-web"),
        ("dicomweb://ann:se?cret#@host", "dicomweb://host"),
        ("folder/scan@home.nii.gz", "folder/scan@home.nii.gz"),
        (Path("scan.nii.gz"), "scan.nii.gz"),
    ],
)
def test_address_is_shown_without_credentials(text: object, shown: str) -> None:
    assert redact(text) == shown
    assert is_address(shown) is str(text).startswith("dicomweb")
